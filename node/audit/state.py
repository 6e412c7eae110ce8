"""The state of the contracts in memory, as replay needs it."""

from bisect import bisect_left, insort
from collections.abc import Mapping


class Memory:
    """Keys and values; `scan` is in the order of the keys.

    Keys are sorted only among those that share a first byte that was scanned for: the rules scan
    few kinds of keys, and in one that grows at its end.
    """

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._sorted: dict[bytes, list[bytes]] = {}  # first byte -> the keys that begin with it

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, None if it has none."""
        return self._values.get(key)

    def scan(self, prefix: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return the first `limit` pairs whose keys begin with `prefix`, which is not empty."""
        keys = self._sorted.get(prefix[:1])
        if keys is None:
            keys = sorted(key for key in self._values if key[:1] == prefix[:1])
            self._sorted[prefix[:1]] = keys
        first = bisect_left(keys, prefix)
        found = keys[first : first + limit]
        return [(key, self._values[key]) for key in found if key.startswith(prefix)]

    def apply(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Write `changes`; None removes."""
        gone: set[bytes] = set()  # first bytes of what was removed
        for key, value in changes.items():
            if value is None:
                if self._values.pop(key, None) is not None:
                    gone.add(key[:1])
                continue
            keys = self._sorted.get(key[:1])
            if keys is not None and key not in self._values:
                insort(keys, key)
            self._values[key] = value
        for first in gone & self._sorted.keys():  # once a block, not once a key
            keys = self._sorted[first]
            keys[:] = [key for key in keys if key in self._values]
