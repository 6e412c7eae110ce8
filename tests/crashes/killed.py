"""A child of this process that is killed, for real, before its n-th change of any file.

    for number in deaths(act, prepare):
        ...look at what it left...

The child is traced (ptrace), and gets SIGKILL when it is about to enter a system call that writes,
cuts, removes, renames or syncs. What the kernel was told before stays; nothing else does. Linux
only, and only where one may trace one's own child.
"""

import ctypes
import os
import platform
import signal
import struct
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count
from typing import Final

_TRACEME, _SYSCALL, _SETOPTIONS, _SYSCALL_INFO = 0, 24, 0x4200, 0x420E
_GOOD: Final = 1  # PTRACE_O_TRACESYSGOOD: a stop at a system call says so
_SYSCALL_STOP: Final = signal.SIGTRAP | 0x80
_CHANGES: Final = {  # write, pwrite64, fsync, fdatasync, (f)truncate, unlink(at), rename(at, at2)
    "x86_64": {1, 18, 74, 75, 76, 77, 87, 263, 82, 264, 316},
    "aarch64": {64, 68, 82, 83, 45, 46, 35, 38, 276},
}.get(platform.machine(), set())


def can_kill() -> bool:
    """Say whether this machine lets us: a Linux that it knows, and a child that may be traced."""
    if platform.system() != "Linux" or not _CHANGES:
        return False
    try:
        return not _runs_to(lambda: os.write(1, b""), 1)
    except OSError:
        return False


def deaths(
    prepare: Callable[[], None], act: Callable[[], object], *, every: int = 1
) -> Iterator[int]:
    """Yield after each death, with its number, until `act` ends by itself.

    At night each change is one; by day only one in `every`, where there are many.
    """
    step = 1 if os.environ.get("HYPOTHESIS_PROFILE") == "night" else every
    for number in count(1, step):
        prepare()
        if _runs_to(act, number):
            return
        yield number


def _runs_to(act: Callable[[], object], number: int) -> bool:
    """Run `act` in a child and kill it at its n-th change; return whether it ended before that."""
    with warnings.catch_warnings():  # of threads that another test left: the child uses none
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            _ptrace(_TRACEME, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            act()
            os._exit(0)
        finally:
            os._exit(1)
    os.waitpid(child, 0)
    try:
        _ptrace(_SETOPTIONS, child, data=_GOOD)
        seen = 0
        while True:
            _ptrace(_SYSCALL, child)
            _, status = os.waitpid(child, 0)
            if os.WIFEXITED(status):
                assert os.WEXITSTATUS(status) == 0, "what was to be killed failed by itself"
                return True
            if os.WSTOPSIG(status) == _SYSCALL_STOP and _entered(child) in _CHANGES:
                seen += 1
                if seen == number:
                    return False
    finally:
        try:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def _entered(child: int) -> int | None:
    """Return the number of the system call that is about to begin, None at its end."""
    info = ctypes.create_string_buffer(128)
    _ptrace(_SYSCALL_INFO, child, len(info), ctypes.addressof(info))
    entry: int = struct.unpack_from("<Q", info.raw, 24)[0]
    return entry if info.raw[0] == 1 else None


def _ptrace(request: int, child: int, address: int = 0, data: int = 0) -> None:
    if _libc().ptrace(request, child, address, data) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.restype = ctypes.c_long
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    return libc
