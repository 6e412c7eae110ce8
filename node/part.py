"""A snapshot that is on its way: on disk chunk by chunk, so that a restart goes on where it was.

`snapshots/<height>.part` holds the manifest, the `decided` and the chunks that came. Each chunk is
what the manifest says before it is written, and durable before it counts.
"""

import shutil
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

from contracts.genesis import Genesis
from ledger.encoding import decode
from ledger.errors import LedgerError
from ledger.snapshot import MAX_FILE_BYTES, MAX_MANIFEST_BYTES, Manifest, unpack
from node import files
from node.errors import NodeError
from node.snapshots import DECIDED, FOLDER, MANIFEST, Show, chunk_of, folder_of, heights, install

SUFFIX: Final = ".part"


class Part:
    """The folder of one snapshot that is fetched, and which of its chunks are there."""

    def __init__(self, folder: Path) -> None:
        """Look at what is in `folder`. Raises `LedgerError`, `NodeError`, OSError."""
        self.folder = folder
        encoded = _read(folder / MANIFEST, MAX_MANIFEST_BYTES)
        self.id = sha256(encoded).digest()
        self.manifest = decode(encoded, Manifest)
        self._here = set[int]()
        self.look()

    @classmethod
    def begin(cls, data: Path, manifest: bytes, decided: bytes) -> Self:
        """Return an empty one; those that were begun before are given up."""
        cls.give_up_all(data)
        folder = folder_of(data, decode(manifest, Manifest).header.height).with_suffix(SUFFIX)
        files.make_folder(folder)
        files.create(folder / DECIDED, decided)
        files.create(folder / MANIFEST, manifest)  # last: without it nothing was begun
        files.sync_folder(folder.parent)
        files.sync_folder(data)
        return cls(folder)

    @classmethod
    def resume(cls, data: Path) -> Self | None:
        """Return the one that was begun, None where none can be gone on with.

        A snapshot that is whole is one too: the node ended before it was installed.
        """
        whole = [folder_of(data, height) for height in reversed(heights(data))]
        for folder in [*_begun(data), *whole]:
            try:
                return cls(folder)
            except (LedgerError, NodeError, OSError):
                continue  # the node ended while it was begun, or it is damaged: it is begun again
        return None

    @property
    def height(self) -> int:
        """Of the block whose state it is."""
        return self.manifest.header.height

    @property
    def count(self) -> int:
        """How many chunks are here."""
        return len(self._here)

    @property
    def missing(self) -> list[int]:
        """The numbers of the chunks that are not here."""
        return [n for n in range(len(self.manifest.chunks)) if n not in self._here]

    def keep(self, *documents: bytes) -> bool:
        """Let these be the manifest and the `Decided`; return whether they were there already."""
        was_there = True
        for name, content in zip((MANIFEST, DECIDED), documents, strict=True):
            path = self.folder / name
            if not path.exists() or path.read_bytes() != content:
                files.replace(path, content)
                was_there = False
        return was_there

    def put(self, number: int, content: bytes) -> None:
        """Make a chunk durable; raise `LedgerError` where it is not what the manifest says."""
        unpack(content, self.manifest.chunks[number], f"chunk {number}")
        files.replace(chunk_of(self.folder, number), content)
        self._here.add(number)

    def look(self) -> None:
        """Learn which chunks are on the disk, and whole, and remove what is none."""
        self._here = set(filter(self._is_whole, range(len(self.manifest.chunks))))
        known = {MANIFEST, DECIDED, *(chunk_of(self.folder, n).name for n in self._here)}
        for path in self.folder.iterdir():
            if path.name not in known:
                path.unlink()

    def give_up(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.folder)

    @staticmethod
    def give_up_all(data: Path) -> None:
        """Remove all that was begun."""
        for begun in _begun(data):
            shutil.rmtree(begun)

    def install(self, data: Path, genesis: Genesis, engine: str | None, show: Show) -> None:
        """Make what is whole the state in `data`, from the next opening of the chain there on.

        Raises `BadSnapshot` where it is not what its header says, OSError, and what `show` raises:
        then nothing has changed.
        """
        install(data, self.folder, genesis, engine=engine, show=show, whole=self._finish)

    def _finish(self) -> None:
        """Let it be a snapshot like any other."""
        folder = self.folder.with_suffix("")
        if folder != self.folder:
            shutil.rmtree(folder, ignore_errors=True)  # a damaged one, or this would be it
            self.folder.rename(folder)
            files.sync_folder(folder.parent)
            self.folder = folder

    def _is_whole(self, number: int) -> bool:
        """Return whether a chunk is as the manifest says: a crash or the disk may have torn it."""
        try:
            content = _read(chunk_of(self.folder, number), MAX_FILE_BYTES)
            unpack(content, self.manifest.chunks[number], f"chunk {number}")
        except (LedgerError, NodeError, OSError):
            return False
        return True


def _begun(data: Path) -> list[Path]:
    return sorted((data / FOLDER).glob(f"*{SUFFIX}"))


def _read(path: Path, limit: int) -> bytes:
    return files.read_public(path, limit=limit, hint="")
