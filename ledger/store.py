"""What is derived from the blocks, by key: state, indexes, nodes of the log.

Nothing here is the truth, and no write waits for the disk: what a crash loses is executed again
from the segments, and what is damaged is removed and rebuilt, never repaired. Two engines, one
behaviour: LevelDB (plyvel), and sqlite3 of the standard library where plyvel has no wheel.
"""

import errno
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from ledger.errors import Mismatch, StoreDamaged
from ledger.lock import DirectoryLock

try:
    import plyvel
except ImportError:  # pragma: no cover - no wheel for this Python or this system
    plyvel = None

WRITE_BUFFER_BYTES: Final = 32 << 20  # LevelDB holds two; small ones stall writes for seconds
CACHE_BYTES: Final = 16 << 20
# LevelDB maps its files, of 2 MiB, into memory, where what was read of them stays: with all of them
# open a node of a million claims took 350 MB. To open one again takes some 30 µs.
_OPEN_FILES: Final = 160
_BLOOM_BITS: Final = 10  # one read in a hundred of an absent key looks in vain
_ENGINES: Final = ("leveldb", "sqlite")  # each has its own folder under this name

# NORMAL: a power cut loses the newest writes and breaks nothing.
_SQL_START: Final = """
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA cell_size_check = ON;
    CREATE TABLE IF NOT EXISTS pairs (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""
# A transaction sees what was there at its first read; the log grows until it ends.
_SQL_VIEW: Final = """
    PRAGMA query_only = ON;
    BEGIN;
    SELECT key FROM pairs LIMIT 1;
"""


class View(Protocol):
    """Keys in the order of their bytes, which any number of threads may read.

    Every method raises `StoreDamaged` where the engine finds its files damaged, and OSError where
    the disk refuses. `close` when nobody uses it any more.
    """

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, None if it has none."""

    def scan(self, prefix: bytes, limit: int, after: bytes = b"") -> list[tuple[bytes, bytes]]:
        """Return up to `limit` pairs whose keys begin with `prefix`, ascending, above `after`."""

    def close(self) -> None:
        """Let go of what it holds."""


