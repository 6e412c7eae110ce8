"""Make anew what is derived from the blocks, and damaged blocks whole: for a node that is stopped.

Every block is verified and executed from the genesis on, as one that a peer sent: its certificate,
its signatures, its outcomes, each root and digest of its header. Where the first blocks were
pruned, or the node began with a snapshot, it is from a snapshot on that they are executed; of what
is below, each header must be one that a quorum signed. A crash at any moment leaves the node as it
was, or less damaged, or as it will be; the same command then begins again.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final, Self

from contracts.execute import Signatures
from contracts.genesis import Genesis
from ledger import segments
from ledger.block import bare
from ledger.encoding import encode
from ledger.errors import LedgerError
from ledger.lock import DirectoryLock
from ledger.store import Store, open_store
from node import carried, snapshots
from node.applied import Applied, difference, tip_of
from node.audit.report import Progress
from node.chain import BUILDING, REBUILT, SEGMENTS, STATE, state_folder
from node.errors import VerificationFailed
from node.files import sync_folder, sync_tree
from node.foundation import Below, NoFoundation
from node.index import first_block
from node.installing import settle
from node.snapshots import BadSnapshot, Snapshot
from node.survey import Damage, Part, survey
from node.sync import Diverged, verified_block

SCRATCH: Final = "state.verify"  # a store that is compared and removed
REPLACED: Final = "state.old"

Source = Callable[[int, int], Iterator[bytes]]  # first, last height -> encoded committed blocks
Show = Callable[[Progress], None]


class FalseSource(VerificationFailed):
    """Who was asked for a block has another one than was decided, or none."""

    def __init__(self, height: int, reason: str) -> None:
        super().__init__(
            f"the source does not give block {height} as it was decided: {reason}",
            hint="nothing of it was kept; name another peer, or an export",
        )
        self.height = height


class _FalseBlock(Exception):
    """A block on our disk is whole, and not the one that was decided."""

    def __init__(self, damage: Damage) -> None:
        super().__init__(damage.reason)
        self.damage = damage


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was made."""

    height: int
    block_id: bytes
    healed: tuple[int, ...]  # heights of the blocks that a source gave
    state_digest: bytes  # that the last block says, and all were executed to


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the data of a node came to."""

    height: int  # up to which all blocks are true
    damages: tuple[Damage, ...]
    state: str  # why the store is not what the blocks lead to, "" where it is
    snapshot: int = 0  # the height of the one from which they were executed, 0: from the genesis

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.damages and not self.state


class Rebuild:
    """The data of a node that nobody else has open; use it as a context."""

    def __init__(
        self,
        data: Path,
        genesis: Genesis,
        signatures: Signatures,
        *,
        engine: str | None = None,
        show: Show = lambda _: None,
    ) -> None:
        self._data, self._genesis, self._signatures = data, genesis, signatures
        self._engine, self._show = engine, show
        self._locks = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Keep others out. Raises `StoreLocked`."""
        with contextlib.ExitStack() as locks:
            locks.callback(DirectoryLock(self._data).release)
            settle(self._data)
            locks.callback(DirectoryLock(self._data / SEGMENTS).release)
            state_folder(self._data)  # what an interrupted command made is in its place
            for name in (BUILDING, REBUILT, REPLACED, SCRATCH):
                shutil.rmtree(self._data / name, ignore_errors=True)
            self._locks = locks.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._locks.close()

    def verify(self) -> Verdict:
        """Return what is wrong with the blocks and the store, neither of which is changed."""
        tip, reason = self._tip()
        parts = self._survey(tip)
        damages = [damage for part in parts for damage in part.damages]
        with contextlib.ExitStack() as closing:
            closing.callback(shutil.rmtree, self._data / SCRATCH, ignore_errors=True)
            held = closing.enter_context(self._readable())
            run = closing.enter_context(self._run(SCRATCH, parts, tip, held))
            if tip < run.begun:
                reason = reason or f"it is at block {tip}, and snapshot {run.begun} was begun with"
            try:
                for height in run.heights():
                    if held is not None and not reason and height == tip >= run.begun:
                        reason = _differs(run.store, held, run.base)
            except _FalseBlock as found:
                damages.append(found.damage)
        return Verdict(run.height, tuple(damages), reason, run.begun)

    def reindex(self) -> Rebuilt:
        """Make the store anew. Raises `StoreDamaged` where a block is not whole, or not true."""
        tip = self._tip()[0]
        parts = self._survey(tip)
        for damage in (damage for part in parts for damage in part.damages):
            raise damage.error
        try:
            return self._rebuilt(parts, tip)
        except _FalseBlock as found:
            raise found.damage.error from None

    def heal(self, source: Source) -> Rebuilt:
        """Put blocks of `source` in the place of damaged ones, and make the store anew.

        Raises `FalseSource`, and what `source` raises.
        """
        tip, false = self._tip()[0], set[int]()
        while True:
            try:
                return self._rebuilt(self._survey(tip), tip, source, false)
            except _FalseBlock as found:
                false.add(found.damage.height)

    def _rebuilt(
        self,
        parts: list[Part],
        tip: int,
        source: Source | None = None,
        false: set[int] | None = None,
    ) -> Rebuilt:
        with self._readable() as held, self._run(BUILDING, parts, tip, held) as run:
            run.source, run.false = source, false or set()
            for _ in run.heights():
                pass
            header = run.applied.header
            if run.base is not None and held is not None:
                # What cannot be made again is taken over, as far as it can be read.
                with contextlib.suppress(LedgerError, OSError):
                    carried.carry(held, run.store, run.base.manifest.header)
        self._put_in_place()
        return Rebuilt(header.height, header.hash, tuple(run.healed), header.state_digest)

    @contextlib.contextmanager
    def _held(self) -> Iterator[Store | None]:
        """Open the store that is there, None where there is none. Raises what `open_store` does."""
        if not (self._data / STATE).is_dir():
            yield None
            return
        with contextlib.closing(open_store(self._data / STATE)) as store:
            yield store

    @contextlib.contextmanager
    def _readable(self) -> Iterator[Store | None]:
        """Open the store that is there, None where it cannot be opened."""
        with contextlib.ExitStack() as closing:
            held = None
            with contextlib.suppress(LedgerError, OSError):
                held = closing.enter_context(self._held())
            yield held

    @contextlib.contextmanager
    def _run(
        self, folder: str, parts: list[Part], tip: int, held: Store | None
    ) -> Iterator["_Run"]:
        with contextlib.ExitStack() as closing:
            store, base = self._begun(self._data / folder, parts, tip)
            closing.callback(store.close)
            applied = Applied(self._genesis, store)
            below = None if base is None else Below(base, self._genesis, held)
            directory, how = self._data / SEGMENTS, (self._signatures, self._show)
            yield _Run(directory, parts, store, applied, *how, base=base, below=below)

    def _begun(self, path: Path, parts: list[Part], tip: int) -> tuple[Store, Snapshot | None]:
        """Return a store from which the whole blocks can be executed, and what it began with.

        Raises `NoFoundation`.
        """
        first = _first_whole(parts)
        shutil.rmtree(path, ignore_errors=True)  # of one that was given up
        if first == 1:
            return open_store(path, self._engine), None
        last = max(part.last for part in parts)
        usable = [each for each in snapshots.heights(self._data) if first - 1 <= each <= last]
        for height in sorted(usable, key=lambda height: (height > tip, height)):
            folder = snapshots.folder_of(self._data, height)
            store = open_store(path, self._engine)
            try:
                return store, snapshots.restore(folder, self._genesis, store, self._show)
            except BadSnapshot:
                store.close()
                shutil.rmtree(path)
            except BaseException:
                store.close()
                raise
        raise NoFoundation(first, last)

    def _survey(self, tip: int) -> list[Part]:
        lowest = self._lowest()
        return survey(self._data / SEGMENTS, self._genesis.chain_id, tip, lowest=lowest)

    def _lowest(self) -> int:
        """Return the first block that must be here: above 1 where the node began with a snapshot.

        A file that is gone is told from one that never was by what the store knows of its blocks.
        """
        starts = segments.first_heights(self._data / SEGMENTS)
        if not starts or max(snapshots.heights(self._data), default=0) < starts[0] - 1:
            return 1
        with contextlib.suppress(LedgerError, OSError), self._held() as held:
            known = None if held is None else first_block(held)
            if known is not None and known < starts[0]:
                return 1
        return starts[0]

    def _tip(self) -> tuple[int, str]:
        """Return the height of the store that is there, or 0 and why it cannot be read."""
        try:
            with self._held() as store:
                return (0, "there is none") if store is None else (tip_of(store), "")
        except (LedgerError, OSError) as error:
            return 0, str(error)

    def _put_in_place(self) -> None:
        """Let the new store take the place of the old one; a start may find any step of it."""
        building, rebuilt = self._data / BUILDING, self._data / REBUILT
        state, replaced = self._data / STATE, self._data / REPLACED
        sync_tree(building)
        building.rename(rebuilt)
        sync_folder(self._data)
        if state.exists():
            state.rename(replaced)
        state_folder(self._data)
        sync_folder(self._data)
        shutil.rmtree(replaced, ignore_errors=True)


