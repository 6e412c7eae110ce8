"""Promises that outlive their height, in a file of their own that only grows.

Proposals of rounds above 0 that this validator made or prepared: with two certificates they convict
whoever forks the chain. Nothing at run time reads them, so they are not held in memory. Nothing is
ever cut off: what a crash tore or the disk damaged stays where it is, and is passed over.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import google_crc32c

from node.files import sync_folder

MAGIC: Final = b"depoli kept 1"
FILE_NAME: Final = "kept.proposals"
MAX_ITEM_BYTES: Final = 4 << 20  # more than any message; what claims more is damage
_HEAD_BYTES: Final = 8  # length, CRC32C
_CHAIN_BYTES: Final = len(MAGIC) + 32  # the beginning that is the same under every key


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
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            write_all(descriptor, self._head + b"".join(_framed(item) for item in items))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        scratch.replace(self._path)
        sync_folder(self._path.parent)

    def read(self) -> list[bytes]:
        """Return all whole items, each once; a torn one was never promised."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return []
        return list(dict.fromkeys(item for _, item in _places(content, len(self._head))))

    def lost(self) -> list[str]:
        """Say what in the file is of no whole item: what the disk damaged, or a crash tore."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return []
        told = [] if content.startswith(self._head[:_CHAIN_BYTES]) else ["another beginning"]
        begun = len(self._head)
        for offset, item in [*_places(content, begun), (len(content), b"")]:
            if offset > begun:
                told.append(f"{offset - begun} bytes at byte {begun} are of no whole item")
            begun = offset + _HEAD_BYTES + len(item)
        return told

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _opened(self) -> int:
        """Return the file, to append to it behind whatever it ends with."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            if os.fstat(descriptor).st_size < len(self._head):  # nothing was ever appended
                os.ftruncate(descriptor, 0)
                write_all(descriptor, self._head)
            os.fsync(descriptor)
            sync_folder(self._path.parent)  # its name too survives a power cut
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data` to an open file."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _framed(item: bytes) -> bytes:
    assert len(item) <= MAX_ITEM_BYTES
    length = len(item).to_bytes(4)
    return length + _checksum(length, item) + item


def _places(content: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    """Yield where whole items are, from `offset` on; behind a bad one any byte may begin one."""
    while offset < len(content):
        length = content[offset : offset + 4]
        start = offset + _HEAD_BYTES
        end = start + int.from_bytes(length)
        if end <= min(len(content), start + MAX_ITEM_BYTES):
            item = content[start:end]
            if _checksum(length, item) == content[offset + 4 : start]:
                yield offset, item
                offset = end
                continue
        offset += 1


def _checksum(length: bytes, item: bytes) -> bytes:
    checksum: int = google_crc32c.value(length + item)  # of the length too: zeros are no item
    return checksum.to_bytes(4)
