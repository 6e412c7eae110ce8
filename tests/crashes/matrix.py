"""Every moment at which the power can fail while a node writes, and what a start finds after it.

    for case in cases():
        for number in range(effects(case, folder)):
            crash(case, number, "nothing", folder)

A case prepares a folder, then does something to it and says what was acknowledged. Its folder must
then open without a hand, with everything that was acknowledged, and go on to the same end.
"""

import contextlib
import errno
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Final, Protocol
from unittest.mock import patch

from contracts.execute import DirectSignatures
from contracts.genesis_json import signed_json
from ledger.encoding import encode
from ledger.errors import StoreDamaged
from ledger.segments import first_heights, segment_path
from ledger.store import open_store
from node import files, pruning, snapshots
from node.backup.create import create as backup
from node.backup.restore import restore, verify
from node.chain import Chain
from node.config import write_config
from node.journal import Journal, Kind, Record
from node.part import Part
from node.rebuild import Rebuild
from node.snapshots import Snapshot
from tests.chainmaker import story
from tests.crashes.disk import SURVIVES, Disk, PowerLost

SIGNATURES: Final = DirectSignatures()
STORY: Final = story(story())
GENESIS: Final = STORY.genesis.genesis
RECORDS: Final = [encode(block) for block in STORY.blocks]
LAST: Final = len(RECORDS)
FILE_BYTES: Final = 3 * max(map(len, RECORDS))  # several blocks, several files
ENGINES: Final = ("leveldb", "sqlite")
FAULTS: Final = ("ENOSPC", "EIO", "EROFS")  # that the disk answers, once
IDENTITY: Final = bytes(range(64))
_BEGUN: Final = 4  # blocks that are there before
_FIRST_KEPT: Final = LAST - 4  # where the others are pruned, within a file


class Lost(AssertionError):
    """What was acknowledged is gone, or a start needs a hand."""


class Case(Protocol):
    """Something that a node does to its disk."""

    @property
    def name(self) -> str:
        """What it is, in words."""

    def prepare(self, folder: Path) -> None:
        """Make what is there before."""

    def run(self, folder: Path) -> None:
        """Do it, and remember what was acknowledged."""

    def check(self, folder: Path) -> None:
        """Start again after whatever happened; raise `Lost`, or what refuses."""


@cache
def _grown(engine: str, blocks: int) -> Path:
    """Return a folder with a chain, to be copied."""
    data = _scratch(f"{engine}-{blocks}")
    chain = _opened(data, engine)
    _commit(chain, blocks)
    chain.close()
    return data


_kept: Final[list[TemporaryDirectory[str]]] = []


def _scratch(name: str) -> Path:
    _kept.append(TemporaryDirectory(prefix=f"crashes-{name}-"))
    return Path(_kept[-1].name) / "data"


def _opened(data: Path, engine: str | None) -> Chain:
    return Chain.open(data, GENESIS, SIGNATURES, engine=engine, segment_bytes=FILE_BYTES)


def _commit(chain: Chain, last: int, acknowledge: Callable[[int], None] = lambda _: None) -> None:
    for committed in STORY.blocks[chain.height : last]:
        executed = chain.execute(committed.block.body, committed.block.header, SIGNATURES)
        chain.commit(executed, committed.certificate)
        acknowledge(chain.height)


def _contents(data: Path) -> list[tuple[bytes, bytes]]:
    store = open_store(data / "state")
    with contextlib.closing(store):
        return store.scan(b"", 1 << 20)


@cache
def _expected() -> list[tuple[bytes, bytes]]:
    return _contents(_grown("sqlite", LAST))


def _require(condition: object, reason: str) -> None:
    if not condition:
        raise Lost(reason)


