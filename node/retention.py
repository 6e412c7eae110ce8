"""How long a running node keeps what is in its blocks: as long as the members voted.

Bodies older than `retention_blocks` go, a whole file at a time, wherever a snapshot on this disk
stands for them. A thousand are kept at least: from them peers that were away catch up; and so are
those above the older snapshot that is kept: who fetches that one needs them. Nothing else needs a
body: evidence is judged by who voted, and that stands in the state.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from ledger.errors import StoreDamaged
from ledger.segments import Pruned
from node.chain import Chain, state_folder, what_to_do
from node.files import sync_tree
from node.foundation import covering
from node.log import Log
from node.metrics import Metrics
from node.snapshots import heights

_LACKING: Final = "a state that is lost or damaged could not be made anew: keep data/snapshots/"
SHARE: Final = 10  # a file holds no more than this part of what is kept, so that it can go in time


class Retention:
    """What one node still keeps: `prune` is called from one thread, beside the one that commits."""

    def __init__(self, data: Path, chain: Chain, metrics: Metrics, log: Log) -> None:
        self._data, self._chain = data, chain
        self._metrics, self._log = metrics, log
        self._metrics.disk.first_body.set(chain.first_body)
        self._shorten_files()
        if max(heights(data), default=0) < chain.first_body - 1:
            log.warning("no snapshot stands for the blocks that were pruned", reason=_LACKING)

    @property
    def _blocks(self) -> int:
        """How many blocks keep their bodies, 0: all."""
        return self._chain.state.parameters.retention_blocks

    def prune(self, pause: Callable[[], None]) -> None:
        """Remove what is too old; `pause` is called often, and may raise to give it up.

        What the disk refuses, or is damaged, is told: it stops nothing, and is tried again.
        """
        self._shorten_files()
        blocks, segments = self._blocks, self._chain.segments
        oldest = self._chain.height + 1 - blocks
        if not blocks or segments.file_of(oldest) <= segments.first_whole:
            return
        try:
            snapshot = covering(self._data, self._chain.genesis, lambda _: pause())
            if snapshot is None:
                self._log.warning("nothing pruned", reason="no snapshot on disk verifies")
                return
            begun = min(heights(self._data), default=snapshot.height)  # with which others begin
            before = segments.file_of(min(oldest, snapshot.height + 1, begun + 1))
            if before <= segments.first_whole:
                return
            sync_tree(state_folder(self._data))  # it could not be made again from the blocks
            for pruned in segments.prune(before, pause):
                self._tell(pruned)
        except StoreDamaged as damage:
            self._chain.damage = what_to_do(damage)
            self._log.error("blocks damaged", reason=str(damage), height=damage.height)
        except OSError as error:
            self._log.error("nothing pruned", reason=str(error))

    def _shorten_files(self) -> None:
        self._chain.segments.file_blocks = self._blocks // SHARE

    def _tell(self, pruned: Pruned) -> None:
        self._metrics.disk.first_body.set(pruned.height + 1)
        self._log.info("blocks pruned", height=pruned.height, bytes=pruned.freed)
