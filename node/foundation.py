"""What a node stands on whose first blocks are not whole: a snapshot, and the headers up to it."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from contracts.genesis import Genesis
from ledger.block import CommittedBlock, bare, is_bare
from ledger.encoding import decode
from ledger.errors import Mismatch
from ledger.receipt import verify_block
from ledger.store import View
from ledger.transaction import parse
from ledger.validators import ValidatorSet
from node import snapshots
from node.audit.report import Progress
from node.carried import is_entry
from node.errors import NodeError, VerificationFailed
from node.index import entries_in
from node.snapshots import Snapshot

_ANEW: Final = (  # in data that is there sync.mode changes nothing
    'move segments/ and state/ (never journal/) away and begin anew with sync.mode = "snapshot"'
)


class NoFoundation(NodeError):
    """The blocks up to a height were pruned, and no snapshot says what they led to."""

    def __init__(self, first: int, last: int) -> None:
        super().__init__(
            f"whole blocks begin with {first}, and no snapshot on disk that verifies is of a block"
            f" from {first - 1} to {last}",
            hint="where the state is whole make one with: depoli snapshot create; else copy one of"
            f" another node to {snapshots.FOLDER}/ in the data, restore a backup, or {_ANEW}",
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


class Unproven(VerificationFailed):
    """What others say became of the calls in a block can be proved by nothing that is here."""

    def __init__(self, height: int) -> None:
        super().__init__(
            f"nothing proves what became of the calls in block {height}:"
            " the hashes of the log up to the snapshot were lost",
            hint=f"restore a backup, or {_ANEW}",
        )


class Below:
    """The blocks up to a snapshot, each one that a quorum decided; they are not executed.

    `held` is the store that is there, which may have the hashes of the log below the snapshot.
    """

    def __init__(self, snapshot: Snapshot, genesis: Genesis, held: View | None) -> None:
        self._snapshot, self._chain_id = snapshot, genesis.chain_id
        self._first, self._held = genesis.validator_set, held

    def verify(self, height: int, record: bytes, *, is_ours: bool) -> None:
        """Raise `LedgerError` unless a record, bare or whole, is of the block of this height.

        Raises `Unproven` where it is not ours, and the outcomes in it may be made up.
        """
        head = bare(record)
        if head.header.height != height:
            raise Mismatch("height", height, head.header.height)
        voters = self._voters(height)
        verify_block(head.header, head.certificate, self._chain_id, voters, above=height - 1)
        if height == self._snapshot.height and head.header != self._snapshot.manifest.header:
            raise Mismatch("block of the snapshot", self._snapshot.manifest.header, head.header)
        if not is_bare(record):
            committed = decode(record, CommittedBlock)
            committed.block.outline().verify()
            self._verify_outcomes(committed, is_ours=is_ours)

    def _verify_outcomes(self, committed: CommittedBlock, *, is_ours: bool) -> None:
        header, begun = committed.block.header, self._snapshot.manifest.header
        calls = sum(len(parse(raw).body.calls) for raw in committed.block.body.transactions)
        if len(committed.outcomes) != calls:
            raise Mismatch("outcomes", calls, len(committed.outcomes))
        for number, entry in enumerate(entries_in(committed), header.log_size - calls):
            known = self._held and is_entry(self._held, begun, number, entry.leaf())
            if known is None and not is_ours:
                raise Unproven(header.height)
            if known is False:
                raise Mismatch(f"outcome {entry.index}", "the one in the log", entry.outcome.code)

    def _voters(self, height: int) -> ValidatorSet:
        changes = self._snapshot.decided.changes
        sets = (change.validators for change in reversed(changes) if change.header.height < height)
        return next(sets, self._first)