def _require_chain(data: Path, engine: str, acknowledged: int, most: int) -> None:
    """Raise unless the chain starts with all that it said was decided, and goes on to its end."""
    chain = _opened(data, engine)
    try:
        _require(
            acknowledged <= chain.height <= most, f"{acknowledged} decided, {chain.height} here"
        )
        _require(list(chain.records(1)) == RECORDS[: chain.height], "another block is there")
        _commit(chain, LAST)
        _require(chain.state.digest.hash == STORY.state.digest.hash, "another state at the end")
    finally:
        chain.close()
    _require(_contents(data) == _expected(), "another store at the end")


@dataclass
class Committing:
    """A node commits blocks, some of which begin a new file; at first it may cut a torn tail."""

    engine: str
    begun: int
    is_torn: bool = False
    acknowledged: int = 0

    @property
    def name(self) -> str:
        return f"commit {self.engine} from {self.begun}{' torn' * self.is_torn}"

    def prepare(self, folder: Path) -> None:
        self.acknowledged = self.begun
        if self.begun:
            shutil.copytree(_grown(self.engine, self.begun), folder, dirs_exist_ok=True)
        if self.is_torn:
            segments = folder / "segments"
            with segment_path(segments, first_heights(segments)[-1]).open("ab") as file:
                file.write(RECORDS[self.begun][:500])

    def run(self, folder: Path) -> None:
        chain = _opened(folder, self.engine)
        try:
            _commit(chain, LAST, self._acknowledge)
        finally:
            chain.close()

    def check(self, folder: Path) -> None:
        _require_chain(folder, self.engine, self.acknowledged, self.acknowledged + 1)

    def _acknowledge(self, height: int) -> None:
        self.acknowledged = height


@dataclass
class Reindexing:
    """`depoli db reindex`: the store is old, wrong, or gone."""

    engine: str
    state: str

    @property
    def name(self) -> str:
        return f"reindex {self.engine} {self.state}"

    def prepare(self, folder: Path) -> None:
        shutil.copytree(_grown(self.engine, LAST), folder, dirs_exist_ok=True)
        if self.state == "gone":
            shutil.rmtree(folder / "state")

    def run(self, folder: Path) -> None:
        with Rebuild(folder, GENESIS, SIGNATURES, engine=self.engine) as found:
            found.reindex()

    def check(self, folder: Path) -> None:
        _require_chain(folder, self.engine, LAST, LAST)
        self.run(folder)  # and what was left lying does not disturb it
        _require_chain(folder, self.engine, LAST, LAST)
        _require({each.name for each in folder.iterdir()} == {"lock", "segments", "state"}, "rests")


@dataclass
class Healing:
    """`depoli db heal`: blocks of two files are damaged; each is healed or named, never lost."""

    engine: str

    @property
    def name(self) -> str:
        return f"heal {self.engine}"

    def prepare(self, folder: Path) -> None:
        shutil.copytree(_grown(self.engine, LAST), folder, dirs_exist_ok=True)
        for start in first_heights(folder / "segments")[1::2]:
            path = segment_path(folder / "segments", start)
            content = bytearray(path.read_bytes())
            content[100] ^= 1
            path.write_bytes(content)

    def run(self, folder: Path) -> None:
        with Rebuild(folder, GENESIS, SIGNATURES, engine=self.engine) as found:
            found.heal(_from_story)

    def check(self, folder: Path) -> None:
        with contextlib.suppress(StoreDamaged):  # as before
            _opened(folder, self.engine).close()
        with Rebuild(folder, GENESIS, SIGNATURES) as found:
            damaged = {damage.height for damage in found.verify().damages}
        starts = set(first_heights(folder / "segments")[1::2])
        _require(damaged <= starts, f"{sorted(damaged - starts)} were whole before")
        self.run(folder)
        _require_chain(folder, self.engine, LAST, LAST)


def _from_story(first: int, last: int) -> Iterator[bytes]:
    yield from RECORDS[first - 1 : last]


