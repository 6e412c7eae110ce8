"""Snapshots on disk: a folder for each height, made whole, read with nothing taken on trust.

`data/snapshots/<height>/` holds `manifest`, `decided` and the chunks. A folder whose name ends in
`.new` is not whole yet, or not any more, and is removed when the next one is made.
"""

import contextlib
import re
import shutil
import stat
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, Self, TypeVar

from contracts import eras
from contracts.genesis import Genesis
from ledger import segments
from ledger.decided import Decided
from ledger.digest import Pair, StateDigest
from ledger.encoding import decode, encode
from ledger.errors import LedgerError, Mismatch
from ledger.heads import Leaf
from ledger.receipt import Change
from ledger.snapshot import (
    FORMAT,
    MAX_DECIDED_BYTES,
    MAX_FILE_BYTES,
    MAX_MANIFEST_BYTES,
    Assembly,
    Manifest,
    Pairs,
    chunked,
    pack,
)
from ledger.store import Store, View, open_store
from ledger.validators import ValidatorSet
from node.applied import Tip, changes_in, heads_in, put_state, put_tip, state_in, tip_in
from node.audit.report import Progress
from node.chain import SEGMENTS, STATE
from node.errors import NotFound, VerificationFailed
from node.files import create as write_file
from node.files import make_folder, sync_folder
from node.installing import prepare
from node.stored import StoredState

FOLDER: Final = "snapshots"  # in the node's data
MANIFEST: Final = "manifest"
DECIDED: Final = "decided"
KEPT: Final = 2  # the newest: while one is fetched by others the next may be made
_UNFINISHED: Final = ".new"
_NAME: Final = re.compile(r"[0-9]{12}")
_TOGETHER: Final = 64  # pairs between two pauses: a millisecond of work

Show = Callable[[Progress], None]
T = TypeVar("T")


class BadSnapshot(VerificationFailed):
    """A file of a snapshot is not what it must be."""

    def __init__(self, path: Path, reason: object) -> None:
        super().__init__(
            f"{path}: {reason}", hint="remove the snapshot; nodes make new ones, and have others"
        )
        self.path = path


class NoBlockYet(NotFound):
    """The chain holds nothing that a snapshot could be made of."""

    def __init__(self) -> None:
        super().__init__("the chain has no block yet", hint="wait for the first one")


def folder_of(data: Path, height: int) -> Path:
    """Return where the snapshot of a height is, or would be."""
    return data / FOLDER / f"{height:012}"


def chunk_of(folder: Path, number: int) -> Path:
    """Return where chunk `number` of a snapshot is, the first being 0."""
    return folder / f"{number:06}.chunk"


def heights(data: Path) -> list[int]:
    """Return the heights of the snapshots that are here and were made whole, ascending."""
    folder = data / FOLDER
    there = folder.iterdir() if folder.is_dir() else ()
    return sorted(int(path.name) for path in there if _NAME.fullmatch(path.name))


# --- making ------------------------------------------------------------------------------------


def create(
    view: View,
    data: Path,
    genesis: Genesis,
    pause: Callable[[], None] = lambda: None,
    show: Show = lambda _: None,
) -> Path:
    """Return the snapshot of what a store holds, made where none is there that verifies.

    `pause` is called often, between small pieces of work, and may raise to give it up. Raises
    `NoBlockYet`, `LedgerError` where the store does not lead to its own header or is more than a
    snapshot holds, OSError; then nothing stays.
    """
    tip = tip_in(view)
    if tip is None or tip.certificate is None:
        raise NoBlockYet
    header = tip.header
    folder = folder_of(data, header.height)
    remove_unfinished(data)
    if folder.is_dir():
        try:
            Snapshot.open(folder, genesis).verify(lambda _: pause())
        except BadSnapshot:
            _remove(folder)
        else:
            return folder
    building = folder.with_suffix(_UNFINISHED)
    make_folder(building)
    try:
        state, chunks, done = _Summed(state_in(view), pause), [], 0
        for number, chunk in enumerate(chunked(state)):
            hash_, file = pack(chunk)
            write_file(chunk_of(building, number), file)
            chunks.append(hash_)
            done += len(file)
            show(Progress(header.height, done))
            pause()
        state.verify(header.state_digest)
        heads = tuple(Leaf(member, head) for member, head in heads_in(view).items())
        manifest = Manifest(
            FORMAT, header, tip.peaks, heads, tip.state_sum, state.count, tuple(chunks)
        )
        changes = tuple(each for each in changes_in(view) if each.header.height < header.height)
        decided = Decided(header, tip.certificate, changes)
        for name, value in ((MANIFEST, manifest), (DECIDED, decided)):
            content = encode(value)
            decode(content, type(value))  # beyond its bounds nobody could read it
            write_file(building / name, content)
        # Older ones, from which a state could be made anew, go where this one is there.
        manifest.verify(decided, genesis.chain_id, genesis.validator_set)
        building.rename(folder)
        sync_folder(folder.parent)
        sync_folder(data)  # where the folder of all of them may be new
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return folder


