"""The state of the contracts in memory, as replay needs it."""

from bisect import bisect_left, insort
from collections.abc import Mapping


class Memory:
    """Keys and values; `scan` is in the order of the keys."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._keys: list[bytes] | None = None  # sorted, once something was scanned

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, None if it has none."""
        return self._values.get(key)

    def scan(self, prefix: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return the first `limit` pairs whose keys begin with `prefix`, by ascending key."""
        if self._keys is None:
            self._keys = sorted(self._values)
        first = bisect_left(self._keys, prefix)
        keys = self._keys[first : first + limit]
        return [(key, self._values[key]) for key in keys if key.startswith(prefix)]

    def apply(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Write `changes`; None removes."""
        for key, value in changes.items():
            if value is None:
                if self._values.pop(key, None) is not None and self._keys is not None:
                    del self._keys[bisect_left(self._keys, key)]
            else:
                if key not in self._values and self._keys is not None:
                    insort(self._keys, key)
                self._values[key] = value
