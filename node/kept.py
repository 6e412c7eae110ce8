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

    def __init__(self, directory: Path, identity: bytes, name: str = FILE_NAME) -> None:
        self._path, self._head = directory / name, MAGIC + identity
        self._descriptor = -1

    def append(self, items: Sequence[bytes]) -> None:
        """Make `items` durable with one fdatasync; raise OSError: then it is not to be used."""
        if self._descriptor < 0:
            self._descriptor = self._opened()
        write_all(self._descriptor, b"".join(_framed(item) for item in items))
        os.fdatasync(self._descriptor)

    def replace(self, items: Sequence[bytes]) -> None:
        """Let the file hold `items` and nothing else, or what it held before; raise OSError."""
        self.close()
        scratch = self._path.with_name(self._path.name + ".new")
        with scratch.open("wb") as file:
            file.write(self._head + b"".join(_framed(item) for item in items))
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(self._path)
        sync_directory(self._path.parent)

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
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _opened(self) -> int:
        """Return the file, to append to it; what a crash tore of its last item is cut off."""
        end = 0
        if self._path.exists() and self._path.stat().st_size >= len(self._head):
            with self._path.open("rb") as file:
                end = file.seek(len(self._head))
                while _next(file) is not None:
                    end = file.tell()
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.ftruncate(descriptor, end)
            if end == 0:
                write_all(descriptor, self._head)
            os.fsync(descriptor)
            sync_directory(self._path.parent)  # its name too survives a power cut
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data` to an open file."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_directory(directory: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
