"""The state as contracts see it: keys and values, and what a block changes of them."""

from bisect import bisect_left, bisect_right, insort
from typing import Protocol

from ledger.digest import Pair


class Reader(Protocol):
    """The state at one height; pure for as long as that height is read."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, None if it has none."""

    def scan(self, prefix: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return up to `limit` pairs whose keys begin with `prefix`, by ascending key.

        `prefix` is not empty.
        """


class Overlay:
    """A state and changes on top of it; the state beneath is read once per key and not written.

    A scan looks only at changes under its prefix: else the calls of a block, each of which scans,
    would look at all that the others changed.
    """

    def __init__(self, base: Reader) -> None:
        self._base = base
        self._read: dict[bytes, bytes | None] = {}
        self.changes: dict[bytes, bytes | None] = {}  # None: removed
        self._sorted: dict[int, list[bytes]] = {}  # first byte, once scanned -> the changed keys

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, None if it has none."""
        if key in self.changes:
            return self.changes[key]
        return self._old(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Set `key` to `value`."""
        self._note(key)
        self.changes[key] = value

    def delete(self, key: bytes) -> None:
        """Remove `key`, which need not be there."""
        self._note(key)
        self.changes[key] = None

    def scan(self, prefix: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return up to `limit` pairs whose keys begin with `prefix`, by ascending key."""
        changed = self._changed(prefix)
        # Each change hides one pair beneath at most.
        found: dict[bytes, bytes | None] = dict(self._base.scan(prefix, limit + len(changed)))
        found.update((key, self.changes[key]) for key in changed)
        return sorted((key, value) for key, value in found.items() if value is not None)[:limit]

    def difference(self) -> tuple[list[Pair], list[Pair]]:
        """Return the pairs that the changes take out of the state and those that they put in."""
        removed: list[Pair] = []
        added: list[Pair] = []
        for key, new in self.changes.items():
            old = self._old(key)
            if old != new:
                if old is not None:
                    removed.append((key, old))
                if new is not None:
                    added.append((key, new))
        return removed, added

    def _changed(self, prefix: bytes) -> list[bytes]:
        """Return the changed keys that begin with `prefix`, ascending."""
        first = prefix[0]
        keys = self._sorted.get(first)
        if keys is None:
            keys = self._sorted[first] = sorted(key for key in self.changes if key[0] == first)
        low = bisect_left(keys, prefix)
        return keys[low : bisect_right(keys, prefix, low, key=lambda key: key[: len(prefix)])]

    def _note(self, key: bytes) -> None:
        """Keep in order that `key` changes."""
        keys = self._sorted.get(key[0])
        if keys is not None and key not in self.changes:
            insort(keys, key)

    def _old(self, key: bytes) -> bytes | None:
        if key in self._read:
            return self._read[key]
        value = self._read[key] = self._base.get(key)
        return value


class Nothing:
    """The state before genesis."""

    def get(self, key: bytes) -> bytes | None:  # noqa: ARG002 - the same answer for every key
        """Return None."""
        return None

    def scan(self, prefix: bytes, limit: int) -> list[tuple[bytes, bytes]]:  # noqa: ARG002
        """Return no pair."""
        return []