@dataclass
class _Run:
    """All blocks from the first on, each verified and applied to a store of its own."""

    directory: Path
    parts: list[Part]
    store: Store
    applied: Applied
    signatures: Signatures
    show: Show
    base: Snapshot | None = None  # None: it begins with the genesis
    below: Below | None = None  # what is known of the blocks up to it
    source: Source | None = None
    false: set[int] = field(default_factory=set)  # whole blocks of ours that are not true
    healed: list[int] = field(default_factory=list)
    height: int = 0  # of the last block that was looked at
    _done: int = 0

    @property
    def begun(self) -> int:
        """The height at which it began to execute."""
        return 0 if self.base is None else self.base.height

    @cached_property
    def _total(self) -> int:
        return sum(part.size for part in self.parts)

    @cached_property
    def _last_bare(self) -> int:
        return max((part.last_bare for part in self.parts), default=0)

    def heights(self) -> Iterator[int]:
        """Yield the height where it begins, and after each block; end at what cannot be healed."""
        yield self.begun
        self.height = self.parts[0].first - 1 if self.parts else self.begun
        chain_id = self.applied.header.chain_id
        for part in self.parts:
            is_whole = not part.damages and self.false.isdisjoint(range(part.first, part.last + 1))
            if is_whole or self.source is None:
                for offset, height, record in part.read(chain_id):
                    if height != self.height + 1:
                        return
                    self._follow_own(part, offset, record)
                    yield height
                if not is_whole:
                    return
            else:
                filled = self._filled(part, self.source)
                segments.write_file(self.directory, part.first, chain_id, filled)
                yield self.height

    def _filled(self, part: Part, source: Source) -> Iterator[bytes]:
        """Yield all blocks that a file must hold: ours where they are whole, others from afar."""
        chain_id = self.applied.header.chain_id
        own = {
            height: (offset, record)
            for offset, height, record in part.read(chain_id)
            if height not in self.false
        }
        while (height := self.height + 1) <= part.last:
            if height in own:
                self._follow_own(part, *own[height])
                yield own[height][1]
                continue
            last = min((each for each in own if each > height), default=part.last + 1) - 1
            for record in source(height, last):
                yield self._taken(height, record)
                self.healed.append(height)
                height += 1
            if height <= last:
                raise FalseSource(height, "it ends before")

    def _follow_own(self, part: Part, offset: int, record: bytes) -> None:
        height = self.height + 1
        try:
            self._follow(record, is_ours=True)
        except (LedgerError, Diverged) as error:
            damage = Damage(part.path, offset, height, f"the block is whole, but not true: {error}")
            raise _FalseBlock(damage) from None

    def _taken(self, height: int, record: bytes) -> bytes:
        """Follow a block of the source, and return what is kept of it."""
        try:
            # What was pruned does not come back, nor lie above what was.
            kept = record if height > self._last_bare else encode(bare(record))
            self._follow(kept, is_ours=False)
        except (LedgerError, Diverged) as error:
            raise FalseSource(height, str(error)) from None
        return kept

    def _follow(self, record: bytes, *, is_ours: bool) -> None:
        if self.below is not None and self.height < self.begun:
            self.below.verify(self.height + 1, record, is_ours=is_ours)
        else:
            taken = verified_block(self.applied, record, self.signatures)
            if taken is None:
                raise Diverged(self.height + 1, "it is a block of a lower height")
            self.applied.apply(*taken)
        self.height += 1
        self._done += len(record)
        self.show(Progress(self.height, self._done, max(self._total, self._done)))


def _first_whole(parts: list[Part]) -> int:
    """Return from where on blocks must be whole."""
    return max([part.last_bare + 1 for part in parts] + [part.first for part in parts[:1]] + [1])


def _differs(made: Store, held: Store, base: Snapshot | None) -> str:
    try:
        key = difference(made, held, is_longer=base is not None)
        if key is None and base is not None:
            key = carried.false_node(held, base.manifest.header)
    except (LedgerError, OSError) as error:  # a page that nothing else reads
        return str(error)
    return "" if key is None else f"what the blocks lead to is not there under key {key.hex()}"
