"""Make a backup of a node, beside it while it runs; a second one copies only what is new.

Files of blocks are only appended to, and a block is decided before it is written: so what is whole
in them at any moment is the chain up to a height. They are copied from the highest down, because
the node makes old blocks bare from the lowest up: never is one whole that stands below a bare one.
Nothing is copied that could be a secret, nor the journal: what a validator signed since would be
forgotten by whoever restored it. The kept proposals are: they bind nobody, judge forks, and are
nowhere else once a disk is lost.
"""

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Final

from contracts.genesis import Genesis
from ledger import segments
from ledger.block import bare, is_bare
from ledger.errors import LedgerError, StoreDamaged
from ledger.lock import FILE_NAME as LOCK
from ledger.lock import DirectoryLock
from ledger.segments import first_heights, segment_path
from ledger.snapshot import unpack
from node import ceremony, clock, files, snapshots
from node.audit.report import Progress
from node.backup import manifest as manifests
from node.backup.errors import (
    Behind,
    Inside,
    NoBackup,
    NoRoom,
    NoSnapshot,
    NothingThere,
    NotOurs,
    OtherBlocks,
)
from node.backup.manifest import Manifest, Segment, Stored
from node.chain import SEGMENTS
from node.config import load_config, portable
from node.health import free_bytes, software_version
from node.initialise import JOURNAL_FOLDER
from node.kept import FILE_NAME as KEPT

_SPARE_BYTES: Final = 1 << 20  # for the manifest, and what the file system itself needs
_OWN: Final = {LOCK, manifests.FILE_NAME, manifests.SEGMENTS}
_FOLDERS: Final = re.compile(r"snapshots(/[0-9]{12})?")

Show = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Made:
    """What a backup came to."""

    manifest: Manifest
    copied: int  # bytes of blocks that were written; the others were there


def create(config: Path, folder: Path, show: Show = lambda _: None) -> Made:
    """Make `folder` a backup of this node, or bring it up to date; `config` is its file or home.

    Until all is durable the folder is the backup that it was. Raises `StoreLocked` where another
    one is being made, `NotOurs`, `OtherBlocks`, `Behind`, `NothingThere`, `NoRoom`, `NoSnapshot`,
    `BadBackup`, `StoreDamaged` where the node's blocks are not whole, OSError.
    """
    settings = load_config(config)
    text = ceremony.read(settings.genesis)
    genesis = ceremony.parse_genesis(text, settings.genesis)
    if folder.resolve().is_relative_to(settings.data.resolve()):
        raise Inside(folder, settings.data)
    files.make_folder(folder)
    with contextlib.ExitStack() as closing:
        closing.callback(DirectoryLock(folder).release)
        _require_ours(folder)
        before = _before(folder, genesis.chain_id)
        (folder / manifests.SEGMENTS).mkdir(mode=0o700, exist_ok=True)
        files.sync_folder(folder.resolve().parent)
        begun = partial(_Copy, settings.data, genesis.chain_id, folder, before, show)
        try:
            copy, found, snapshot, chunks = _together(begun, genesis.genesis)
        except (Behind, OtherBlocks):
            if before is not None:
                _sweep(folder, before)
            raise
        others = (copy.genesis(text), *copy.kept(), *chunks)
        files.sync_folder(folder / manifests.SEGMENTS)
        made = Manifest(
            chain_id=genesis.chain_id.hex(),
            height=copy.height,
            block=copy.block,
            made=clock.now_ms() // 1000,
            software=software_version().decode(),
            config=portable(config),
            segments=tuple(found),
            others=others,
            snapshot=snapshot,
        )
        manifests.save(folder, made)
        _sweep(folder, made)
    return Made(made, copy.copied)


def _together(
    begun: Callable[[], "_Copy"], genesis: Genesis
) -> tuple["_Copy", list[Segment], int, list[Stored]]:
    """Copy blocks, and a snapshot that fits them; another time where the node has newer ones."""
    for again in (True, True, False):
        copy = begun()
        found = copy.segments()
        if not found:
            raise NothingThere(copy.data)
        try:
            return copy, found, *copy.snapshot(found, genesis)
        except NoSnapshot:
            if not again:
                raise
    raise AssertionError("the last time it raises")


