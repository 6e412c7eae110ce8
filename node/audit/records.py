"""The records of an export: the framing of the segment files, behind a line that names the format.

A record is u32 length, u32 CRC32C of the payload, payload; integers are big-endian. It holds a
block, or a proposal of a round above 0 that a validator kept: no block begins as a proposal does.
"""

from collections.abc import Iterator
from hashlib import sha256
from typing import BinaryIO, Final

import google_crc32c

from ledger.errors import Malformed, Mismatch
from ledger.segments import MAX_RECORD_BYTES

MAGIC: Final = b"depoli/export/1\n"
_FRAME_BYTES: Final = 8
_PROPOSAL: Final = b"\x96\x01"  # an array of six, the first of which is the tag of a proposal


def frame(payload: bytes) -> bytes:
    """Return `payload` as a record."""
    return len(payload).to_bytes(4) + _checksum(payload) + payload


def is_proposal(payload: bytes) -> bool:
    """Return whether this is the record of a kept proposal, not of a block."""
    return payload.startswith(_PROPOSAL)


def split_frames(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the payloads of the whole records in `data`, and what is left. Raises as `Records`."""
    payloads, offset = [], 0
    while len(data) - offset >= _FRAME_BYTES:
        end = offset + _FRAME_BYTES + _length(data[offset : offset + 4])
        if end > len(data):
            break
        payloads.append(_payload(data[offset:end]))
        offset = end
    return payloads, data[offset:]


class Records(Iterator[bytes]):
    """Payloads read from a file, in order. Raises `Malformed`, or `Mismatch` of the checksum."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.offset = 0  # where the next record begins
        self._digest = sha256()

    @property
    def digest(self) -> bytes:
        """SHA-256 of what was read; of the whole file after the last record."""
        return self._digest.digest()

    def read_magic(self) -> None:
        """Read the line that every export begins with; raise `Mismatch`."""
        found = self._read(len(MAGIC))
        if found != MAGIC:
            raise Mismatch("first line", MAGIC.decode().strip(), found)
        self.offset = len(MAGIC)

    def __next__(self) -> bytes:
        """Return the next payload."""
        head = self._read(_FRAME_BYTES)
        if not head:
            raise StopIteration
        length = _length(head[:4]) if len(head) == _FRAME_BYTES else 0
        body = self._read(length)
        if len(head) + len(body) < _FRAME_BYTES + length or not length:
            raise Malformed("record", f"the file ends within the record at byte {self.offset}")
        payload = _payload(head + body)
        self.offset += _FRAME_BYTES + length
        return payload

    def _read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._digest.update(data)
        return data


def _length(data: bytes) -> int:
    length = int.from_bytes(data)
    if not 1 <= length <= MAX_RECORD_BYTES:
        raise Malformed("record", f"a length of {length}, not 1 to {MAX_RECORD_BYTES}")
    return length


def _payload(record: bytes) -> bytes:
    payload = record[_FRAME_BYTES:]
    expected, found = _checksum(payload), record[4:_FRAME_BYTES]
    if expected != found:
        raise Mismatch("checksum of the record", expected, found)
    return payload


def _checksum(payload: bytes) -> bytes:
    crc: int = google_crc32c.value(payload)
    return crc.to_bytes(4)
