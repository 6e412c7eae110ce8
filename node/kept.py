"""Promises that outlive their height, in a file of their own that only grows.

Proposals of rounds above 0 that this validator made or prepared: with two certificates they convict
whoever forks the chain. Nothing at run time reads them, so they are not held in memory.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final

import google_crc32c

MAGIC: Final = b"depoli kept 1"
FILE_NAME: Final = "kept.proposals"
_HEAD_BYTES: Final = 8  # length, CRC32C


class KeptFile:
    """An append-only file of bytes, made when the first are appended."""

    def __init__(self, directory: Path, identity: bytes) -> None:
        self._path, self._head = directory / FILE_NAME, MAGIC + identity
        self._file: BinaryIO | None = None

    def append(self, items: Sequence[bytes]) -> None:
        """Make `items` durable; raise OSError."""
        if self._file is None:
            self._file = self._opened()
        self._file.write(b"".join(_framed(item) for item in items))
        self._file.flush()
        os.fdatasync(self._file.fileno())

    def read(self) -> list[bytes]:
        """Return all items, each once; a torn last one was never promised and is left out."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(len(self._head))
            found: dict[bytes, None] = {}
            while (item := _next(file)) is not None:
                found[item] = None
        return list(found)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _opened(self) -> BinaryIO:
        """Return the file, positioned behind its last whole item; what a crash tore is cut off."""
        is_new = not self._path.exists() or self._path.stat().st_size < len(self._head)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        file = os.fdopen(descriptor, "r+b")
        try:
            if is_new:
                file.truncate(0)
                file.write(self._head)
                end = len(self._head)
            else:
                file.seek(len(self._head))
                end = file.tell()
                while _next(file) is not None:
                    end = file.tell()
            file.truncate(end)
            file.seek(end)
            file.flush()
            os.fsync(descriptor)
            directory = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)  # its name too survives a power cut
            finally:
                os.close(directory)
        except BaseException:
            file.close()
            raise
        return file


def _framed(item: bytes) -> bytes:
    length = len(item).to_bytes(4)
    checksum: int = google_crc32c.value(length + item)  # of the length too: zeros are no item
    return length + checksum.to_bytes(4) + item


def _next(file: BinaryIO) -> bytes | None:
    head = file.read(_HEAD_BYTES)
    if len(head) < _HEAD_BYTES:
        return None
    item = file.read(int.from_bytes(head[:4]))
    return item if _framed(item) == head + item else None
