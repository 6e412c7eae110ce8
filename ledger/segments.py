"""Blocks on disk: append-only files of bounded size, a checksum per record. The durable truth.

A file `blocks-<first height>.seg` is a header, then records; the one with the highest name is open,
the others are sealed and never written again. A record is u32 length, u32 CRC32C, payload. All
numbers are big-endian. The checksum covers a salt drawn for the file, then the payload: so nobody
who puts bytes into a block can make them look like a record when a damaged file is searched.

A record is a whole block, or a bare one: its header and its certificate. Blocks are made bare from
the lowest up, file by file, each replaced whole; so bare ones never lie above a whole one.
"""

import mmap
import os
import re
import secrets
import sys
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from itertools import pairwise
from pathlib import Path
from struct import Struct
from typing import Final

import google_crc32c

from ledger.block import bare, is_bare
from ledger.encoding import encode
from ledger.errors import Mismatch, NotKept, StoreDamaged
from ledger.lock import DirectoryLock

SEGMENT_BYTES: Final = 64 << 20  # what is scanned at a start, and what retention drops at once
MAX_RECORD_BYTES: Final = (16 << 20) - 1  # a block with its outcomes, certificates and evidence

_MAGIC: Final = b"depolisg"
_VERSION: Final = 1
_HEAD: Final = Struct(">8sI32sQ4s")  # magic, version, chain id, first height, salt; then its CRC32C
_HEAD_BYTES: Final = _HEAD.size + 4
_SALT_BYTES: Final = 4
_FRAME: Final = Struct(">II")  # length, CRC32C
_FRAME_START: Final = re.compile(rb"\x00(?!\x00\x00\x00)")  # of a length within bounds, not zero
_sync_data: Final = os.fdatasync if hasattr(os, "fdatasync") else os.fsync
_SEALED_KEPT: Final = 16  # sealed files kept open with their index, 8 bytes a block


@dataclass(frozen=True, slots=True)
class TornTail:
    """What was cut off at the end of the last file: a record whose writing was interrupted."""

    path: Path
    offset: int
    length: int  # bytes cut off
    height: int  # of the block that it would have been


@dataclass(frozen=True, slots=True)
class Pruned:
    """A file whose blocks were made bare."""

    height: int  # of the last of them
    freed: int  # bytes


