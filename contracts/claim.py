"""Claims: submitted by an optician, decided by the payer, settled in a batch."""

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
from contracts.context import Context
from contracts.errors import NotAPoint, Refusal, Refused
from contracts.life import Life, Row
from contracts.registry import Family
from ledger.encoding import U63_MAX, Struct
from ledger.validators import Bytes16, Bytes32

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


def _make(context: Context, call: ClaimSubmit) -> Claim:
    return Claim(
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


# --- guards ---------------------------------------------------------------------------------------


def sender_is_optician(context: Context, _claim: Claim | None, _call: ClaimSubmit) -> None:
    """Require that the sender is an optician."""
    if context.family is not Family.OPTICIAN:
        raise Refused(Refusal.SENDER_NOT_ELIGIBLE)


def payer_pays(context: Context, _claim: Claim | None, call: ClaimSubmit) -> None:
    """Require that the payer is an admitted insurer or operator."""
    payer = registry.admitted(context.state, call.payer)
    if payer is None:
        raise Refused(Refusal.PAYER_UNKNOWN)
    if payer.family not in _PAYERS:
        raise Refused(Refusal.PAYER_NOT_ELIGIBLE)


def nothing_prior(_context: Context, _claim: Claim | None, call: ClaimSubmit) -> None:
    """Require that it names no authorisation and no earlier claim."""
    if call.authorisation is not None:
        raise Refused(Refusal.AUTHORISATION_UNKNOWN)  # none can be granted yet
    if call.prior is not None:
        raise Refused(Refusal.PRIOR_CLAIM_UNKNOWN)  # resubmission does not exist yet


def prescription_is_committed(context: Context, _claim: Claim | None, call: ClaimSubmit) -> None:
    """Require that the sender committed the prescription before."""
    if prescription.committed_at(context.state, context.sender, call.prescription) is None:
        raise Refused(Refusal.PRESCRIPTION_NOT_COMMITTED)


def marks_are_locked_and_free(context: Context, _claim: Claim | None, call: ClaimSubmit) -> None:
    """Require that the sender locked its marks in an earlier block and no live claim uses one."""
    marks.require_usable(context, call.marks)


def amount_is_point(
    _context: Context, _claim: Claim | None, call: ClaimSubmit | ClaimAccept
) -> None:
    """Require that the amount is a point, canonically encoded."""
    if call.amount is None:
        return
    try:
        parse_point(call.amount)
    except NotAPoint:
        raise Refused(Refusal.AMOUNT_NOT_A_POINT) from None


# --- effects --------------------------------------------------------------------------------------


def take_marks(context: Context, id_: bytes, claim: Claim, call: ClaimSubmit) -> Claim:
    """Take its marks."""
    marks.use(context, call.marks, id_)
    return claim


def free_marks(context: Context, _id: bytes, claim: Claim, _call: object) -> Claim:
    """Free its marks."""
    marks.free(context.state, claim.marks)
    return claim


def keep_accepted_amount(_context: Context, _id: bytes, claim: Claim, call: ClaimAccept) -> Claim:
    """Keep the amount that the payer committed to, if it did: so much is due."""
    return msgspec.structs.replace(claim, accepted_amount=call.amount)


def keep_reason(_context: Context, _id: bytes, claim: Claim, call: ClaimReject) -> Claim:
    """Keep the reason, and whether a machine decided."""
    return msgspec.structs.replace(claim, reason=call.reason, automatic=call.automatic)


LIFE: Final = Life(
    name="claim",
    thing=Claim,
    prefix=b"c",
    parties={Party.SUBMITTER: "submitter", Party.PAYER: "payer"},
    unknown=Refusal.CLAIM_UNKNOWN,
    not_yours=Refusal.CLAIM_NOT_YOURS,
    wrong_state=Refusal.CLAIM_IN_WRONG_STATE,
    make=_make,
    rows=(
        Row(
            None,
            ClaimSubmit,
            Party.SUBMITTER,
            State.SUBMITTED,
            guards=(
                sender_is_optician,
                payer_pays,
                nothing_prior,
                prescription_is_committed,
                marks_are_locked_and_free,
                amount_is_point,
            ),
            effects=(take_marks,),
        ),
        Row(
            State.SUBMITTED,
            ClaimAccept,
            Party.PAYER,
            State.ACCEPTED,
            guards=(amount_is_point,),
            effects=(keep_accepted_amount,),
        ),
        Row(State.SUBMITTED, ClaimReject, Party.PAYER, State.REJECTED, effects=(keep_reason,)),
        Row(State.SUBMITTED, ClaimCancel, Party.SUBMITTER, State.CANCELLED, effects=(free_marks,)),
        Row(State.ACCEPTED, ClaimCancel, Party.SUBMITTER, State.CANCELLED, effects=(free_marks,)),
        Row(State.REJECTED, ClaimCancel, Party.SUBMITTER, State.CANCELLED, effects=(free_marks,)),
        Row(State.ACCEPTED, SettlementCreate, Party.PAYER, State.BATCHED),
    ),
)
load, save = LIFE.load, LIFE.save