@dataclass
class Journaling:
    """A validator promises: batches, rotation, a fence, what is kept for ever, a restart."""

    name: str = "journal"
    promised: list[Record] = field(default_factory=list)
    kept: list[bytes] = field(default_factory=list)
    fence: int = -1  # nothing was acknowledged

    def prepare(self, folder: Path) -> None:
        self.promised, self.kept, self.fence = [], [], -1
        (folder / "data").mkdir()

    def run(self, folder: Path) -> None:
        with _small_journals():
            journal = Journal.create(folder / "data" / "journal", IDENTITY)
            self.fence = 0
            try:
                self._promise(journal, range(1, 6))
                journal.set_fence(7)
                self.fence = 7
                self._promise(journal, range(8, 11))
            finally:
                journal.close()
            again = Journal.open(folder / "data" / "journal", IDENTITY)
            assert again is not None
            try:
                self._promise(again, range(11, 14))
            finally:
                again.close()

    def _promise(self, journal: Journal, heights: range) -> None:
        for height in heights:
            for step in range(2):
                batch = [
                    Record(height, Kind.PROMISE, b"promise %d %d" % (height, step) * 3),
                    Record(height, Kind.BODY, b"body %d %d" % (height, step) * 9),
                ]
                if height % 3 == 0:
                    batch.append(Record(height, Kind.KEPT, b"kept %d %d" % (height, step)))
                journal.append(batch)
                self.promised += batch[:2]
                self.kept += [record.data for record in batch[2:]]

    def check(self, folder: Path) -> None:
        with _small_journals():
            journal = Journal.open(folder / "data" / "journal", IDENTITY)
            if journal is None:
                _require(self.fence < 0, "the journal is gone")
                self.run(folder)
                return
            try:
                _require(not journal.doubt, f"it doubts itself: {journal.doubt}")
                self._require_kept(journal)
                self._promise(journal, range(max(journal.height, journal.fence) + 1, 20))
            finally:
                journal.close()

    def _require_kept(self, journal: Journal) -> None:
        last = max((record.height for record in self.promised), default=0)
        _require(journal.height >= last, f"promised at {last}, opened at {journal.height}")
        _require(journal.fence >= self.fence, "the fence is gone")
        for kind, found in (
            (Kind.PROMISE, journal.promises(last)),
            (Kind.BODY, journal.bodies(last)),
        ):
            told = [r.data for r in self.promised if r.height == last and r.kind == kind]
            is_there = journal.height > last or found[: len(told)] == told
            _require(is_there, f"of {len(told)} of {kind.name} at {last} there are {len(found)}")
        _require(journal.kept()[: len(self.kept)] == self.kept, "what is kept for ever is gone")


@contextlib.contextmanager
def _small_journals() -> Iterator[None]:
    with (
        patch("node.journal.ROTATE_BYTES", 700),
        patch("node.journal.RESERVED_BYTES", 64 << 10),
    ):
        yield


@dataclass
class Replacing:
    """A file that people keep (a configuration, tokens) is replaced several times."""

    name: str = "replace a file"
    acknowledged: bytes = b""

    def prepare(self, folder: Path) -> None:
        self.acknowledged = b"0" * 50
        (folder / "file").write_bytes(self.acknowledged)

    def run(self, folder: Path) -> None:
        for number in range(1, 5):
            content = b"%d" % number * 50
            files.replace(folder / "file", content)
            self.acknowledged = content

    def check(self, folder: Path) -> None:
        found = (folder / "file").read_bytes()
        following = b"%d" % (int(self.acknowledged[:1]) + 1) * 50
        _require(found in (self.acknowledged, following), f"it holds {found!r}")
        self.run(folder)


@cache
def _backed_up() -> Path:
    """Return a folder with a home, and a backup of its first blocks, to be copied."""
    folder = _scratch("backup")
    home = folder / "home"
    home.mkdir(parents=True)
    (home / "config.toml").write_text(write_config({"store.engine": "sqlite"}, {}))
    (home / "genesis.json").write_text(signed_json(STORY.genesis))
    for last in (_BEGUN, LAST):
        chain = _opened(home / "data", "sqlite")
        _commit(chain, last)
        chain.close()
        if last < LAST:
            backup(home, folder / "backup")
    return folder


