"""What this validator has promised: on disk before it leaves, so that no crash makes it lie.

Promises bind within a height only. A file holds the promises of some heights, the last of which may
be open; when it has grown, or is of many heights, the next one begins a new file and the older one
is deleted, and so does every start. It is named by the consensus key: another key has a journal of
its own beside it, and begins as one that was lost. A torn tail was never sent and is left out;
damage before a good record refuses to open. Each batch begins with the salt of its file, and its
checksum is salted too, so that nobody can put bytes into a block that look like a batch, or that
make a start look at all of them. The file remembers which file it is (node.origin): what is not
provably the newest that this validator has promised signs nothing until its fence is known
(docs/decisions/040).
"""

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Final

import google_crc32c
import msgspec

from ledger.encoding import U63_MAX, Struct, decode, encode
from ledger.errors import LedgerError, StoreDamaged
from node import origin as origins
from node.files import sync_folder
from node.kept import KeptFile, write_all
from node.origin import Origin

MAGIC: Final = b"depoli journal 2"
ROTATE_BYTES: Final = 8 << 20  # several blocks of the largest size
ROTATE_HEIGHTS: Final = 1000  # no block lives on here after it was pruned: node.retention
RESERVED_BYTES: Final = 12 << 20  # from the beginning, more than a file grows to: node.origin
MAX_BATCH_BYTES: Final = 64 << 20  # many blocks of the largest size
UNKNOWN_FENCE: Final = U63_MAX  # of a journal that was lost: nothing is signed until it is bounded
_SALT_BYTES: Final = 8
_HEAD_BYTES: Final = _SALT_BYTES + 8  # length, CRC32C
_IDENTITY_BYTES: Final = 64  # chain id, consensus key
_NAME: Final = slice(32, 40)  # of the consensus key, as much as file names say


class Kind(IntEnum):
    """What a record holds."""

    PROMISE = 1  # encoded by consensus.promises
    BODY = 2  # an encoded ledger.block.Block that a promise of the same height needs
    KEPT = 3  # a promise that outlives its height: a proposal of a round above 0
    FENCE = 4  # nothing at or below this height is signed
    ORIGIN = 5  # an encoded Origin: which file this is
    RESUMED = 6  # the operators agreed that this validator signs above this height: node.resume


_LASTING: Final = {Kind.FENCE, Kind.RESUMED}


class Record(Struct):
    """One fact on disk."""

    height: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]
    kind: Annotated[int, msgspec.Meta(ge=1, le=6)]
    data: bytes