@dataclass
class _Copy:
    data: Path
    chain_id: bytes
    folder: Path
    before: Manifest | None
    show: Show
    copied: int = 0
    total: int = 0
    height: int = 0
    block: str = ""  # hash of the last block

    def segments(self) -> list[Segment]:
        """Copy the files of blocks, the highest first; return them in the order of heights."""
        directory = self.data / SEGMENTS
        starts = first_heights(directory)
        wanted = list(zip_longest(starts, starts[1:]))[::-1]
        self._require_room(directory, wanted)
        found = []
        for first, following in wanted:
            segment = self._there(directory, first, following)
            if segment is None:
                segment = self._taken(_Source(directory, first, following, self))
            if segment.last >= first:  # not the one that was just begun
                found.append(segment)
        self._settle(found[0].last if found else 0)
        return found[::-1]

    def snapshot(self, found: Sequence[Segment], genesis: Genesis) -> tuple[int, list[Stored]]:
        """Copy the newest snapshot from which these blocks lead to the state, where they need one.

        Raises `NoSnapshot`.
        """
        whole = (each.whole for each in found if each.whole <= each.last)
        first = next(whole, self.height + 1)
        if first == 1:
            return 0, []
        for height in reversed(snapshots.heights(self.data)):
            if first - 1 <= height <= self.height:
                with contextlib.suppress(snapshots.BadSnapshot, LedgerError, FileNotFoundError):
                    return height, list(self._snapshot(height, genesis))
        raise NoSnapshot(self.data, first)

    def _snapshot(self, height: int, genesis: Genesis) -> Iterator[Stored]:
        there = manifests.snapshot_name(height, "")
        before = [] if self.before is None else list(self.before.others)
        known = [each for each in before if each.name.startswith(there)]
        if known and all((self.folder / each.name).is_file() for each in known):
            yield from known
            return
        source = snapshots.folder_of(self.data, height)
        hashes = snapshots.Snapshot.open(source, genesis).manifest.chunks
        chunks = {snapshots.chunk_of(source, number): each for number, each in enumerate(hashes)}
        folder = self.folder / there
        files.make_folder(folder)
        for path in sorted(source.iterdir()):
            unfinished, name = folder / f"{path.name}.new", f"{there}{path.name}"
            content = path.read_bytes()
            if path in chunks:
                unpack(content, chunks[path], path.name)
            sha256 = manifests.write(unfinished, iter([content]), self._count)
            unfinished.replace(self.folder / name)
            yield Stored(name=name, size=len(content), sha256=sha256)
        files.sync_folder(folder)
        files.sync_folder(folder.parent)
        files.sync_folder(self.folder)

    def kept(self) -> Iterator[Stored]:
        """Copy the proposals that judge forks; one that is being appended is passed over later."""
        path = self.data / JOURNAL_FOLDER / KEPT
        if path.is_file():
            unfinished = self.folder / "kept.new"
            sha256 = manifests.write(unfinished, iter([path.read_bytes()]), lambda _: None)
            name = manifests.kept_name(sha256)
            unfinished.replace(self.folder / name)
            yield Stored(name=name, size=(self.folder / name).stat().st_size, sha256=sha256)

    def genesis(self, text: bytes) -> Stored:
        """Keep the genesis document."""
        there = None if self.before is None else self.before.other(manifests.GENESIS)
        if there is not None:
            return there  # it says the same, in these words or others
        files.replace(self.folder / manifests.GENESIS, text, secret=True)
        sha256 = hashlib.sha256(text).hexdigest()
        return Stored(name=manifests.GENESIS, size=len(text), sha256=sha256)

    def _settle(self, height: int) -> None:
        """Learn up to where the backup reaches; raise `Behind` where it reached further."""
        self.height = height
        if self.before is not None and height <= self.before.height:
            if height < self.before.height:
                raise Behind(self.folder, self.before.height, height)
            self.block = self.before.block

    def _require_room(self, directory: Path, wanted: Sequence[tuple[int, int | None]]) -> None:
        self.total = sum(
            segment_path(directory, first).stat().st_size
            for first, following in wanted
            if self._there(directory, first, following) is None
        )
        needed, free = self.total + _SPARE_BYTES, free_bytes(self.folder)
        if free < needed:
            raise NoRoom(self.folder, needed, free)

    def _there(self, directory: Path, first: int, following: int | None) -> Segment | None:
        """Return the file of the backup in which these blocks are already, None without one.

        A sealed file changes only when its blocks are made bare, and is shorter from then on.
        """
        if self.before is None or following is None:
            return None
        size = segment_path(directory, first).stat().st_size
        for each in self.before.segments:
            if (each.first, each.last, each.size, each.sealed) == (
                first,
                following - 1,
                size,
                True,
            ):
                path = self.folder / each.name
                return each if path.is_file() and path.stat().st_size == size else None
        return None

    def _taken(self, source: "_Source") -> Segment:
        """Copy one file, unless an interrupted backup did."""
        folder = self.folder / manifests.SEGMENTS
        stem = f"blocks-{source.first:012}"
        if any(folder.glob(f"{stem}-*.seg")):
            sha256 = _digest(source.pieces())
            path = self.folder / manifests.segment_name(source.first, sha256)
            if path.is_file() and _digest(manifests.pieces(path)) == sha256:
                return source.segment(path, sha256)
        unfinished = folder / f"{stem}.new"
        sha256 = manifests.write(unfinished, source.pieces(), self._count)
        path = self.folder / manifests.segment_name(source.first, sha256)
        unfinished.replace(path)
        return source.segment(path, sha256)

    def _count(self, size: int) -> None:
        self.copied += size
        self.show(Progress(self.height, self.copied, max(self.total, self.copied)))