@dataclass
class BackingUp:
    """`depoli backup create`: a second one, with blocks that were added and files that grew."""

    name: str = "back up"
    acknowledged: int = _BEGUN

    def prepare(self, folder: Path) -> None:
        self.acknowledged = _BEGUN
        shutil.copytree(_backed_up(), folder, dirs_exist_ok=True)

    def run(self, folder: Path) -> None:
        self.acknowledged = backup(folder / "home", folder / "backup").manifest.height

    def check(self, folder: Path) -> None:
        height = verify(folder / "backup", None, None).manifest.height
        _require(height in (self.acknowledged, LAST), f"{self.acknowledged} saved, {height} there")
        self.run(folder)
        found = verify(folder / "backup", None, None).manifest
        _require(found.height == LAST, "the backup does not go on")
        there = {path for path in (folder / "backup").rglob("*") if path.is_file()}
        _require(len(there) == len(found.files) + 2, "rests")  # with the manifest and the lock


@dataclass
class Restoring:
    """`depoli backup restore`: there is no node before it is whole."""

    name: str = "restore"
    is_done: bool = False

    def prepare(self, folder: Path) -> None:
        self.is_done = False
        shutil.copytree(_backed_up() / "backup", folder / "backup", dirs_exist_ok=True)

    def run(self, folder: Path) -> None:
        restore(folder / "backup", folder / "home", None, is_home=True)
        self.is_done = True

    def check(self, folder: Path) -> None:
        if not (folder / "home" / "config.toml").exists():
            _require(not self.is_done, "what was restored is gone")
            self.run(folder)
        _require_chain(folder / "home" / "data", "sqlite", _BEGUN, _BEGUN)


@cache
def _pictured() -> Path:
    """Return a folder with a chain and snapshots of two of its blocks, to be copied."""
    data = _scratch("snapshots")
    chain = _opened(data, "sqlite")
    for last in (_BEGUN, _BEGUN + 1, LAST):
        _commit(chain, last)
        if last < LAST:
            with contextlib.closing(chain.view()) as view, _small_chunks():
                snapshots.create(view, data, GENESIS)
    chain.close()
    return data


@contextlib.contextmanager
def _small_chunks() -> Iterator[None]:
    with patch("ledger.snapshot.CHUNK_BYTES", 8 << 10):
        yield


@dataclass
class Picturing:
    """A node makes a third snapshot, and removes the oldest."""

    name: str = "snapshot"
    acknowledged: tuple[int, ...] = ()

    def prepare(self, folder: Path) -> None:
        self.acknowledged = (_BEGUN + 1,)
        shutil.copytree(_pictured(), folder, dirs_exist_ok=True)

    def run(self, folder: Path) -> None:
        with _small_chunks(), contextlib.closing(_opened(folder, "sqlite")) as chain:
            with contextlib.closing(chain.view()) as view:
                snapshots.create(view, folder, GENESIS)
            self.acknowledged = (_BEGUN + 1, LAST)
            snapshots.keep_newest(folder, LAST)

    def check(self, folder: Path) -> None:
        there = snapshots.heights(folder)
        _require(set(self.acknowledged) <= set(there), f"{there} are left")
        with _small_chunks():
            for height in there:
                Snapshot.open(snapshots.folder_of(folder, height), GENESIS).verify()
        self.run(folder)
        names = sorted(path.name for path in (folder / "snapshots").iterdir())
        _require(names == [f"{_BEGUN + 1:012}", f"{LAST:012}"], f"{names} are left")
        _require_chain(folder, "sqlite", LAST, LAST)


