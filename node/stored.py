"""The state of the contracts as the store holds it."""

from collections.abc import Mapping
from threading import Lock
from typing import Final

from ledger.store import Store

STATE: Final = b"s"  # + key of a contract -> its value
RECENT_KEYS: Final = 50_000  # at hand in memory: some 15 MB


class StoredState:
    """The contracts' view of the store, with what was read or written last at hand.

    Several threads read while one writes. What a reader found before a write it must not remember
    after it, so every write begins another generation.
    """

    def __init__(self, store: Store, recent: int = RECENT_KEYS) -> None:
        self._store, self._most = store, recent
        self._recent: dict[bytes, bytes | None] = {}
        self._generation = 0
        self._lock = Lock()  # of the generation and what is remembered of it

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, None if it has none."""
        try:
            return self._recent[key]
        except KeyError:
            pass
        generation = self._generation
        value = self._store.get(STATE + key)
        with self._lock:
            if generation == self._generation:
                self._remember({key: value})
        return value

    def scan(self, prefix: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return up to `limit` pairs whose keys begin with `prefix`, by ascending key."""
        found = self._store.scan(STATE + prefix, limit)
        return [(key[len(STATE) :], value) for key, value in found]

    def written(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Learn what the store has just been given."""
        with self._lock:
            self._generation += 1
            self._remember(changes)

    def _remember(self, values: Mapping[bytes, bytes | None]) -> None:
        if len(self._recent) + len(values) > self._most:
            self._recent = {}
        self._recent.update(values)