class Journal:
    """The promises of one validator. `append` returns when they are durable."""

    def __init__(self, directory: Path, identity: bytes) -> None:
        self._directory, self._identity = directory, identity
        self._name = identity[_NAME].hex()
        self._records: list[Record] = []  # of the open height, and the fence
        self._kept = KeptFile(directory, identity)
        self._height = 0  # the open height
        self._descriptor = -1
        self._number = self._size = 0
        self._begun = 0  # the open height when the file was begun
        self._salt = b""
        self.truncated = 0  # bytes of a torn tail that were left out at opening
        self.doubt = ""  # why what was opened was not provably current
        self.fence = 0  # the highest height at or below which nothing may be signed, but for:
        self.resumed: int | None = None  # above this height its operators let it sign again

    @classmethod
    def create(cls, directory: Path, identity: bytes, *, fence: int = 0) -> "Journal":
        """Return a new journal; `identity` is chain id ‖ consensus key."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for above in (directory.parent, directory.parent.parent):
            sync_folder(above)  # that of the data may be new too
        journal = cls(directory, identity)
        journal._number = max(journal._numbers(), default=0)
        journal._begin_file([Record(fence, Kind.FENCE, b"")])
        return journal

    @classmethod
    def open(cls, directory: Path, identity: bytes) -> "Journal | None":
        """Return this validator's journal, in a new file, or None where `directory` has none.

        One that is not provably current has the `UNKNOWN_FENCE` from now on, and says why in
        `doubt`. Raises `StoreDamaged` where a record is bad that is not the torn last one, or where
        the journal is of another chain or key; OSError where the new file cannot be written.
        """
        journal = cls(directory, identity)
        if not (numbers := journal._numbers()):
            return None
        journal._load(max(numbers))  # older ones: a crash came before their deletion
        if journal.doubt:
            journal._records = [r for r in journal._records if r.kind != Kind.RESUMED]
            journal._records.append(Record(UNKNOWN_FENCE, Kind.FENCE, b""))
        journal._begin_file(journal._records)
        return journal

    @classmethod
    def examine(cls, directory: Path, identity: bytes) -> str | None:
        """Return why this validator's journal is not provably current, None where there is none.

        Nothing is changed. Raises as `open` does.
        """
        journal = cls(directory, identity)
        if not (numbers := journal._numbers()):
            return None
        journal._load(max(numbers))
        return journal.doubt

    @classmethod
    def is_in(cls, directory: Path, identity: bytes) -> bool:
        """Return whether the journal of this validator is in `directory`."""
        journal = cls(directory, identity)
        return bool(journal._numbers())

    @property
    def height(self) -> int:
        """The highest height with a promise; what was promised below it is not kept."""
        return self._height

    def promises(self, height: int) -> list[bytes]:
        """Return the promises of `height`, in the order in which they were made."""
        return [
            record.data
            for record in self._records
            if record.height == height and record.kind == Kind.PROMISE
        ]

    def bodies(self, height: int) -> list[bytes]:
        """Return the encoded blocks that promises of `height` need."""
        return [
            record.data
            for record in self._records
            if record.height == height and record.kind == Kind.BODY
        ]

    def kept(self) -> list[bytes]:
        """Return the promises that are kept for ever, under whichever key."""
        return _promised(self._kept.read())

    def append(self, records: Sequence[Record]) -> None:
        """Make `records`, of one height, durable with one fdatasync; what is kept takes one more.

        Raises OSError: then nothing may be sent.
        """
        assert self._descriptor >= 0  # a journal that failed promises nothing more
        if kept := [encode(record) for record in records if record.kind == Kind.KEPT]:
            with self._closed_by_failure():
                self._kept.append(kept)
            records = [record for record in records if record.kind != Kind.KEPT]
            if not records:
                return
        assert records[0].height >= self._height  # promises below are gone: `height`
        if records[0].height > self._height:
            self._height = records[0].height
            self._records = self._lasting()
            if self._size > ROTATE_BYTES or self._height - self._begun >= ROTATE_HEIGHTS:
                self._begin_file([*self._records, *records])
                return
        self._write(self._framed(records))
        self._records += records

    def set_fence(self, height: int) -> None:
        """Bind this validator durably to sign nothing at or below `height`, nor below its own."""
        kept = [record for record in self._records if record.kind not in _LASTING]
        self._begin_file([Record(max(height, self._height), Kind.FENCE, b""), *kept])

    def resume(self, height: int, fence: int, promised: Sequence[bytes]) -> None:
        """Let this validator sign above `height` again, bound by promises of the next height.

        Blocks of that height stay: nobody else may have the one that is locked.
        """
        ends = [Record(fence, Kind.FENCE, b""), Record(height, Kind.RESUMED, b"")]
        self._height = height + 1
        bodies = [Record(height + 1, Kind.BODY, data) for data in self.bodies(height + 1)]
        bound = [Record(height + 1, Kind.PROMISE, data) for data in promised]
        self._begin_file([*ends, *bodies, *bound])

    def close(self) -> None:
        """Close the files."""
        self._kept.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _lasting(self) -> list[Record]:
        return [record for record in self._records if record.kind in _LASTING]

    def _numbers(self) -> list[int]:
        found = self._directory.glob(f"{self._name}-{'[0-9]' * 12}.journal")
        return sorted(int(path.stem.removeprefix(f"{self._name}-")) for path in found)

    def _path(self, number: int) -> Path:
        return self._directory / f"{self._name}-{number:012}.journal"

    def _begin_file(self, records: Sequence[Record]) -> None:
        """Write a new file that holds `records`, then delete the older ones."""
        older = self._numbers()
        self._number += 1
        path = self._path(self._number)
        scratch = path.with_suffix(".new")
        scratch.unlink(missing_ok=True)  # of a start that failed: its file is not this one
        with self._closed_by_failure():
            descriptor = os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            before, self._descriptor = self._descriptor, descriptor
            if before >= 0:
                os.close(before)
            origin = Record(0, Kind.ORIGIN, encode(origins.mark(descriptor, RESERVED_BYTES)))
            self._salt = secrets.token_bytes(_SALT_BYTES)
            content = MAGIC + self._identity + self._salt + self._framed([origin, *records])
            write_all(descriptor, content)
            os.fsync(descriptor)
            scratch.rename(path)
            sync_folder(self._directory)
            for number in older:
                self._path(number).unlink()
        self._size, self._begun = len(content), self._height
        self._records = list(records)
        fences = [record.height for record in records if record.kind == Kind.FENCE]
        resumed = [record.height for record in records if record.kind == Kind.RESUMED]
        self.fence, self.resumed = max(fences, default=0), max(resumed, default=None)

    def _load(self, number: int) -> None:
        path = self._path(number)
        content = path.read_bytes()
        head = MAGIC + self._identity
        if not content.startswith(MAGIC):
            raise StoreDamaged(str(path), 0, "not a journal as this version of depoli writes it")
        if not content.startswith(head):
            raise StoreDamaged(str(path), 0, "not the journal of this chain and consensus key")
        offset = len(head) + _SALT_BYTES
        self._salt = content[len(head) : offset]
        records, end = self._parse(path, content, offset)
        promised = [record for record in records if record.kind in {Kind.PROMISE, Kind.BODY}]
        self._height = max((record.height for record in promised), default=0)
        lasting = [record for record in records if record.kind in _LASTING]
        self._records = lasting + [each for each in promised if each.height == self._height]
        self._number, self.truncated = number, len(content) - end
        self.doubt = _doubt(path, records)

    def _write(self, data: bytes) -> None:
        with self._closed_by_failure():
            write_all(self._descriptor, data)
            os.fdatasync(self._descriptor)
        self._size += len(data)

    @contextlib.contextmanager
    def _closed_by_failure(self) -> Iterator[None]:
        """Close the files for good where the disk fails.

        What is on it then is unknown, and a later fdatasync may lie: nothing more is signed.
        """
        try:
            yield
        except OSError:
            self.close()
            raise

    def _framed(self, records: Sequence[Record]) -> bytes:
        payload = encode(tuple(records))
        assert len(payload) <= MAX_BATCH_BYTES
        return self._salt + len(payload).to_bytes(4) + self._checksum(payload) + payload

    def _parse(self, path: Path, content: bytes, offset: int) -> tuple[list[Record], int]:
        """Return the good records and where they end; raise where good ones follow a bad batch."""
        records: list[Record] = []
        while (batch := self._batch_at(content, offset)) is not None:
            records += batch[0]
            offset = batch[1]
        if not records:  # the first batch was durable before the file had its name
            raise StoreDamaged(str(path), 0, "its beginning is damaged")
        # The batch that a crash tore is the last. Another behind it means that what was once
        # durable has been damaged.
        later = offset
        while (later := content.find(self._salt, later + 1)) >= 0:
            if self._batch_at(content, later) is not None:
                raise StoreDamaged(str(path), offset, "a damaged batch stands before a good one")
        return records, offset

    def _batch_at(self, content: bytes, offset: int) -> tuple[tuple[Record, ...], int] | None:
        start = offset + _HEAD_BYTES
        salt, length = content[offset : start - 8], int.from_bytes(content[start - 8 : start - 4])
        if salt != self._salt or not 0 < length <= min(MAX_BATCH_BYTES, len(content) - start):
            return None
        payload = content[start : start + length]
        if self._checksum(payload) != content[start - 4 : start]:
            return None
        try:
            return decode(payload, tuple[Record, ...], kind="batch"), start + length
        except LedgerError:
            return None

    def _checksum(self, payload: bytes) -> bytes:
        checksum: int = google_crc32c.value(self._salt + payload)
        return checksum.to_bytes(4)


def read_kept(directory: Path) -> list[bytes]:
    """Return the promises that are kept for ever in `directory`, whoever's journal it is."""
    return _promised(KeptFile(directory, bytes(_IDENTITY_BYTES)).read())


def _promised(kept: Iterable[bytes]) -> list[bytes]:
    """Return the promises in kept records; inside a damaged one anything may look like another."""
    found: list[bytes] = []
    for item in kept:
        with contextlib.suppress(LedgerError):
            found.append(decode(item, Record).data)
    return found


def _doubt(path: Path, records: Sequence[Record]) -> str:
    """Return why the journal at `path`, which holds `records`, is not provably the newest."""
    found = [record.data for record in records if record.kind == Kind.ORIGIN]
    if not found:
        return "it does not say which file it is"
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return origins.doubt(descriptor, decode(found[0], Origin))
    finally:
        os.close(descriptor)