class Segments:
    """The blocks of one chain, in the order of their heights.

    One thread writes, one may prune, any number read what is durable. `close` when none of them
    does any more.
    """

    def __init__(
        self, directory: Path, lock: DirectoryLock, chain_id: bytes, segment_bytes: int
    ) -> None:
        self._directory, self._lock, self._chain_id = directory, lock, chain_id
        self._segment_bytes = segment_bytes
        self.file_blocks = 0  # at most in a file from now on; 0: as many as fit
        self._starts = first_heights(directory)
        self._sealed: dict[int, _File] = {}  # by first height, the one used last at the end
        self._guard = threading.Lock()  # of file positions, and of which files are open
        self._failed = False
        self._open, self.torn_tail = _recover(directory, self._starts[-1], chain_id)
        self._last = self._open.last_height
        self._first_whole = self._found_whole()

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        chain_id: bytes,
        first_height: int = 1,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> "Segments":
        """Return the blocks in `directory`; where there are none yet, they begin at `first_height`.

        Only the last file is read. Its torn tail is cut off and told by `torn_tail`. Raises
        `StoreDamaged` where what was durable is damaged, `StoreLocked` where the directory is in
        use, `Mismatch` where the files are of another chain.
        """
        lock = DirectoryLock(directory)
        try:
            for unfinished in directory.glob("blocks-*.new"):
                unfinished.unlink()  # it never held a block
            if not first_heights(directory):
                write_file(directory, first_height, chain_id)
            return cls(directory, lock, chain_id, segment_bytes)
        except BaseException:
            lock.release()
            raise

    @property
    def first_height(self) -> int:
        """The lowest height that is kept."""
        return self._starts[0]

    @property
    def first_whole(self) -> int:
        """The lowest height whose block is not bare; the next one where all are."""
        return self._first_whole

    @property
    def last_height(self) -> int:
        """The height of the last durable block; one below `first_height` where there is none."""
        return self._last

    def append(self, record: bytes) -> None:
        """Write the next block; after `sync` it is durable and can be read.

        What was appended before is made durable first: one record at most is ever in doubt, and so
        a bad record with a good one behind it is damage, not a torn tail.
        Raises OSError where it cannot be written; nothing of it stays.
        """
        assert 0 < len(record) <= MAX_RECORD_BYTES
        self.sync()
        is_full = self._open.end + _FRAME.size + len(record) > self._segment_bytes
        if (is_full and self._open.count) or 0 < self.file_blocks <= self._open.count:
            self._roll()
        try:
            with self._guard:
                self._open.append(record)
        except OSError:
            self._take_back()
            raise

    def sync(self) -> None:
        """Make what was appended durable by one fdatasync; without anything new, do nothing.

        Raises OSError where the disk refuses. What it then holds is unknown, and asking it a second
        time gets a yes that means nothing: so from then on this object only reads.
        """
        if self._failed:
            raise OSError(0, "an earlier write failed: mend the disk and restart", self._open.name)
        if self._open.last_height == self._last:
            return
        try:
            self._open.sync()
        except OSError:
            self._take_back()
            self._failed = True
            raise
        self._last = self._open.last_height

    def read(self, height: int) -> bytes:
        """Return the record at `height`. Raises `NotKept`, or `StoreDamaged` if it is damaged."""
        if not self.first_height <= height <= self._last:
            raise NotKept(height, self.first_height, self._last)
        with self._guard:
            return self._file_of(height).read(height)

    def iterate(self, from_height: int) -> Iterator[bytes]:
        """Yield the records from `from_height` to the last one, in order. Raises as `read` does."""
        height = from_height
        while height <= self._last:
            yield self.read(height)
            height += 1

    def file_of(self, height: int) -> int:
        """Return where the file begins that holds a block, or will hold it."""
        with self._guard:
            return self._starts[max(0, bisect_right(self._starts, height) - 1)]

    def seal(self) -> None:
        """End the last file, so that its blocks can be pruned. For who writes. Raises OSError."""
        self.sync()
        if self._open.count:
            self._roll()

    def prune(self, before: int, pause: Callable[[], None] = lambda: None) -> Iterator[Pruned]:
        """Make the blocks below `before` bare as far as they are in sealed files; tell each file.

        What was yielded is durable. Interrupted at any point, it is gone on with by another call;
        `pause` is called before each block, and may raise. Raises `StoreDamaged` where a block is
        not whole, OSError.
        """
        with self._guard:
            sealed = list(pairwise(self._starts))
        for start, following in sealed:
            if start >= before:
                return
            if self._first_whole < min(before, following):
                yield self._stripped(start, following, before, pause)

    def close(self) -> None:
        """Close the files and let others open them; what was not synced may be lost."""
        with self._guard:
            for file in (self._open, *self._sealed.values()):
                file.close()
        self._lock.release()

    def _take_back(self) -> None:
        try:
            with self._guard:
                self._open.truncate_after(self._last)
        except OSError:
            self._failed = True

    def _roll(self) -> None:
        start = self._last + 1
        write_file(self._directory, start, self._chain_id)
        file = _File(self._directory, start, self._chain_id, writable=True)
        with self._guard:
            self._open.close()
            self._open = file
            self._starts.append(start)

    def _stripped(
        self, start: int, following: int, before: int, pause: Callable[[], None]
    ) -> Pruned:
        def records() -> Iterator[bytes]:
            for height in range(start, following):
                pause()
                record = file.read(height)
                yield encode(bare(record)) if height < before else record

        file = _File(self._directory, start, self._chain_id)
        try:
            file.index(next_start=following)
            write_file(self._directory, start, self._chain_id, records())
            size = file.size
        finally:
            file.close()
        with self._guard:
            self._first_whole = min(before, following)
            replaced = self._sealed.pop(start, None)
            if replaced is not None:
                replaced.close()  # the disk keeps what was in it until then
        freed = size - segment_path(self._directory, start).stat().st_size
        return Pruned(self._first_whole - 1, freed)

    def _found_whole(self) -> int:
        """Find where whole blocks begin. What is damaged counts as whole: reading it will tell."""
        starts = self._starts
        place = bisect_left(starts, True, key=lambda start: not self._begins_bare(start))  # noqa: FBT003
        if place == 0:
            return starts[0]
        end = starts[place] if place < len(starts) else self._last + 1
        heights = range(starts[place - 1], end)
        return heights[0] + bisect_left(heights, True, key=lambda height: not self._is_bare(height))  # noqa: FBT003

    def _begins_bare(self, start: int) -> bool:
        """Return whether a file begins with a bare block, by its first record alone."""
        with suppress(StoreDamaged):
            file = _File(self._directory, start, self._chain_id)
            try:
                return is_bare(file.first())
            finally:
                file.close()
        return False

    def _is_bare(self, height: int) -> bool:
        with suppress(StoreDamaged):
            return is_bare(self.read(height))
        return False

    def _file_of(self, height: int) -> "_File":
        place = bisect_right(self._starts, height) - 1
        start = self._starts[place]
        if start == self._open.first_height:
            return self._open
        file = self._sealed.pop(start, None)
        if file is None:
            file = _File(self._directory, start, self._chain_id)
            try:
                file.index(next_start=self._starts[place + 1])
            except BaseException:
                file.close()
                raise
            if len(self._sealed) == _SEALED_KEPT:
                self._sealed.pop(next(iter(self._sealed))).close()
        self._sealed[start] = file
        return file


