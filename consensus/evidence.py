"""Who contradicted himself: two signed statements, and nothing of the local situation."""

from typing import TypeAlias

from consensus.messages import (
    BareProposal,
    Commit,
    Justification,
    Prepare,
    Round,
    RoundChange,
    SignatureBytes,
    Signer,
    Statement,
)
from ledger.block import Header
from ledger.encoding import Struct


class DoubleVote(Struct, tag=1):
    """Two different statements of one kind for one height and round."""

    first: Statement
    second: Statement


class Amnesia(Struct, tag=2):
    """A commit, and a round change above it that forgets or changes the lock."""

    commit: Commit
    round_change: RoundChange


class CrossVote(Struct, tag=3):
    """A commit of another block than the one prepared in the same round."""

    prepare: Prepare
    commit: Commit


class BadProposal(Struct, tag=4):
    """A signed proposal that its own justification does not justify."""

    header: Header
    round: Round
    justification: Justification | None
    signer: Signer
    signature: SignatureBytes


Evidence: TypeAlias = DoubleVote | Amnesia | CrossVote | BadProposal

__all__ = ["Amnesia", "BadProposal", "BareProposal", "CrossVote", "DoubleVote", "Evidence"]
