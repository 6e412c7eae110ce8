"""Pruning the blocks of a stopped node: bodies go that a snapshot on its disk stands for.

Headers and certificates stay. In this order: the snapshot is verified, byte for byte; what the
store holds is made durable, since it could not be made again from the blocks; then file after file
is replaced, from the lowest up (ledger.segments). A crash in between leaves more bodies or fewer,
and nothing that needs a hand.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from contracts.genesis import Genesis
from ledger.block import bare
from ledger.encoding import encode
from ledger.lock import DirectoryLock
from ledger.segments import SEGMENT_BYTES, Segments
from ledger.store import open_store
from node.applied import tip_of
from node.audit.report import Progress
from node.chain import SEGMENTS, state_folder
from node.errors import NodeError, NotFound, Usage
from node.files import sync_tree
from node.foundation import covering
from node.installing import settle

Show = Callable[[Progress], None]


class NotCovered(NodeError):
    """No snapshot on disk stands for all blocks that would lose their bodies."""

    def __init__(self, before: int, newest: int | None) -> None:
        found = "none is there" if newest is None else f"the newest is of block {newest}"
        rest = "" if newest is None else f", or prune --before {newest + 1} at most"
        super().__init__(
            f"pruning before block {before} needs a snapshot that verifies, of block {before - 1}"
            f" or later: {found}",
            hint=f"make one with: depoli snapshot create --config FOLDER{rest}",
        )


class NotApplied(NodeError):
    """The store has not executed the blocks that would lose their bodies."""

    def __init__(self, before: int, height: int) -> None:
        super().__init__(
            f"pruning before block {before} needs a state of block {before - 1} or later,"
            f" and it is at block {height}",
            hint="start the node once, or make the state anew with: depoli db reindex",
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What pruning would take, or took, from the disk."""

    first: int  # the lowest block whose body is there now
    before: int  # and will be there afterwards
    blocks: int  # that lose their bodies
    freed: int  # bytes
    snapshot: int | None  # height of the one that stands for them; None where nothing is pruned


class Pruning:
    """The blocks of a node that nobody else has open; use it as a context."""

    def __init__(
        self,
        data: Path,
        genesis: Genesis,
        *,
        show: Show = lambda _: None,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self._data, self._genesis, self._show = data, genesis, show
        self._segment_bytes = segment_bytes
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Keep others out. Raises `NotFound`, `StoreLocked`, and what `Segments.open` raises."""
        if not (self._data / SEGMENTS).is_dir():
            raise NotFound(f"{self._data} holds no blocks", hint="name the folder of a node")
        with contextlib.ExitStack() as closing:
            closing.callback(DirectoryLock(self._data).release)
            settle(self._data)
            self._segments = Segments.open(
                self._data / SEGMENTS,
                chain_id=self._genesis.chain_id,
                segment_bytes=self._segment_bytes,
            )
            closing.callback(self._segments.close)
            self._closing = closing.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def plan(self, before: int) -> Plan:
        """Return what `run` would do, of which nothing is done yet.

        Raises `Usage`, `NotCovered`, `NotApplied`, `StoreDamaged`.
        """
        kept = self._segments
        first, last = kept.first_whole, kept.last_height
        if before > last:
            raise Usage(
                f"the last block is {last}: before it at most can be pruned",
                hint=f"--before {last}" if last else "",
            )
        if before <= first:
            return Plan(first, first, 0, 0, None)
        snapshot = covering(self._data, self._genesis)
        newest = None if snapshot is None else snapshot.height
        if newest is None or newest < before - 1:
            raise NotCovered(before, newest)
        if (height := self._applied()) < before - 1:
            raise NotApplied(before, height)
        freed = done = 0
        for height in range(first, before):
            record = kept.read(height)
            freed += len(record) - len(encode(bare(record)))
            done += len(record)
            self._show(Progress(height, done))
        return Plan(first, before, before - first, freed, newest)

    def run(self, plan: Plan) -> Plan:
        """Prune, and return what came of it; where this raises, a part of it.

        Raises `StoreDamaged`, OSError.
        """
        kept, before = self._segments, plan.before
        if plan.blocks == 0:
            return plan
        sync_tree(state_folder(self._data))
        if kept.file_of(before - 1) == kept.file_of(kept.last_height + 1):
            kept.seal()
        freed = 0
        for pruned in kept.prune(before):
            freed += pruned.freed
            self._show(Progress(pruned.height, freed, plan.freed))
        assert kept.first_whole == before
        return Plan(plan.first, before, plan.blocks, freed, plan.snapshot)

    def _applied(self) -> int:
        state = state_folder(self._data)
        if not state.is_dir():
            return 0
        with contextlib.closing(open_store(state)) as store:
            return tip_of(store)