@dataclass
class _Source:
    """One file of the node's blocks, up to where it is whole."""

    directory: Path
    first: int
    following: int | None  # with which block the next one begins, None of the open one
    copy: _Copy
    last: int = 0
    whole: int = 0
    size: int = 0

    def pieces(self) -> Iterator[bytes]:
        """Yield the head and all whole records; raise `StoreDamaged` where others must be."""
        self.last, self.whole, self.size, torn = self.first - 1, self.first, 0, -1
        path = segment_path(self.directory, self.first)
        record = b""
        for offset, piece in segments.pieces(path, self.copy.chain_id):
            if piece is None:
                torn = offset
                continue
            if torn >= 0:
                raise self._damaged(path, torn, "no whole record is there")
            if offset:
                self.last += 1
                record = piece
                if is_bare(segments.payload_of(piece)):
                    self.whole = self.last + 1
                self._require_same(piece)
            self.size += len(piece)
            yield piece
        if self.following is not None and (torn >= 0 or self.last != self.following - 1):
            raise self._damaged(path, self.size, "no whole record is there")
        if record and self.last > self.copy.height:
            self.copy.height, self.copy.block = self.last, _block_of(record)

    def segment(self, path: Path, sha256: str) -> Segment:
        """Return what the manifest says of it."""
        return Segment(
            name=f"{manifests.SEGMENTS}/{path.name}",
            size=self.size,
            sha256=sha256,
            first=self.first,
            last=self.last,
            whole=self.whole,
            sealed=self.following is not None,
        )

    def _require_same(self, piece: bytes) -> None:
        """Raise unless the last block of the backup that is there is the node's block too."""
        before = self.copy.before
        if before is not None and self.last == before.height and _block_of(piece) != before.block:
            raise OtherBlocks(self.copy.folder, f"its block {self.last} is not the node's")

    def _damaged(self, path: Path, offset: int, reason: str) -> StoreDamaged:
        return StoreDamaged(str(path), offset, reason, height=self.last + 1)


def _block_of(piece: bytes) -> str:
    return bare(segments.payload_of(piece)).header.hash.hex()


def _digest(content: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in content:
        digest.update(piece)
    return digest.hexdigest()


def _before(folder: Path, chain_id: bytes) -> Manifest | None:
    """Return what the backup in `folder` is, None for one that is begun; raise `OtherBlocks`."""
    try:
        found = manifests.load(folder)
    except NoBackup:
        return None
    if found.chain_id != chain_id.hex():
        raise OtherBlocks(folder, f"it is a backup of the chain {found.chain_id}")
    return found


def _require_ours(folder: Path) -> None:
    """Raise `NotOurs` where something is in `folder` that no backup has."""
    for path in _all(folder):
        name = path.relative_to(folder).as_posix()
        is_ours = name in _OWN or manifests.is_name(name) or _FOLDERS.fullmatch(name)
        if not is_ours and not _is_unfinished(path):
            raise NotOurs(folder, name)


def _all(folder: Path) -> Iterator[Path]:
    """Yield what is in a folder, no deeper than a backup is."""
    yield from folder.iterdir()
    yield from (folder / manifests.SEGMENTS).glob("*")
    yield from (folder / manifests.SNAPSHOTS).glob("*")
    yield from (folder / manifests.SNAPSHOTS).glob("*/*")


def _is_unfinished(path: Path) -> bool:
    """Return whether this is what a backup leaves that was interrupted."""
    return path.suffix == ".new" or path.name.startswith((".manifest.json.", ".genesis.json."))


def _sweep(folder: Path, manifest: Manifest) -> None:
    """Remove what the backup does not consist of any more."""
    named = {each.name for each in manifest.files}
    for path in reversed(list(_all(folder))):
        name = path.relative_to(folder).as_posix()
        if name in named | _OWN:
            continue
        if path.is_dir():
            with contextlib.suppress(OSError):  # it is not empty: something named is in it
                path.rmdir()
        else:
            path.unlink()