def keep_newest(data: Path, made: int) -> None:
    """Remove all below the one of height `made`, which is true, but the newest of them.

    Those above are not of this chain as far as it is known here: none goes for their sake.
    """
    for height in [each for each in heights(data) if each < made][: 1 - KEPT]:
        _remove(folder_of(data, height))
    remove_unfinished(data)


def _remove(folder: Path) -> None:
    """Remove a snapshot; one whose removal is interrupted is none."""
    removed = folder.with_suffix(_UNFINISHED)
    folder.rename(removed)
    sync_folder(folder.parent)  # before anything in it goes
    shutil.rmtree(removed)


def remove_unfinished(data: Path) -> None:
    """Remove what a crash left of a snapshot that was being made or removed."""
    for path in (data / FOLDER).glob(f"*{_UNFINISHED}"):
        shutil.rmtree(path)


class _Summed:
    """The pairs of a state on their way into chunks, counted and summed."""

    def __init__(self, pairs: Iterator[Pair], pause: Callable[[], None]) -> None:
        self._pairs, self._pause = pairs, pause
        self.sum, self.count = StateDigest(), 0

    def __iter__(self) -> Iterator[Pair]:
        while some := tuple(islice(self._pairs, _TOGETHER)):
            self.sum = self.sum.updated((), some)
            self.count += len(some)
            self._pause()
            yield from some

    def verify(self, digest: bytes) -> None:
        """Raise `Mismatch` unless these pairs are the state of this digest."""
        if self.sum.hash != digest:
            raise Mismatch("state digest of the store", digest, self.sum.hash)


# --- reading -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot whose manifest is verified, from the genesis on; its chunks are not yet."""

    folder: Path
    manifest: Manifest
    decided: Decided
    signers: ValidatorSet  # of its block
    size: int  # of all chunks on disk, in bytes

    @classmethod
    def open(cls, folder: Path, genesis: Genesis) -> Self:
        """Return the snapshot in a folder. Raises `BadSnapshot`, OSError."""
        manifest = _parsed(folder / MANIFEST, MAX_MANIFEST_BYTES, Manifest)
        decided = _parsed(folder / DECIDED, MAX_DECIDED_BYTES, Decided)
        with _naming(folder / MANIFEST):
            try:
                signers = decided.verify(genesis.chain_id, genesis.validator_set)
            except LedgerError as error:
                raise BadSnapshot(folder / DECIDED, error) from None
            manifest.verify(decided, genesis.chain_id, genesis.validator_set)
        chunks = [chunk_of(folder, number) for number in range(len(manifest.chunks))]
        expected = {folder / MANIFEST, folder / DECIDED, *chunks}
        for path in sorted(set(folder.iterdir()) - expected):
            raise BadSnapshot(path, "it is no part of the snapshot")
        size = sum(path.lstat().st_size for path in chunks if path.exists())
        return cls(folder, manifest, decided, signers, size)

    @property
    def height(self) -> int:
        """The height of its block."""
        return self.manifest.header.height

    def chunks(self, show: Show = lambda _: None) -> Iterator[Pairs]:
        """Yield what is in the chunks; only after the last one is any of it known to be true.

        Raises `BadSnapshot`, OSError.
        """
        assembly, changes, done = Assembly(self.manifest), _Changes(self.decided), 0
        for number in range(len(self.manifest.chunks)):
            path = chunk_of(self.folder, number)
            file = _read(path, MAX_FILE_BYTES)
            with _naming(path):
                pairs = assembly.take(file)
                changes.take(pairs)
            done += len(file)
            show(Progress(self.height, done, self.size))
            yield pairs
        with _naming(self.folder / MANIFEST):
            assembly.finish()
        changes.verify(self.folder / DECIDED)

    def verify(self, show: Show = lambda _: None) -> None:
        """Raise `BadSnapshot` naming the first file that is false, OSError."""
        for _ in self.chunks(show):
            pass