class Store(View, Protocol):
    """A view of what is there now. One thread writes, any number read."""

    def write(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Set the keys to their new values, None removing one: all of it or nothing."""

    def view(self) -> View:
        """Return what is there now, which no later write changes; closed before the store is."""


def open_store(
    path: Path,
    engine: str | None = None,
    *,
    write_buffer_bytes: int = WRITE_BUFFER_BYTES,
    cache_bytes: int = CACHE_BYTES,
) -> Store:
    """Return the store in directory `path`, empty where there is none yet.

    `engine` is "leveldb" or "sqlite"; None takes the one that is there, else the best at hand.
    Raises `StoreLocked`, `StoreDamaged`, and `Mismatch` where the store is of another engine.
    """
    assert engine is None or engine in _ENGINES
    lock = DirectoryLock(path)
    try:
        chosen = _choose(path, engine)
        if chosen == "leveldb":
            return _LevelDB(path / chosen, lock, write_buffer_bytes, cache_bytes)
        return _SQLite(path / chosen, lock, cache_bytes)
    except BaseException:
        lock.release()
        raise


def _choose(path: Path, engine: str | None) -> str:
    there = next((name for name in _ENGINES if (path / name).is_dir()), None)
    at_hand = "sqlite" if plyvel is None else "leveldb"
    chosen = engine or there or at_hand
    if there not in (None, chosen):
        raise Mismatch(f"{path}: engine of the store", chosen, there)
    if chosen == "leveldb" and plyvel is None:
        raise Mismatch(f"{path}: engine of the store", chosen, "no plyvel here")
    return chosen


class _LevelDBView:
    def __init__(self, folder: Path, open_: Callable[[], Any]) -> None:
        self._folder = folder
        with self._errors():
            self._database = open_()

    def get(self, key: bytes) -> bytes | None:
        with self._errors():
            value: bytes | None = self._database.get(key, verify_checksums=True)
        return value

    def scan(self, prefix: bytes, limit: int, after: bytes = b"") -> list[tuple[bytes, bytes]]:
        found: list[tuple[bytes, bytes]] = []
        if limit <= 0:
            return found
        with (
            self._errors(),
            self._database.iterator(
                start=max(prefix, after),
                include_start=after < prefix or not after,
                stop=_end_of(prefix),
                verify_checksums=True,
                fill_cache=False,
            ) as pairs,
        ):
            for pair in pairs:
                found.append(pair)
                if len(found) == limit:
                    break
        return found

    def close(self) -> None:
        self._database.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except plyvel.CorruptionError as error:
            raise StoreDamaged(str(self._folder), 0, _reason(error)) from None
        except plyvel.Error as error:
            reason = _reason(error)
            full = os.strerror(errno.ENOSPC) in reason
            code = errno.ENOSPC if full else errno.EIO
            raise OSError(code, reason, str(self._folder)) from None


class _LevelDB(_LevelDBView):
    def __init__(
        self, folder: Path, lock: DirectoryLock, write_buffer_bytes: int, cache_bytes: int
    ) -> None:
        self._lock = lock
        super().__init__(
            folder,
            lambda: plyvel.DB(
                str(folder),
                create_if_missing=True,
                paranoid_checks=True,
                write_buffer_size=write_buffer_bytes,
                max_open_files=_OPEN_FILES,
                lru_cache_size=cache_bytes,
                bloom_filter_bits=_BLOOM_BITS,
            ),
        )

    def write(self, changes: Mapping[bytes, bytes | None]) -> None:
        with self._errors():
            batch = self._database.write_batch()
            for key, value in changes.items():
                if value is None:
                    batch.delete(key)
                else:
                    batch.put(key, value)
            batch.write()

    def view(self) -> View:
        return _LevelDBView(self._folder, self._database.snapshot)

    def close(self) -> None:
        super().close()
        self._lock.release()


class _SQLiteView:
    def __init__(self, path: Path, start: str) -> None:
        self._path = path
        self._guard = threading.Lock()  # one connection: no reader sees half of a write
        with self._errors():
            self._database = sqlite3.connect(
                self._path, isolation_level=None, check_same_thread=False
            )
        self._database.text_factory = bytearray  # what is no bytes is told by `_whole`
        try:
            with self._errors():
                self._database.executescript(start)
        except BaseException:
            self._database.close()
            raise

    def get(self, key: bytes) -> bytes | None:
        with self._guard, self._errors():
            query = "SELECT value FROM pairs WHERE key = ?"
            row = self._database.execute(query, (key,)).fetchone()
            return None if row is None else _whole(row)[0]

    def scan(self, prefix: bytes, limit: int, after: bytes = b"") -> list[tuple[bytes, bytes]]:
        if limit <= 0:
            return []
        lower = ">=" if after < prefix or not after else ">"
        query = f"SELECT key, value FROM pairs WHERE key {lower} ?"  # noqa: S608 - of two constants
        values: list[bytes | int] = [max(prefix, after)]
        end = _end_of(prefix)
        if end is not None:
            query, values = query + " AND key < ?", [*values, end]
        with self._guard, self._errors():
            rows = self._database.execute(query + " ORDER BY key LIMIT ?", (*values, limit))
            return [(key, value) for key, value in map(_whole, rows)]

    def close(self) -> None:
        with self._guard:
            self._database.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            full = error.sqlite_errorcode == sqlite3.SQLITE_FULL
            code = errno.ENOSPC if full else errno.EIO
            raise OSError(code, str(error), str(self._path)) from None
        except sqlite3.DatabaseError as error:
            raise StoreDamaged(str(self._path), 0, str(error)) from None


class _SQLite(_SQLiteView):
    def __init__(self, folder: Path, lock: DirectoryLock, cache_bytes: int) -> None:
        self._lock = lock
        folder.mkdir(exist_ok=True)
        pages = f"PRAGMA cache_size = {-(cache_bytes >> 10)};"  # in KiB, being negative
        super().__init__(folder / "store.sqlite", pages + _SQL_START)

    def write(self, changes: Mapping[bytes, bytes | None]) -> None:
        removed = [(key,) for key, value in changes.items() if value is None]
        put = [(key, value) for key, value in changes.items() if value is not None]
        with self._guard, self._errors():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                self._database.executemany("DELETE FROM pairs WHERE key = ?", removed)
                self._database.executemany("INSERT OR REPLACE INTO pairs VALUES (?, ?)", put)
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # some errors have rolled back already
                    self._database.execute("ROLLBACK")
                raise

    def view(self) -> View:
        return _SQLiteView(self._path, _SQL_VIEW)

    def close(self) -> None:
        super().close()
        self._lock.release()


def _whole(row: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return what sqlite gave; it has no checksums, and a changed bit makes a number of bytes."""
    if not all(type(each) is bytes for each in row):
        raise sqlite3.DatabaseError("a row holds something else than bytes")
    return row


def _reason(error: Exception) -> str:
    """Return what LevelDB says; plyvel hands it on as bytes."""
    text = error.args[0] if error.args else b""
    return text.decode(errors="replace") if isinstance(text, bytes) else str(text)


def _end_of(prefix: bytes) -> bytes | None:
    """Return the first key behind all that begin with `prefix`, None if there is no such key."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else None
