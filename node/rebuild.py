"""Make anew what is derived from the blocks, and damaged blocks whole: for a node that is stopped.

Every block is verified and executed from the genesis on, as one that a peer sent: its certificate,
its signatures, its outcomes, each root and digest of its header. A crash at any moment leaves the
node as it was, or less damaged, or as it will be; the same command then begins again.
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
from ledger.errors import LedgerError
from ledger.lock import DirectoryLock
from ledger.store import Store, open_store
from node.applied import Applied, difference, tip_of
from node.audit.report import Progress
from node.chain import BUILDING, REBUILT, SEGMENTS, STATE, state_folder
from node.errors import VerificationFailed
from node.files import sync_folder, sync_tree
from node.installing import settle
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
            held = None
            if not reason:
                held = open_store(self._data / STATE)
                closing.callback(held.close)
            run = closing.enter_context(self._run(SCRATCH, parts))
            try:
                for height in run.heights():
                    if held is not None and height == tip:
                        reason = _differs(run.store, held)
            except _FalseBlock as found:
                damages.append(found.damage)
        return Verdict(run.height, tuple(damages), reason)

    def reindex(self) -> Rebuilt:
        """Make the store anew. Raises `StoreDamaged` where a block is not whole, or not true."""
        parts = self._survey(self._tip()[0])
        for damage in (damage for part in parts for damage in part.damages):
            raise damage.error
        try:
            return self._rebuilt(parts)
        except _FalseBlock as found:
            raise found.damage.error from None

    def heal(self, source: Source) -> Rebuilt:
        """Put blocks of `source` in the place of damaged ones, and make the store anew.

        Raises `FalseSource`, and what `source` raises.
        """
        tip, false = self._tip()[0], set[int]()
        while True:
            try:
                return self._rebuilt(self._survey(tip), source, false)
            except _FalseBlock as found:
                false.add(found.damage.height)
                shutil.rmtree(self._data / BUILDING)

    def _rebuilt(
        self, parts: list[Part], source: Source | None = None, false: set[int] | None = None
    ) -> Rebuilt:
        with self._run(BUILDING, parts) as run:
            run.source, run.false = source, false or set()
            for _ in run.heights():
                pass
            header = run.applied.header
        self._put_in_place()
        return Rebuilt(header.height, header.hash, tuple(run.healed), header.state_digest)

    @contextlib.contextmanager
    def _run(self, folder: str, parts: list[Part]) -> Iterator["_Run"]:
        with contextlib.closing(open_store(self._data / folder, self._engine)) as store:
            applied = Applied(self._genesis, store)
            yield _Run(self._data / SEGMENTS, parts, store, applied, self._signatures, self._show)

    def _survey(self, tip: int) -> list[Part]:
        return survey(self._data / SEGMENTS, self._genesis.chain_id, tip)

    def _tip(self) -> tuple[int, str]:
        """Return the height of the store that is there, or 0 and why it cannot be read."""
        if not (self._data / STATE).is_dir():
            return 0, "there is none"
        try:
            with contextlib.closing(open_store(self._data / STATE)) as store:
                return tip_of(store), ""
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
    source: Source | None = None
    false: set[int] = field(default_factory=set)  # whole blocks of ours that are not true
    healed: list[int] = field(default_factory=list)
    _done: int = 0

    @property
    def height(self) -> int:
        return self.applied.height

    @cached_property
    def _total(self) -> int:
        return sum(part.size for part in self.parts)

    def heights(self) -> Iterator[int]:
        """Yield the height after each block, 0 at first; end at what cannot be healed."""
        yield 0
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
                self._follow_other(height, record)
                self.healed.append(height)
                yield record
                height += 1
            if height <= last:
                raise FalseSource(height, "it ends before")

    def _follow_own(self, part: Part, offset: int, record: bytes) -> None:
        height = self.height + 1
        try:
            self._follow(record)
        except (LedgerError, Diverged) as error:
            damage = Damage(part.path, offset, height, f"the block is whole, but not true: {error}")
            raise _FalseBlock(damage) from None

    def _follow_other(self, height: int, record: bytes) -> None:
        try:
            self._follow(record)
        except (LedgerError, Diverged) as error:
            raise FalseSource(height, str(error)) from None

    def _follow(self, record: bytes) -> None:
        taken = verified_block(self.applied, record, self.signatures)
        if taken is None:
            raise Diverged(self.height + 1, "it is a block of a lower height")
        self.applied.apply(*taken)
        self._done += len(record)
        self.show(Progress(self.height, self._done, max(self._total, self._done)))


def _differs(made: Store, held: Store) -> str:
    try:
        key = difference(made, held)
    except (LedgerError, OSError) as error:  # a page that nothing else reads
        return str(error)
    return "" if key is None else f"what the blocks lead to is not there under key {key.hex()}"
