"""The state of the contracts, as replay needs it: in memory, or most of it in a scratch folder."""

import tempfile
from bisect import bisect_left, insort
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from contracts.state import Nothing, Overlay, Reader
from ledger.store import Store, open_store

_AT_HAND: Final = 100_000  # keys that are in memory: some 50 MB
_BUFFER_BYTES: Final = 8 << 20  # LevelDB holds two


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


class Scratch:
    """Keys and values; those that were not touched for long lie in a folder that goes with it.

    So what a long chain takes is disk, not memory. A short one never leaves the memory.
    """

    def __init__(self, at_hand: int = _AT_HAND) -> None:
        self._max = at_hand
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._store: Store | None = None
        self._base = _Counted(Nothing())
        self._recent = Overlay(self._base)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, None if it has none."""
        self._bound()
        return self._recent.get(key)

    def scan(self, prefix: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return the first `limit` pairs whose keys begin with `prefix`, which is not empty."""
        return self._recent.scan(prefix, limit)

    def apply(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Write `changes`; None removes."""
        for key, value in changes.items():
            if value is None:
                self._recent.delete(key)
            else:
                self._recent.put(key, value)
        self._bound()

    def close(self) -> None:
        """Remove the folder."""
        if self._store is not None:
            self._store.close()
        if self._folder is not None:
            self._folder.cleanup()

    def _bound(self) -> None:
        """Put away what is in memory, where it is too much."""
        if len(self._recent.changes) + self._base.reads <= self._max:
            return
        if self._store is None:
            self._folder = tempfile.TemporaryDirectory(prefix="depoli-audit-")
            path = Path(self._folder.name)
            self._store = open_store(path, write_buffer_bytes=_BUFFER_BYTES)
        self._store.write(self._recent.changes)
        self._base = _Counted(self._store)
        self._recent = Overlay(self._base)


class _Counted:
    """A state that counts what is read: whoever reads remembers it."""

    def __init__(self, below: Reader | Store) -> None:
        self._below = below
        self.reads = 0

    def get(self, key: bytes) -> bytes | None:
        self.reads += 1
        return self._below.get(key)

    def scan(self, prefix: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        return self._below.scan(prefix, limit)
