"""Files written whole or not at all, and secrets that nobody but their owner reads."""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from node.errors import Locked, NodeError, NotInitialised

_OTHERS: Final = 0o077  # any right of group or others
_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)  # Windows has neither these nor such rights


class Missing(NotInitialised):
    """A file that is needed is not there."""

    def __init__(self, path: Path, hint: str) -> None:
        super().__init__(f"{path} does not exist", hint=hint)


class AlreadyThere(NodeError):
    """A file that would be written exists; it was left as it is."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} exists and is not overwritten", hint="choose another place, or move it away"
        )


class NotPlain(NodeError):
    """A secret is behind a link, or is no file."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is not a plain file",
            hint="secrets are read from the file itself, never through a link",
        )


class Exposed(Locked):
    """A secret can be read by others than its owner, and may be known to them."""

    def __init__(self, path: Path, mode: int) -> None:
        super().__init__(
            f"{path} holds a secret but has mode {mode:04o}: others can read or replace it",
            hint=f"chmod 600 {path}   (and make a new one if somebody may have read it)",
        )


class Foreign(Locked):
    """A secret belongs to another user, who may change it."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} belongs to another user", hint=f"chown it to the user that runs this: {path}"
        )


class TooLong(NodeError):
    """A file is longer than any honest one."""

    def __init__(self, path: Path, limit: int) -> None:
        super().__init__(
            f"{path} is longer than {limit} bytes", hint="this cannot be the file that is meant"
        )


def read_public(path: Path, *, limit: int, hint: str) -> bytes:
    """Return the content of a file of at most `limit` bytes; `hint` says how to make a missing one.

    Raises `Missing`, `TooLong`, `OSError`.
    """
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except FileNotFoundError:
        raise Missing(path, hint) from None
    if len(content) > limit:
        raise TooLong(path, limit)
    return content


def read_secret(path: Path, *, limit: int, hint: str, credential: bool = False) -> bytes:
    """Return the content of a file that only its owner can read.

    A `credential` may show a group: systemd grants its service access by an ACL, whose mask shows
    in the group's place. Raises `Missing`, `NotPlain`, `Exposed`, `Foreign`, `TooLong`, `OSError`.
    """
    if path.is_symlink():
        raise NotPlain(path)
    flags = os.O_RDONLY | _NO_FOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise Missing(path, hint) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotPlain(path)
        if os.name == "posix":
            mode = stat.S_IMODE(status.st_mode)
            if mode & (_OTHERS & ~0o040 if credential else _OTHERS):
                raise Exposed(path, mode)
            if status.st_uid not in {0, os.geteuid()}:
                raise Foreign(path)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(limit + 1)
    finally:
        os.close(descriptor)
    if len(content) > limit:
        raise TooLong(path, limit)
    return content


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Say of a full disk or a limit which file did not fit: writing to an open one does not."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def make_folder(path: Path) -> None:
    """Make a folder, and those that it is in, for their owner alone; what exists is left."""
    for each in (*reversed(path.parents), path):  # `parents=True` would let others into those
        each.mkdir(mode=0o700, exist_ok=True)


def create(path: Path, content: bytes, *, secret: bool = False) -> None:
    """Write a new file durably; raise `AlreadyThere` where there is one."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW
    try:
        descriptor = os.open(path, flags, 0o600 if secret else 0o644)
    except FileExistsError:
        raise AlreadyThere(path) from None
    with naming(path), os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    sync_folder(path.parent)


def replace(path: Path, content: bytes, *, secret: bool = False) -> None:
    """Put `content` in the place of a file: whoever reads sees the old or the new, whole."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        create(beside, content, secret=secret)
        beside.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
    sync_folder(path.parent)


def sync_tree(folder: Path) -> None:
    """Make a folder and all that is in it survive a power cut.

    Others may write to it: what was there when this began is durable. Whoever removes a file
    meanwhile has made durable what he has in its place, as engines do.
    """
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                descriptor = os.open(Path(parent, name), os.O_RDWR)
            except FileNotFoundError:
                continue
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(Path(parent))


def sync_folder(path: Path) -> None:
    """Make the names in a folder survive a power cut."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