def restore(folder: Path, genesis: Genesis, store: Store, show: Show = lambda _: None) -> Snapshot:
    """Fill an empty store with a snapshot, so that an `Applied` begins there.

    Where this raises (`BadSnapshot`, OSError), or is killed, the store is of no use.
    """
    assert not store.scan(b"", 1)
    snapshot = Snapshot.open(folder, genesis)
    for pairs in snapshot.chunks(show):
        put_state(store, pairs)
    manifest, decided = snapshot.manifest, snapshot.decided
    header, state = manifest.header, StoredState(store)
    validators, after = (eras.validators_at(state, header.height + ahead) for ahead in (1, 2))
    with _naming(folder / MANIFEST):
        validators.verify_hash(header.next_validators_hash)
    changes = decided.changes
    if header.next_validators_hash != header.validators_hash:
        changes = (*changes, Change(header, decided.certificate, validators))
    tip = Tip(
        header,
        decided.certificate,
        manifest.peaks,
        manifest.state_sum,
        snapshot.signers,
        validators,
        after,
    )
    put_tip(store, tip, manifest.heads, changes)
    return snapshot


class _Changes:
    """The changes of validators in `decided`, and beside them the eras of the state as they come.

    Nothing is said before the state is known to be true: until then what is wrong may be that.
    """

    def __init__(self, decided: Decided) -> None:
        self._height = decided.header.height
        self._told = deque((each.header.height, each.validators) for each in decided.changes)
        self._before: ValidatorSet | None = None
        self._fault = ""

    def take(self, pairs: Pairs) -> None:
        """Look at the next pairs. Raises `Malformed`."""
        for era in eras.among(pairs):
            is_change = self._before not in (None, era.validators)
            self._before = era.validators
            if is_change and era.from_height <= self._height and not self._fault:
                self._compare(era.from_height - 1, era.validators)

    def _compare(self, height: int, validators: ValidatorSet) -> None:
        if self._told and self._told[0] == (height, validators):
            self._told.popleft()
        elif self._told and self._told[0][0] <= height:
            self._fault = self._too_many()
        else:
            self._fault = (
                f"it lacks the change of validators in block {height}, as the state has it"
            )

    def _too_many(self) -> str:
        return f"it has a change of validators in block {self._told[0][0]} that the state has not"

    def verify(self, path: Path) -> None:
        """Raise `BadSnapshot` unless the changes were those of the state, which is whole now."""
        if not self._fault and self._told:
            self._fault = self._too_many()
        if self._fault:
            raise BadSnapshot(path, self._fault)


def install(
    data: Path,
    folder: Path,
    genesis: Genesis,
    *,
    engine: str | None = None,
    show: Show = lambda _: None,
    whole: Callable[[], None] = lambda: None,
) -> Snapshot:
    """Let the chain in `data`, without a block yet, begin with a snapshot when it is next opened.

    `whole` is called when all of the snapshot was found true. Raises `HasBlocks`, `BadSnapshot`,
    OSError, and what `show` raises: then nothing has changed.
    """

    def fill(building: Path) -> Snapshot:
        with contextlib.closing(open_store(building / STATE, engine)) as store:
            snapshot = restore(folder, genesis, store, show)
        (building / SEGMENTS).mkdir()
        segments.write_file(building / SEGMENTS, snapshot.height + 1, genesis.chain_id)
        whole()
        return snapshot

    return prepare(data, fill)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Say of what is false in which file it is."""
    try:
        yield
    except LedgerError as error:
        raise BadSnapshot(path, error) from None


def _parsed(path: Path, limit: int, type_: type[T]) -> T:
    content = _read(path, limit)
    with _naming(path):
        return decode(content, type_)


def _read(path: Path, limit: int) -> bytes:
    """Return the content of a plain file of at most `limit` bytes."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise BadSnapshot(path, "not a plain file")
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except FileNotFoundError:
        raise BadSnapshot(path, "it is missing") from None
    if len(content) > limit:
        raise BadSnapshot(path, f"longer than {limit} bytes")
    return content
