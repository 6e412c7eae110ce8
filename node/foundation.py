"""What a node stands on whose first blocks are not whole: a snapshot, and the headers up to it."""

from collections.abc import Callable
from pathlib import Path

from contracts.genesis import Genesis
from ledger.block import CommittedBlock, bare, is_bare
from ledger.encoding import decode
from ledger.errors import Mismatch
from ledger.receipt import verify_block
from ledger.validators import ValidatorSet
from node import snapshots
from node.audit.report import Progress
from node.errors import NodeError
from node.snapshots import Snapshot


class NoFoundation(NodeError):
    """The blocks up to a height were pruned, and no snapshot says what they led to."""

    def __init__(self, first: int, last: int) -> None:
        super().__init__(
            f"whole blocks begin with {first}, and no snapshot on disk that verifies is of a block"
            f" from {first - 1} to {last}",
            hint=f"copy one of another node to {snapshots.FOLDER}/ in the data, restore a backup,"
            ' or begin anew with sync.mode = "snapshot"',
        )


def covering(
    data: Path, genesis: Genesis, show: Callable[[Progress], None] = lambda _: None
) -> Snapshot | None:
    """Return the newest snapshot on disk of which every byte verifies, None without any."""
    for height in reversed(snapshots.heights(data)):
        try:
            found = Snapshot.open(snapshots.folder_of(data, height), genesis)
            found.verify(show)
        except (snapshots.BadSnapshot, OSError):
            continue
        return found
    return None


class Below:
    """The blocks up to a snapshot, each one that a quorum decided; what they did is not known."""

    def __init__(self, snapshot: Snapshot, genesis: Genesis) -> None:
        self._snapshot, self._chain_id = snapshot, genesis.chain_id
        self._first = genesis.validator_set

    def verify(self, height: int, record: bytes) -> None:
        """Raise `LedgerError` unless a record, bare or whole, is of the block of this height."""
        if not is_bare(record):
            decode(record, CommittedBlock).block.outline().verify()
        head = bare(record)
        if head.header.height != height:
            raise Mismatch("height", height, head.header.height)
        voters = self._voters(height)
        verify_block(head.header, head.certificate, self._chain_id, voters, above=height - 1)
        if height == self._snapshot.height and head.header != self._snapshot.manifest.header:
            raise Mismatch("block of the snapshot", self._snapshot.manifest.header, head.header)

    def _voters(self, height: int) -> ValidatorSet:
        changes = self._snapshot.decided.changes
        sets = (change.validators for change in reversed(changes) if change.header.height < height)
        return next(sets, self._first)