class _File:
    """One file, and where the records in it begin as far as they were looked for."""

    def __init__(
        self, directory: Path, first_height: int, chain_id: bytes, *, writable: bool = False
    ) -> None:
        self.path, self.first_height = segment_path(directory, first_height), first_height
        self._file = FileIO(self.path, "r+" if writable else "r")
        try:
            self._seed = google_crc32c.value(self._parse_head(chain_id))
        except BaseException:
            self.close()
            raise
        self._offsets = array("Q")
        self.end = _HEAD_BYTES

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    @property
    def count(self) -> int:
        return len(self._offsets)

    @property
    def last_height(self) -> int:
        return self.first_height + len(self._offsets) - 1

    def append(self, payload: bytes) -> None:
        frame = _framed(payload, self._seed)
        self._file.seek(self.end)
        _write_all(self._file, frame)
        self._offsets.append(self.end)
        self.end += len(frame)

    def sync(self) -> None:
        _sync_data(self._file.fileno())

    def truncate_after(self, height: int) -> None:
        kept = height - self.first_height + 1
        if kept < self.count:
            self.end = self._offsets[kept]
            del self._offsets[kept:]
        self._file.truncate(self.end)

    def read(self, height: int) -> bytes:
        offset = self._offsets[height - self.first_height]
        payload = self._payload(offset, self.end)
        if payload is None:
            raise StoreDamaged(self.name, offset, "the checksum does not match", height=height)
        return payload

    def first(self) -> bytes:
        """Return the first record where it is whole, else nothing."""
        return self._payload(_HEAD_BYTES, self.size) or b""

    def index(self, *, next_start: int) -> None:
        """Find the records of a sealed file by their lengths; `read` checks each of them."""
        size = self.size
        while self.last_height + 1 < next_start:
            length = self._length(self.end, size)
            if length is None:
                raise self._damaged("no record begins where one must")
            self._found(length)
        if self.end != size:
            raise self._damaged("bytes behind the last record of a sealed file")

    def scan(self) -> TornTail | None:
        """Find and check the records of the last file; cut off a torn tail and return it."""
        size = self.size
        while self.end < size:
            payload = self._payload(self.end, size)
            if payload is None:
                if (behind := self._next_whole(size)) is not None:
                    raise self._damaged(f"a bad record, and a good one behind it at byte {behind}")
                self._file.truncate(self.end)
                return TornTail(self.path, self.end, size - self.end, self.last_height + 1)
            self._found(len(payload))
        return None

    def salvage(self) -> Iterator[tuple[int, bytes | None]]:
        """Yield the whole records of a file that may be damaged, None where something else is."""
        size = self.size
        while self.end < size:
            payload = self._payload(self.end, size)
            yield self.end, payload
            if payload is None:
                self.end = self._next_whole(size) or size
            else:
                self.end += _FRAME.size + len(payload)

    def pieces(self) -> Iterator[tuple[int, bytes | None]]:
        """Yield the head, then what `salvage` does, each as it stands in the file."""
        self._file.seek(0)
        yield 0, self._file.read(_HEAD_BYTES)
        for offset, payload in self.salvage():
            yield offset, None if payload is None else _framed(payload, self._seed)

    def close(self) -> None:
        self._file.close()

    def _parse_head(self, chain_id: bytes) -> bytes:
        """Return the salt."""
        head = self._file.read(_HEAD_BYTES)
        body, checksum = head[: _HEAD.size], head[_HEAD.size :]
        if google_crc32c.value(body).to_bytes(4) != checksum:
            raise StoreDamaged(self.name, 0, "the header of the file does not match its checksum")
        magic, version, found_chain, start, salt = _HEAD.unpack(body)
        for field, expected, found in (
            ("magic", _MAGIC, magic),
            ("version", _VERSION, version),
            ("chain id", chain_id, found_chain),
            ("first height", self.first_height, start),
        ):
            if found != expected:
                raise Mismatch(f"{self.name}: {field}", expected, found)
        assert isinstance(salt, bytes)
        return salt

    def _found(self, length: int) -> None:
        self._offsets.append(self.end)
        self.end += _FRAME.size + length

    def _length(self, offset: int, limit: int) -> int | None:
        """Return the length of the record at `offset` if one that ends within `limit` may be."""
        self._file.seek(offset)
        frame = self._file.read(_FRAME.size)
        if len(frame) < _FRAME.size:
            return None
        length: int = _FRAME.unpack(frame)[0]
        fits = 0 < length <= min(MAX_RECORD_BYTES, limit - offset - _FRAME.size)
        return length if fits else None

    def _payload(self, offset: int, limit: int) -> bytes | None:
        """Return the payload of the record at `offset`, None unless it is whole within `limit`."""
        length = self._length(offset, limit)
        if length is None:
            return None
        self._file.seek(offset)
        record = self._file.read(_FRAME.size + length)
        payload = record[_FRAME.size :]
        whole = len(payload) == length and self._is_whole(record[: _FRAME.size], payload)
        return payload if whole else None

    def _is_whole(self, frame: bytes, payload: bytes) -> bool:
        return self._checksum(payload) == int.from_bytes(frame[4:])

    def _checksum(self, payload: bytes) -> int:
        checksum: int = google_crc32c.extend(self._seed, payload)
        return checksum

    def _next_whole(self, size: int) -> int | None:
        """Return where the next whole record behind the bad one at the end is, None without any.

        Its length may be what is bad, so every byte is tried; a candidate must end where the file
        does or where another may begin, which spares most of the checksums.
        """
        with mmap.mmap(self._file.fileno(), size, access=mmap.ACCESS_READ) as data:
            for start in _FRAME_START.finditer(data, self.end + 1):
                offset = start.start()
                end = offset + _FRAME.size + int.from_bytes(data[offset : offset + 4])
                if end > size or (end < size and data[end] != 0):
                    continue
                payload = offset + _FRAME.size
                if self._is_whole(data[offset:payload], data[payload:end]):
                    return offset
        return None

    def _damaged(self, reason: str) -> StoreDamaged:
        return StoreDamaged(self.name, self.end, reason, height=self.last_height + 1)


