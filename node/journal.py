"""What this validator has promised: on disk before it leaves, so that no crash makes it lie.

Promises bind within a height only. A file holds the promises of some heights, the last of which may
be open; when it has grown, the next height begins a new file and the older one is deleted. A torn
tail was never sent and is cut off; damage before a good record refuses to open. Checksums are
salted for each file, so that nobody can put bytes into a block that look like a record.
"""

import os
import secrets
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Final

import google_crc32c
import msgspec

from ledger.encoding import U63_MAX, Struct, decode, encode
from ledger.errors import LedgerError, StoreDamaged
from node.kept import KeptFile

MAGIC: Final = b"depoli journal 1"
ROTATE_BYTES: Final = 8 << 20  # several blocks of the largest size
MAX_BATCH_BYTES: Final = 64 << 20  # many blocks of the largest size
UNKNOWN_FENCE: Final = U63_MAX  # of a journal that was lost: nothing is signed until it is bounded
_HEAD_BYTES: Final = 8  # length, CRC32C
_SALT_BYTES: Final = 8


class Kind(IntEnum):
    """What a record holds."""

    PROMISE = 1  # encoded by consensus.promises
    BODY = 2  # an encoded ledger.block.Block that a promise of the same height needs
    KEPT = 3  # a promise that outlives its height: a proposal of a round above 0
    FENCE = 4  # nothing at or below this height is signed


class Record(Struct):
    """One fact on disk."""

    height: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]
    kind: Annotated[int, msgspec.Meta(ge=1, le=4)]
    data: bytes


class Journal:
    """The promises of one validator. `append` returns when they are durable."""

    def __init__(self, directory: Path, identity: bytes) -> None:
        self._directory, self._identity = directory, identity
        self._records: list[Record] = []  # of the open height, and the fence
        self._kept = KeptFile(directory, identity)
        self._height = 0  # the open height
        self._descriptor = -1
        self._number = self._size = 0
        self._salt = b""
        self.truncated = 0  # bytes of a torn tail that were cut off at opening
        self.fence = 0  # the highest height at or below which nothing may be signed

    @classmethod
    def create(cls, directory: Path, identity: bytes, *, fence: int = 0) -> "Journal":
        """Return a new journal; `identity` is chain id ‖ consensus key. Existing ones are kept."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        journal = cls(directory, identity)
        journal._number = max(journal._numbers(), default=0)
        journal._begin_file([Record(fence, Kind.FENCE, b"")])
        return journal

    @classmethod
    def open(cls, directory: Path, identity: bytes) -> "Journal | None":
        """Return the journal in `directory`, or None where there is none.

        Raises `StoreDamaged` where a record is bad that is not the torn last one, or where the
        journal is of another chain or key.
        """
        journal = cls(directory, identity)
        numbers = journal._numbers() if directory.is_dir() else []
        if not numbers:
            return None
        for number in numbers:  # more than one after a crash between creating and deleting
            journal._load(number, last=number == numbers[-1])
        return journal

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
        """Return the promises that are kept for ever."""
        return [decode(item, Record).data for item in self._kept.read()]

    def append(self, records: Sequence[Record]) -> None:
        """Make `records`, of one height, durable with one fdatasync; what is kept takes one more.

        Raises OSError: then nothing may be sent.
        """
        if kept := [encode(record) for record in records if record.kind == Kind.KEPT]:
            self._kept.append(kept)
            records = [record for record in records if record.kind != Kind.KEPT]
            if not records:
                return
        assert records[0].height >= self._height  # promises below are gone: `height`
        if records[0].height > self._height:
            self._height = records[0].height
            self._records = self._lasting()
            if self._size > ROTATE_BYTES:
                self._begin_file([*self._records, *records])
                return
        self._write(self._framed(records))
        self._records += records

    def set_fence(self, height: int) -> None:
        """Bind this validator durably to sign nothing at or below `height`."""
        self._begin_file([Record(height, Kind.FENCE, b"")])

    def close(self) -> None:
        """Close the files."""
        self._kept.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _lasting(self) -> list[Record]:
        return [record for record in self._records if record.kind == Kind.FENCE]

    def _numbers(self) -> list[int]:
        return sorted(int(path.stem) for path in self._directory.glob("*.journal"))

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:012}.journal"

    def _begin_file(self, records: Sequence[Record]) -> None:
        """Write a new file that holds `records`, then delete the older ones."""
        older = self._numbers()
        self._number += 1
        path = self._path(self._number)
        scratch = path.with_suffix(".new")
        descriptor = os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        self._salt = secrets.token_bytes(_SALT_BYTES)
        content = MAGIC + self._identity + self._salt + self._framed(records)
        _write_all(descriptor, content)
        os.fsync(descriptor)
        scratch.rename(path)
        _sync_directory(self._directory)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._size = descriptor, len(content)
        self._records = list(records)
        self._learn_fence()
        for number in older:
            self._path(number).unlink()

    def _load(self, number: int, *, last: bool) -> None:
        path = self._path(number)
        content = path.read_bytes()
        head = MAGIC + self._identity
        if not content.startswith(head):
            raise StoreDamaged(str(path), 0, "not the journal of this chain and consensus key")
        offset = len(head) + _SALT_BYTES
        self._salt = content[len(head) : offset]
        records, end = self._parse(path, content, offset)
        if end < len(content) and not last:
            raise StoreDamaged(str(path), end, "a sealed journal ends in a torn batch")
        self._records = list(dict.fromkeys((*self._records, *records)))  # a new file repeats some
        bound = [record.height for record in self._records if record.kind != Kind.FENCE]
        self._height = max(bound, default=0)
        self._records = [
            r for r in self._records if r.kind == Kind.FENCE or r.height == self._height
        ]
        if last:
            self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
            if end < len(content):
                self.truncated = len(content) - end
                os.ftruncate(self._descriptor, end)
                os.fsync(self._descriptor)
            self._number, self._size = number, end
            self._learn_fence()

    def _learn_fence(self) -> None:
        fences = [record.height for record in self._records if record.kind == Kind.FENCE]
        self.fence = max(fences, default=0)

    def _write(self, data: bytes) -> None:
        assert self._descriptor >= 0
        try:
            _write_all(self._descriptor, data)
            os.fdatasync(self._descriptor)
        except OSError:
            # What is on disk now is unknown, and a later fdatasync may lie: sign nothing more.
            self.close()
            raise
        self._size += len(data)

    def _framed(self, records: Sequence[Record]) -> bytes:
        payload = encode(tuple(records))
        assert len(payload) <= MAX_BATCH_BYTES
        return len(payload).to_bytes(4) + self._checksum(payload) + payload

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
        for later in range(offset + 1, len(content) - _HEAD_BYTES):
            if self._batch_at(content, later) is not None:
                raise StoreDamaged(str(path), offset, "a damaged batch stands before a good one")
        return records, offset

    def _batch_at(self, content: bytes, offset: int) -> tuple[tuple[Record, ...], int] | None:
        length = int.from_bytes(content[offset : offset + 4])
        start = offset + _HEAD_BYTES
        if not 0 < length <= min(MAX_BATCH_BYTES, len(content) - start):
            return None
        payload = content[start : start + length]
        if self._checksum(payload) != content[offset + 4 : start]:
            return None
        try:
            return decode(payload, tuple[Record, ...], kind="batch"), start + length
        except LedgerError:
            return None

    def _checksum(self, payload: bytes) -> bytes:
        checksum: int = google_crc32c.value(self._salt + payload)
        return checksum.to_bytes(4)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
