"""A folder on a disk whose power fails at the n-th effect, and what it then holds.

Stands before the functions of `os` and the `FileIO` of the segment files, for paths under one
folder; everything else passes. It knows what was synced: a file's bytes by its own fsync, a name by
that of its folder. The stores' engines write by themselves; what may be left of those is said by
`engines_lose`. An inode is never made anew, since a journal knows its file by it.
"""

# ruff: noqa: ANN401 - it stands before functions of os, whatever they are given

import contextlib
import os
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from random import Random
from typing import Any, Final
from unittest.mock import patch

from node import origin

SURVIVES: Final = ("nothing", "part", "everything")  # of what was not synced


class PowerLost(BaseException):
    """The machine is off: whatever ran there does not go on."""


class Disk:
    """One run on one folder; `stop_at` is the number of the effect before or in which it ends."""

    def __init__(
        self, root: Path, graves: Path, rng: Random, stop_at: int = -1, fault: int = 0
    ) -> None:
        self.root, self._graves, self._rng = root, graves, rng
        self.stop_at, self.fault = stop_at, fault  # errno instead of the loss of power
        self.effects: list[str] = []
        self.is_on = True
        self._durable: dict[int, int] = {}  # inode -> bytes
        self._undo: list[tuple[Path, Callable[[], None]]] = []  # names that are not durable
        self._cuts: list[tuple[int, int, bytes]] = []  # inode, offset, what was cut off there
        self._paths: dict[int, Path] = {}  # of the files that were opened to be written
        for path in root.rglob("*"):
            if path.is_file():
                self._durable[path.stat().st_ino] = path.stat().st_size

    @contextlib.contextmanager
    def mounted(self) -> Iterator[None]:
        """Let everything that is written below the folder pass here."""
        with contextlib.ExitStack() as patches:
            for name in ("open", "write", "fsync", "rename", "unlink", "rmdir", "ftruncate"):
                mine = getattr(self, f"_{name}")
                patches.enter_context(patch.object(os, name, _before(mine, getattr(os, name))))
            patches.enter_context(patch.object(os, "fdatasync", os.fsync))
            patches.enter_context(patch.object(os, "replace", os.rename))
            patches.enter_context(patch("ledger.segments._sync_data", os.fsync))
            patches.enter_context(patch("ledger.segments.FileIO", self._file_class()))
            yield

    # --- the effects -------------------------------------------------------------------------

    def _effect(self, name: str, path: Path) -> bool:
        """Count an effect; return whether the power fails in it, and it is done in part."""
        if not self.is_on:
            raise PowerLost
        self.effects.append(f"{name} {path.relative_to(self.root)}")
        if len(self.effects) - 1 != self.stop_at:
            return False
        if self.fault:
            raise OSError(self.fault, os.strerror(self.fault), str(path))
        self.is_on = False
        if name == "write" and self._rng.random() < 0.5:
            return True
        raise PowerLost

    def _open(self, real: Any, path: Any, flags: int, *rest: Any, **more: Any) -> int:
        where = self._inside(path, more.get("dir_fd"))
        if where is None or not flags & os.O_CREAT:
            return int(real(path, flags, *rest, **more))
        is_new = not where.exists()
        if is_new:
            self._effect("create", where)
        descriptor = int(real(path, flags, *rest, **more))
        self._opened(where, descriptor, is_new=is_new)
        return descriptor

    def _opened(self, where: Path, descriptor: int, *, is_new: bool) -> None:
        inode = os.fstat(descriptor).st_ino
        self._paths[inode] = where
        if is_new:
            self._durable[inode] = 0  # it may have been another's
            self._undo.append((where.parent, lambda: where.unlink(missing_ok=True)))

    def _write(self, real: Any, descriptor: int, data: Any) -> int:
        path = self._of(descriptor)
        if path is not None and self._effect("write", path):
            real(descriptor, bytes(data)[: self._rng.randrange(len(data) + 1)])
            raise PowerLost
        return int(real(descriptor, data))

    def _fsync(self, real: Any, descriptor: int) -> None:
        path = self._of(descriptor)
        if path is None:
            real(descriptor)
            return
        self._effect("sync", path)
        if path.is_dir():
            self._undo = [each for each in self._undo if each[0] != path]
            return
        status = os.fstat(descriptor)
        self._durable[status.st_ino] = status.st_size
        self._cuts = [each for each in self._cuts if each[0] != status.st_ino]

    def _rename(self, real: Any, source: Any, target: Any) -> None:
        old, new = self._inside(source), self._inside(target)
        if old is None or new is None:
            real(source, target)
            return
        self._effect("rename", old)
        grave = self._buried(new)
        real(source, target)

        def undo() -> None:
            real(new, old)
            if grave is not None:
                os.link(grave, new)

        self._undo.append((new.parent, undo))

    def _unlink(self, real: Any, path: Any, *, dir_fd: int | None = None) -> None:
        where = self._inside(path, dir_fd)
        grave = None
        if where is not None and where.exists():
            self._effect("unlink", where)
            grave = self._buried(where)
        real(path, dir_fd=dir_fd)
        if grave is not None and where is not None and where.parent.name in {"journal", "segments"}:
            self._undo.append((where.parent, lambda: os.link(grave, where)))

    def _rmdir(self, real: Any, path: Any, *, dir_fd: int | None = None) -> None:
        where = self._inside(path, dir_fd)
        if where is not None:
            self._effect("rmdir", where)
        real(path, dir_fd=dir_fd)

    def _ftruncate(self, real: Any, descriptor: int, size: int) -> None:
        path = self._of(descriptor)
        if path is not None:
            self._effect("truncate", path)
            status = os.fstat(descriptor)
            cut = path.read_bytes()[size : self._durable.get(status.st_ino, 0)]
            self._cuts.append((status.st_ino, size, cut))
            self._durable[status.st_ino] = min(size, self._durable.get(status.st_ino, 0))
        real(descriptor, size)

    def _file_class(self) -> type[FileIO]:
        """Return the `FileIO` of the segment files."""
        disk = self

        class File(FileIO):
            def __init__(self, path: Path, mode: str) -> None:
                is_new = mode == "w" and not path.exists()
                if is_new:
                    disk._effect("create", path)
                super().__init__(path, mode)
                if mode != "r":
                    disk._opened(path, self.fileno(), is_new=is_new)

            def write(self, data: Any) -> int:
                return disk._write(lambda _, part: FileIO.write(self, part), self.fileno(), data)

            def truncate(self, size: int | None = None) -> int:
                assert size is not None
                disk._ftruncate(lambda _, to: FileIO.truncate(self, to), self.fileno(), size)
                return size

        return File

    # --- what is left ------------------------------------------------------------------------

    def lose_power(self, survives: str) -> None:
        """Leave of what was not synced nothing, a part, or everything, as a killed process does."""
        self.is_on = False
        if survives == "everything":
            return
        kept = 0 if survives == "nothing" else self._rng.randrange(len(self._undo) + 1)
        for _, undo in reversed(self._undo[kept:]):
            undo()
        cuts = {inode: (offset, cut) for inode, offset, cut in self._cuts}
        for path in self.root.rglob("*"):
            if path.is_file():
                status = path.stat()
                offset, cut = cuts.get(status.st_ino, (0, b""))
                if cut and survives == "nothing":
                    with path.open("r+b") as file:
                        file.seek(offset)
                        file.write(cut)
                elif status.st_ino in self._paths:
                    self._tear(path, self._durable[status.st_ino], survives)

    def engines_lose(self, state: Path, before: Path | None) -> None:
        """Put the files of a store back, or leave them; nothing unsynced of one that is new stays.

        Where `before` is None the store was not written to.
        """
        for fresh in (*self.root.glob("state.*"), *self.root.glob("joined*/state")):
            for path in fresh.rglob("*"):
                if path.is_file() and path.stat().st_ino not in self._durable:
                    path.write_bytes(b"")
        if before is None or not state.is_dir() or self._rng.random() < 0.5:
            return
        for path in sorted(state.rglob("*"), reverse=True):
            if path.is_file():
                path.unlink()
        for path in before.rglob("*"):
            if path.is_file():
                target = state / path.relative_to(before)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())

    def _tear(self, path: Path, durable: int, survives: str) -> None:
        size = path.stat().st_size
        if size <= durable:
            return
        held = path.stat().st_blocks * 512
        with path.open("r+b") as file:
            if survives == "nothing":
                file.truncate(durable)
            elif self._rng.random() < 0.5:
                file.truncate(self._rng.randint(durable, size))
            else:  # blocks of it that never came to the disk
                start = self._rng.randrange(durable, size)
                file.seek(start)
                file.write(bytes(size - start))
            file.flush()
            origin._reserve(file.fileno(), held)  # which a power cut leaves alone

    def _buried(self, path: Path) -> Path | None:
        if not path.is_file():
            return None
        grave = self._graves / str(len(list(self._graves.iterdir())))
        os.link(path, grave)
        return grave

    def _inside(self, path: Any, dir_fd: int | None = None) -> Path | None:
        if isinstance(path, int):
            return None
        base = Path.cwd() if dir_fd is None else Path(f"/proc/self/fd/{dir_fd}").readlink()
        where = base / os.fsdecode(path)
        return where if where.is_relative_to(self.root) else None

    def _of(self, descriptor: int) -> Path | None:
        try:
            return self._inside(Path(f"/proc/self/fd/{descriptor}").readlink())
        except FileNotFoundError:
            return None


def _before(mine: Callable[..., Any], real: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **more: Any) -> Any:
        return mine(real, *arguments, **more)

    return call
