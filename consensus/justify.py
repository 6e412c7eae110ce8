"""The predicates: when a message is one that an honest validator may have sent.

They are pure and stateless, and look at no signature: whoever hands a message in has verified all
that `messages.signatures` lists. The same predicates judge our own messages.
"""

from dataclasses import dataclass, field
from typing import Final, assert_never

from consensus.errors import (
    BadCertificate,
    BadOutline,
    BadRoundChange,
    NotLeader,
    Unjustified,
    UnknownSigner,
    WrongHeight,
)
from consensus.messages import (
    UNPREPARED,
    Commit,
    Decided,
    Justification,
    Message,
    Prepare,
    PreparedCertificate,
    Proposal,
    RoundChange,
    Status,
)
from ledger.block import Header, evidence_root
from ledger.certificate import Seal, verify_signers
from ledger.errors import LedgerError
from ledger.hashing import NO_HASH
from ledger.merkle import root_of_leaves
from ledger.turns import Turns
from ledger.validators import ValidatorSet

_NO_TRANSACTIONS: Final = root_of_leaves([])
_NO_EVIDENCE: Final = evidence_root(())


@dataclass(frozen=True, slots=True)
class Context:
    """What a predicate knows: the chain, the height, who votes at it, and whose turn it is."""

    chain_id: bytes
    height: int
    validators: ValidatorSet
    turns: Turns = field(default_factory=Turns)

    def leader(self, round_: int) -> int:
        """Return the index of the validator that leads this round."""
        return self.turns.leader(len(self.validators), self.height, round_)


def require(message: Message, context: Context) -> None:
    """Raise a `ConsensusError` unless an honest validator may have sent `message` here."""
    match message:
        case Proposal(round_, outline, justification, signer):
            require_turn(round_, signer, context)
            require_justified(outline.header, round_, justification, signer, context)
        case RoundChange():
            require_round_change(message, context)
        case Prepare() | Commit():
            _require_signer(message.signer, context)
            _require_height(type(message).__name__.lower(), message.height, context)
        case Decided(header, certificate):
            _require_header(header, context)
            _require_height("certificate", certificate.height, context)
            if certificate.block_id != header.hash:
                raise BadCertificate("it is for another block")
            _require_seals(certificate.seals, context)
        case Status():
            _require_height("status", message.height, context)
        case _:
            assert_never(message)


def require_turn(round_: int, signer: int, context: Context) -> None:
    """Raise unless `signer` leads this round.

    A proposal out of turn is dropped and convicts nobody: whose turn it is follows from the headers
    below, which evidence does not carry.
    """
    _require_signer(signer, context)
    leader = context.leader(round_)
    if signer != leader:
        raise NotLeader(round_, leader, signer)


def require_justified(
    header: Header,
    round_: int,
    justification: Justification | None,
    signer: int,
    context: Context,
) -> None:
    """Raise unless `signer` may propose the block of `header` in this round, if it is its turn.

    Whoever signs a proposal for which this raises has convicted himself (`evidence.BadProposal`).
    """
    _require_signer(signer, context)
    _require_header(header, context)
    if round_ == 0:
        if justification is not None:
            raise Unjustified(round_, "round 0 has nothing to justify")
        if header.transactions_root == _NO_TRANSACTIONS and header.evidence_root == _NO_EVIDENCE:
            raise BadOutline("an empty block in round 0")
        _require_fresh(header, round_, signer, context)
        return
    if justification is None:
        raise Unjustified(round_, "it carries no round changes")
    top = _highest_claim(justification, round_, context)
    if top is None:
        if justification.prepared is not None:
            raise Unjustified(round_, "a certificate for what nobody claims")
        _require_fresh(header, round_, signer, context)
        return
    if header.hash != top.prepared_id:
        raise Unjustified(round_, "it is not the block with the highest prepared round")
    if justification.prepared is None:
        raise Unjustified(round_, "the highest prepared round has no certificate")
    require_prepared(justification.prepared, top.prepared_round, top.prepared_id, context)


def require_round_change(change: RoundChange, context: Context) -> None:
    """Raise unless `change` is possible and carries the certificate of what it claims.

    One that lacks it is dropped whole. Different validators may claim different rounds.
    """
    _require_claim(change, change.round, context)
    certificate = change.certificate
    if change.prepared_round == UNPREPARED:
        if certificate is not None:
            raise BadRoundChange(change.signer, "a certificate for nothing")
        return
    if certificate is None:
        raise BadRoundChange(change.signer, "no certificate of what it claims")
    require_prepared(certificate, change.prepared_round, change.prepared_id, context)


def require_prepared(
    certificate: PreparedCertificate, round_: int, block_id: bytes, context: Context
) -> None:
    """Raise `BadCertificate` unless a quorum prepared `block_id` in exactly this round."""
    _require_height("prepared certificate", certificate.height, context)
    if certificate.round != round_:
        raise BadCertificate(f"of round {certificate.round}, not of round {round_}")
    if certificate.block_id != block_id:
        raise BadCertificate("it is for another block")
    _require_seals(certificate.seals, context)


def highest(changes: tuple[RoundChange, ...]) -> RoundChange | None:
    """Return the first of `changes` with the highest prepared round; None if none is prepared."""
    prepared = [change for change in changes if change.prepared_round != UNPREPARED]
    return max(prepared, key=lambda change: change.prepared_round, default=None)


def _highest_claim(
    justification: Justification, round_: int, context: Context
) -> RoundChange | None:
    last = -1
    for change in justification.round_changes:
        if change.signer <= last:
            raise Unjustified(round_, "its round changes are not in the order of their signers")
        last = change.signer
        if change.certificate is not None:
            raise BadRoundChange(change.signer, "not bare")
        _require_claim(change, round_, context)
    if len(justification.round_changes) < context.validators.quorum:
        raise Unjustified(round_, f"{len(justification.round_changes)} round changes")
    return highest(justification.round_changes)


def _require_claim(change: RoundChange, round_: int, context: Context) -> None:
    _require_signer(change.signer, context)
    _require_height("round change", change.height, context)
    if change.round != round_:
        raise BadRoundChange(change.signer, f"for round {change.round}, not {round_}")
    if not UNPREPARED <= change.prepared_round < change.round:
        raise BadRoundChange(change.signer, f"prepared in round {change.prepared_round}")
    if change.prepared_round == UNPREPARED and change.prepared_id != NO_HASH:
        raise BadRoundChange(change.signer, "a block that nobody prepared")


def _require_fresh(header: Header, round_: int, signer: int, context: Context) -> None:
    if header.built_round != round_:
        raise BadOutline(f"built in round {header.built_round}, proposed afresh in {round_}")
    if header.proposer != context.validators.members[signer].member:
        raise BadOutline("it names another proposer than its signer")


def _require_header(header: Header, context: Context) -> None:
    _require_height("header", header.height, context)
    if header.chain_id != context.chain_id:
        raise WrongHeight("header", context.chain_id, header.chain_id)
    if header.validators_hash != context.validators.hash:
        raise BadOutline("its validators are not those of the height")


def _require_seals(seals: tuple[Seal, ...], context: Context) -> None:
    try:
        verify_signers(seals, context.validators)
    except LedgerError as error:
        raise BadCertificate(str(error)) from None


def _require_height(part: str, height: int, context: Context) -> None:
    if height != context.height:
        raise WrongHeight(part, context.height, height)


def _require_signer(signer: int, context: Context) -> None:
    if signer >= len(context.validators):
        raise UnknownSigner(signer, len(context.validators))