@dataclass
class Joining:
    """A node without a block is given a snapshot, chunk by chunk, and begins with it."""

    engine: str
    is_done: bool = False

    @property
    def name(self) -> str:
        return f"join {self.engine}"

    def prepare(self, folder: Path) -> None:
        self.is_done = False
        shutil.copytree(_grown(self.engine, 0), folder, dirs_exist_ok=True)
        _pictured()

    def run(self, folder: Path) -> None:
        whole = snapshots.folder_of(_pictured(), _BEGUN)
        with _small_chunks():
            part = Part.resume(folder) or Part.begin(
                folder, *((whole / name).read_bytes() for name in ("manifest", "decided"))
            )
            for number in part.missing:
                part.put(number, snapshots.chunk_of(whole, number).read_bytes())
            part.install(folder, GENESIS, self.engine, lambda _: None)
        self.is_done = True
        _opened(folder, self.engine).close()

    def check(self, folder: Path) -> None:
        with contextlib.closing(_opened(folder, self.engine)) as chain:
            height = chain.height
        if height == 0:
            _require(not self.is_done, "the snapshot that was installed is gone")
            self.run(folder)
        with contextlib.closing(_opened(folder, self.engine)) as chain:
            begins = (chain.first_height, chain.height)
            _require(begins == (_BEGUN + 1, _BEGUN), f"it begins otherwise: {begins}")
            _commit(chain, LAST)
            _require(chain.state.digest.hash == STORY.state.digest.hash, "another state at the end")
        rests = {each.name for each in folder.iterdir()} - {"segments", "state", "snapshots"}
        _require(not rests, f"rests: {rests}")
        _require(snapshots.heights(folder) == [_BEGUN], "the snapshot is not kept")


@cache
def _covered(engine: str) -> Path:
    """Return the whole story with a snapshot of its end, to be copied."""
    data = _scratch(f"covered-{engine}")
    shutil.copytree(_grown(engine, LAST), data)
    with (
        contextlib.closing(_opened(data, engine)) as chain,
        contextlib.closing(chain.view()) as view,
    ):
        snapshots.create(view, data, GENESIS)
    return data


def _require_pruned(data: Path, engine: str, least: int) -> None:
    """Raise unless all headers are there, the bodies of some of the oldest are not, and all else.

    The blocks below `least` were said to be bare.
    """
    with contextlib.closing(_opened(data, engine)) as chain:
        first = chain.first_body
        _require(least <= first <= _FIRST_KEPT, f"bodies begin with {first}, not {least}")
        heads = [chain.head(height).header for height in range(1, chain.height + 1)]
        told = [block.block.header for block in STORY.blocks[: chain.height]]
        _require(heads == told, "another header is there")
        _require(list(chain.records(first)) == RECORDS[first - 1 : chain.height], "another block")


def _require_gone(data: Path, engine: str) -> None:
    """Raise unless all that was to be pruned is, nothing else, and the node goes on to its end."""
    _require_pruned(data, engine, _FIRST_KEPT)
    with contextlib.closing(_opened(data, engine)) as chain:
        _commit(chain, LAST)
    _require(_contents(data) == _expected(), "another store at the end")
    files = [path.read_bytes() for path in (data / "segments").iterdir()]
    for raw in STORY.blocks[_FIRST_KEPT - 2].block.body.transactions:
        _require(not any(raw in each for each in files), "a body that was pruned is there")
    _require(not list((data / "segments").glob("*.new")), "rests")


@dataclass
class Pruning:
    """`depoli db prune`: up to a block within the last file but one."""

    engine: str

    @property
    def name(self) -> str:
        return f"prune {self.engine}"

    def prepare(self, folder: Path) -> None:
        shutil.copytree(_covered(self.engine), folder, dirs_exist_ok=True)

    def run(self, folder: Path) -> None:
        with pruning.Pruning(folder, GENESIS, segment_bytes=FILE_BYTES) as found:
            found.run(found.plan(_FIRST_KEPT))

    def check(self, folder: Path) -> None:
        _require_pruned(folder, self.engine, 1)
        self.run(folder)
        _require_gone(folder, self.engine)
        with Rebuild(folder, GENESIS, SIGNATURES) as found:
            _require(found.verify().is_sound, "it does not verify")


