"""Claims: submitted by an optician, decided by the payer, settled in a batch."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Annotated, Final

import msgspec

from contracts import marks, prescription, registry
from contracts.calls import (
    MAX_MARKS,
    ClaimAccept,
    ClaimCancel,
    ClaimReject,
    ClaimSubmit,
    Leg,
    Mark,
    Reason,
    SettlementCreate,
)
from contracts.commitment import parse_point
from contracts.context import Concerned, Context
from contracts.errors import NotAPoint, Refusal, Refused
from contracts.registry import Family
from contracts.state import Overlay, Reader
from ledger.encoding import U63_MAX, Struct, decode, encode
from ledger.validators import Bytes16, Bytes32, MemberId

_CLAIM: Final = b"c"  # + claim -> Claim
_PAYERS: Final = frozenset((Family.INSURER, Family.OPERATOR))


class State(IntEnum):
    """Where a claim stands. Once batched, its settlement says whether it is settled."""

    SUBMITTED = 1
    ACCEPTED = 2
    REJECTED = 3
    CANCELLED = 4
    BATCHED = 5


class Party(IntEnum):
    """A sender's part in a claim."""

    SUBMITTER = 1
    PAYER = 2


class Claim(Struct):
    """A claim, by its id."""

    submitter: Bytes16
    payer: Bytes16
    leg: Leg
    prescription: Bytes32
    document: Bytes32
    amount: Bytes32  # commitment to what is claimed
    marks: Annotated[tuple[Mark, ...], msgspec.Meta(min_length=1, max_length=MAX_MARKS)]
    authorisation: Bytes32 | None
    prior: Bytes32 | None
    height: Annotated[int, msgspec.Meta(ge=1, le=U63_MAX)]  # of its submission, as the next three
    time: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]  # unix seconds
    transaction: Bytes32
    position: Annotated[int, msgspec.Meta(ge=0, le=255)]
    state: State = State.SUBMITTED
    accepted_amount: Bytes32 | None = None  # the payer's own commitment, if it accepted in part
    reason: Reason | None = None  # if it was rejected
    automatic: bool = False  # rejected by a machine
    settlement: Bytes32 | None = None  # once batched

    @property
    def due(self) -> bytes:
        """The commitment to what is due if the claim is accepted."""
        return self.amount if self.accepted_amount is None else self.accepted_amount

    def is_party(self, member: bytes, party: Party) -> bool:
        """Return whether `member` has this part in the claim."""
        return member == (self.submitter if party is Party.SUBMITTER else self.payer)


# (state, call) -> (who may, state after)
LIFE: Final[Mapping[tuple[State | None, type], tuple[Party, State]]] = {
    (None, ClaimSubmit): (Party.SUBMITTER, State.SUBMITTED),
    (State.SUBMITTED, ClaimAccept): (Party.PAYER, State.ACCEPTED),
    (State.SUBMITTED, ClaimReject): (Party.PAYER, State.REJECTED),
    (State.SUBMITTED, ClaimCancel): (Party.SUBMITTER, State.CANCELLED),
    (State.ACCEPTED, ClaimCancel): (Party.SUBMITTER, State.CANCELLED),
    (State.ACCEPTED, SettlementCreate): (Party.PAYER, State.BATCHED),
    (State.REJECTED, ClaimCancel): (Party.SUBMITTER, State.CANCELLED),  # given up: frees its marks
}
_WHO: Final = {call: party for (_, call), (party, _) in LIFE.items()}  # in every state


def submit(context: Context, call: ClaimSubmit) -> Concerned:
    """Make a claim and give it its marks, or raise `Refused`. It concerns the payer."""
    state = context.state
    if context.family is not Family.OPTICIAN:
        raise Refused(Refusal.SENDER_NOT_ELIGIBLE)
    payer = registry.admitted(state, call.payer)
    if payer is None:
        raise Refused(Refusal.PAYER_UNKNOWN)
    if payer.family not in _PAYERS:
        raise Refused(Refusal.PAYER_NOT_ELIGIBLE)
    if call.authorisation is not None:
        raise Refused(Refusal.AUTHORISATION_UNKNOWN)  # none can be granted yet
    if call.prior is not None:
        raise Refused(Refusal.PRIOR_CLAIM_UNKNOWN)  # resubmission does not exist yet
    if prescription.committed_at(state, context.sender, call.prescription) is None:
        raise Refused(Refusal.PRESCRIPTION_NOT_COMMITTED)
    locks = marks.locks_for_use(context, call.marks)
    _require_point(call.amount)
    id_ = context.new_id()
    marks.use(state, call.marks, locks, id_)
    claim = Claim(
        context.sender,
        call.payer,
        call.leg,
        call.prescription,
        call.document,
        call.amount,
        call.marks,
        call.authorisation,
        call.prior,
        context.height,
        context.time,
        context.transaction,
        context.position,
    )
    save(state, id_, claim)
    return (MemberId(call.payer),)


def accept(context: Context, call: ClaimAccept) -> Concerned:
    """Accept a claim as its payer, or raise `Refused`. It concerns the submitter."""
    claim, after = _next(context, call.claim, ClaimAccept)
    if call.amount is not None:
        _require_point(call.amount)
    claim = msgspec.structs.replace(claim, state=after, accepted_amount=call.amount)
    save(context.state, call.claim, claim)
    return (MemberId(claim.submitter),)


def reject(context: Context, call: ClaimReject) -> Concerned:
    """Reject a claim as its payer, or raise `Refused`; its marks stay with it."""
    claim, after = _next(context, call.claim, ClaimReject)
    claim = msgspec.structs.replace(
        claim, state=after, reason=call.reason, automatic=call.automatic
    )
    save(context.state, call.claim, claim)
    return (MemberId(claim.submitter),)


def cancel(context: Context, call: ClaimCancel) -> Concerned:
    """Take a claim back as its submitter, or raise `Refused`; this frees its marks."""
    claim, after = _next(context, call.claim, ClaimCancel)
    marks.free(context.state, claim.marks)
    save(context.state, call.claim, msgspec.structs.replace(claim, state=after))
    return (MemberId(claim.payer),)


def load(state: Reader, id_: bytes) -> Claim | None:
    """Return the claim with this id, None where there is none."""
    found = state.get(_CLAIM + id_)
    return None if found is None else decode(found, Claim)


def save(state: Overlay, id_: bytes, claim: Claim) -> None:
    """Write a claim."""
    state.put(_CLAIM + id_, encode(claim))


def _next(context: Context, id_: bytes, call: type) -> tuple[Claim, State]:
    """Return the claim and its state after `call` by the sender, or raise `Refused`."""
    claim = load(context.state, id_)
    if claim is None:
        raise Refused(Refusal.CLAIM_UNKNOWN)
    if not claim.is_party(context.sender, _WHO[call]):
        raise Refused(Refusal.CLAIM_NOT_YOURS)
    step = LIFE.get((claim.state, call))
    if step is None:
        raise Refused(Refusal.CLAIM_IN_WRONG_STATE, claim.state)
    return claim, step[1]


def _require_point(amount: bytes) -> None:
    try:
        parse_point(amount)
    except NotAPoint:
        raise Refused(Refusal.AMOUNT_NOT_A_POINT) from None
