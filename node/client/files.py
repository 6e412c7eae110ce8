"""Files that only their owner reads, whole or not at all. Windows has rights in place of modes."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


def create_private(path: Path) -> bool:
    """Make an empty file that only its owner reads; return False where there is one."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    return True


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new private file; it takes the place of `path` if nothing was raised, whole."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
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