@dataclass
class Retaining:
    """A running node commits blocks, and prunes some that its store held in memory until then."""

    engine: str
    acknowledged: int = 0
    pruned: int = 0
    is_durable: bool = False  # the store

    @property
    def name(self) -> str:
        return f"commit and prune {self.engine}"

    def prepare(self, folder: Path) -> None:
        self.acknowledged, self.pruned, self.is_durable = _FIRST_KEPT - 3, 0, False
        shutil.copytree(_grown(self.engine, self.acknowledged), folder, dirs_exist_ok=True)

    def run(self, folder: Path) -> None:
        with contextlib.closing(_opened(folder, self.engine)) as chain:
            _commit(chain, _FIRST_KEPT, self._acknowledge)
            chain.segments.seal()
            files.sync_tree(folder / "state")
            self.is_durable = True
            for pruned in chain.segments.prune(_FIRST_KEPT):
                self.pruned = pruned.height

    def check(self, folder: Path) -> None:
        _require_pruned(folder, self.engine, self.pruned + 1)
        with contextlib.closing(_opened(folder, self.engine)) as chain:
            _require(chain.height >= self.acknowledged, "what was decided is gone")
        self.run(folder)
        _require_gone(folder, self.engine)

    def _acknowledge(self, height: int) -> None:
        self.acknowledged = height


def cases() -> list[Case]:
    """Return all of them, prepared by nothing before."""
    made: list[Case] = [Journaling(), Replacing(), BackingUp(), Restoring(), Picturing()]
    for engine in ENGINES:
        made += [
            Committing(engine, 0),
            Committing(engine, _BEGUN, is_torn=True),
            Reindexing(engine, "whole"),
            Reindexing(engine, "gone"),
            Healing(engine),
            Joining(engine),
            Pruning(engine),
            Retaining(engine),
        ]
    return made


def points(effects_: list[str]) -> Iterator[tuple[int, str]]:
    """Yield at which effect what fails: the power in three ways, the disk in one of three."""
    for number in range(len(effects_)):
        yield from ((number, survives) for survives in SURVIVES)
        yield number, FAULTS[number % len(FAULTS)]


def effects(case: Case, scratch: Path) -> list[str]:
    """Return what the case does to the disk, in order, where nothing fails."""
    with _folder(scratch) as folder:
        case.prepare(folder)
        disk = Disk(folder, _graves(folder), Random(0))
        with disk.mounted():
            case.run(folder)
        case.check(folder)
    return disk.effects


def crash(case: Case, number: int, how: str, scratch: Path) -> None:
    """Let the power or the disk fail at one effect; raise `Lost`, or what refuses to start.

    `how` is what survives of what was not synced, or what the disk answers (`FAULTS`).
    """
    with _folder(scratch) as folder:
        case.prepare(folder)
        state = folder / "state"
        before = Path(shutil.copytree(state, scratch / "before")) if state.is_dir() else None
        fault = getattr(errno, how, 0)
        disk = Disk(folder, _graves(folder), Random(f"{case.name} {number} {how}"), number, fault)
        ended: BaseException | None = None
        with disk.mounted():
            try:
                case.run(folder)
            except (PowerLost, OSError) as error:
                ended = error
        if isinstance(ended, PowerLost):
            disk.lose_power(how)
            if how != "everything":
                is_written = isinstance(case, Committing | Retaining)
                is_safe = isinstance(case, Retaining) and case.is_durable
                disk.engines_lose(state, before if is_written and not is_safe else None)
        elif isinstance(ended, OSError):
            _require(ended.errno == fault, f"it ended with {ended}")
        else:  # what is swept up at the end may stay
            swept = disk.effects[number:][:1]
            _require(fault and swept and swept[0].startswith(("unlink", "rmdir")), "it went on")
        case.check(folder)


@contextlib.contextmanager
def _folder(scratch: Path) -> Iterator[Path]:
    folder = scratch / "data"
    for name in ("data", "data.graves", "before"):
        shutil.rmtree(scratch / name, ignore_errors=True)
    folder.mkdir(parents=True)
    _graves(folder).mkdir()
    yield folder


def _graves(folder: Path) -> Path:
    return folder.with_name("data.graves")
