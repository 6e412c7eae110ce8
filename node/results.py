"""What becomes of a transaction that somebody sent."""

from dataclasses import dataclass
from typing import Final

from contracts.errors import Inadmissible
from ledger.entry import Outcome
from ledger.errors import LedgerError
from ledger.hashing import Hash
from node.errors import NodeError

MAX_BATCH: Final = 1024  # transactions that are sent at once


@dataclass(frozen=True)
class Committed:
    """A transaction is in a block."""

    id: Hash
    sender: bytes | None  # None where it was pruned
    height: int
    time: int  # of the block, unix seconds
    outcomes: tuple[Outcome, ...]  # one per call; none where it was pruned


@dataclass(frozen=True)
class Pending:
    """A transaction waits for a block."""

    id: Hash


@dataclass(frozen=True)
class Refused:
    """A transaction may not be in any block; `id` is None where it could not even be read."""

    id: Hash | None
    error: LedgerError | Inadmissible | NodeError


Result = Committed | Pending | Refused