def _recover(directory: Path, start: int, chain_id: bytes) -> tuple[_File, TornTail | None]:
    file = _File(directory, start, chain_id, writable=True)
    try:
        torn_tail = file.scan()
        file.sync()  # a writer killed before its sync left a record that only looks durable
    except BaseException:
        file.close()
        raise
    return file, torn_tail


def salvage(path: Path, chain_id: bytes) -> Iterator[tuple[int, bytes | None]]:
    """Yield where the records of one file begin, with those that are whole, None for what is not.

    The file need not be one that could be opened, and is not changed. Raises `Mismatch` where it is
    of another chain, OSError.
    """
    try:
        file = _File(path.parent, _start_of(path), chain_id)
    except StoreDamaged:
        yield 0, None  # without its salt nothing in it can be told from chance
        return
    try:
        yield from file.salvage()
    finally:
        file.close()


def pieces(path: Path, chain_id: bytes) -> Iterator[tuple[int, bytes | None]]:
    """Yield the head of a file, then each whole record with its frame, None for what is not whole.

    It may be one that another process appends to, or replaces: what is yielded is of the file that
    was there, and what was in it. Raises `StoreDamaged`, `Mismatch`, OSError.
    """
    file = _File(path.parent, _start_of(path), chain_id)
    try:
        yield from file.pieces()
    finally:
        file.close()


def payload_of(piece: bytes) -> bytes:
    """Return the block in a record with its frame."""
    return piece[_FRAME.size :]


def write_file(
    directory: Path, first_height: int, chain_id: bytes, records: Iterable[bytes] = ()
) -> None:
    """Make a file of these blocks that is there whole, with its name, or not at all.

    It takes the place of one that begins at the same height.
    """
    salt = secrets.token_bytes(_SALT_BYTES)
    head = _HEAD.pack(_MAGIC, _VERSION, chain_id, first_height, salt)
    seed = google_crc32c.value(salt)
    path = segment_path(directory, first_height)
    unfinished = path.with_suffix(".new")
    try:
        with FileIO(unfinished, "w") as file:
            _write_all(file, head + google_crc32c.value(head).to_bytes(4))
            for record in records:
                _write_all(file, _framed(record, seed))
            os.fsync(file.fileno())
        unfinished.replace(path)
        _sync_directory(directory)
        _sync_directory(directory.parent)  # where this one may be new
    except BaseException:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise


def _framed(payload: bytes, seed: int) -> bytes:
    checksum: int = google_crc32c.extend(seed, payload)
    return _FRAME.pack(len(payload), checksum) + payload


def _write_all(file: FileIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:  # the system may take a part, and says why at the next one
        rest = rest[file.write(rest) :]


def segment_path(directory: Path, first_height: int) -> Path:
    """Return the file of the blocks from a height on."""
    return directory / f"blocks-{first_height:012}.seg"


def first_heights(directory: Path) -> list[int]:
    """Return where the files in `directory` begin, by their names."""
    return sorted(map(_start_of, directory.glob(f"blocks-{'[0-9]' * 12}.seg")))


def _start_of(path: Path) -> int:
    return int(path.stem.removeprefix("blocks-"))


def _sync_directory(directory: Path) -> None:
    if sys.platform == "win32":  # it keeps names durable by itself, and opens no directory
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
