"""Files that only their owner reads, whole or not at all. Windows has rights in place of modes."""

import contextlib
import glob
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MARK_BYTES: Final = 4


def create_private(path: Path) -> bool:
    """Make an empty file that only its owner reads; return False where there is one."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    return True


def remove_leftovers(path: Path) -> None:
    """Remove what a program that was killed left of a file that was to replace `path`.

    From another that is at it right now it takes the file, and that one fails.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * (2 * _MARK_BYTES)}"):
        with contextlib.suppress(OSError):  # on Windows that of another stays
            left.unlink()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new private file; it takes the place of `path` if nothing was raised, whole."""
    remove_leftovers(path)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(_MARK_BYTES)}")
    create_private(beside)
    try:
        yield beside
        _sync(beside, os.O_RDWR)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    if os.name == "posix":
        _sync(path.parent, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
