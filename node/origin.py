"""Which file this is, as the kernel made it: by this a copy is told from what was copied.

No program can choose when the kernel made a file, nor its inode number; and blocks that are
reserved behind the end of a file are given back when it is shortened or written anew. So a folder
that was copied, unpacked or put back is recognised, also where it was written over the old one
(`cp`, `rsync --inplace`, `truncate -s`), while `chown`, `mv`, a restart and a power cut change
nothing. An image of the whole disk carries all of it along: see docs/attacks.md.
"""

import ctypes
import errno
import os
from typing import Annotated, Final

import msgspec

from ledger.encoding import U63_MAX, Struct

_AT_EMPTY_PATH: Final = 0x1000
_STATX_BTIME: Final = 0x800
_STATX_BYTES: Final = 256
_KEEP_SIZE: Final = 1  # FALLOC_FL_KEEP_SIZE
_BLOCK_BYTES: Final = 512  # of st_blocks, whatever the file system's are
_UNABLE: Final = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EPERM}

_Whole = Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]


class Origin(Struct):
    """What a file is known by."""

    inode: _Whole  # 0 where the moment of birth is known: some file systems number anew
    born_ns: _Whole  # 0 where the file system does not remember it
    reserved: _Whole  # bytes that are its own on the disk from the beginning, 0 where none can be


def mark(descriptor: int, reserve_bytes: int) -> Origin:
    """Reserve room for an open new file, and return what it is known by from now on.

    Raises OSError where there is no such room.
    """
    _reserve(descriptor, reserve_bytes)
    kept = _held_bytes(descriptor) >= reserve_bytes
    return _origin(descriptor, reserve_bytes if kept else 0)


def doubt(descriptor: int, origin: Origin) -> str:
    """Return why an open file is not the one that was marked, "" where it is."""
    if _origin(descriptor, origin.reserved) != origin:
        return "it is a copy, or was put back from one"
    if _held_bytes(descriptor) < origin.reserved:
        return "it was shortened, or written over with a copy"
    return ""


def _origin(descriptor: int, reserved: int) -> Origin:
    born = _born_ns(descriptor)
    return Origin(0 if born else os.fstat(descriptor).st_ino & U63_MAX, born, reserved)


def _held_bytes(descriptor: int) -> int:
    return getattr(os.fstat(descriptor), "st_blocks", 0) * _BLOCK_BYTES


def _born_ns(descriptor: int) -> int:
    """Return when the kernel made the file, 0 where that is not known."""
    statx = getattr(_libc(), "statx", None)
    if statx is None:
        return 0
    found = ctypes.create_string_buffer(_STATX_BYTES)
    if statx(descriptor, b"", _AT_EMPTY_PATH, _STATX_BTIME, found) != 0:
        return 0
    status = found.raw
    mask, seconds, part = (int.from_bytes(status[a:b], "little") for a, b in _STATX_FIELDS)
    return seconds * 1_000_000_000 + part if mask & _STATX_BTIME else 0


_STATX_FIELDS: Final = ((0, 4), (80, 88), (88, 92))  # mask, birth: seconds, nanoseconds


def _reserve(descriptor: int, size: int) -> None:
    """Have the file system set `size` bytes aside for a file without making it longer."""
    fallocate = getattr(_libc(), "fallocate", None)
    if fallocate is None:
        return
    offsets = (ctypes.c_int64(0), ctypes.c_int64(size))
    while fallocate(descriptor, _KEEP_SIZE, *offsets) != 0:
        number = ctypes.get_errno()
        if number in _UNABLE:
            return
        if number != errno.EINTR:  # by a signal: once more
            raise OSError(number, os.strerror(number))


def _libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None
