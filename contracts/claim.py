"""Claims: submitted by an optician, decided by the payer, settled in a batch, disputed by either.

"Payment not found" is a dispute: what was accepted is never submitted again.
"""

from enum import IntEnum
from typing import Annotated, Final

import msgspec

from contracts import authorisation, batch, marks
from contracts.calls import (
    ClaimAccept,
    ClaimDispute,
    ClaimGround,
    ClaimOverturn,
    ClaimRecover,
    ClaimReject,
    ClaimSubmit,
    ClaimSupersede,
    Leg,
    Marks,
    Reason,
    SettlementAdd,
    SettlementRemove,
)
from contracts.context import Context
from contracts.errors import Refusal, Refused
from contracts.parameters import Parameters
from contracts.requests import (
    require_person,
    signer,
)
from contracts.state import Reader
from ledger.encoding import U63_MAX, Struct, decode
from ledger.keys import KEY_ID_BYTES
from ledger.validators import Bytes16, Bytes32

PREFIX: Final = b"c"  # + claim -> Claim
_SAME: Final = ("payer", "leg", "marks", "authorisation")  # in a claim that replaces another

Time = Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]  # block time, unix seconds
KeyIdBytes = Annotated[bytes, msgspec.Meta(min_length=KEY_ID_BYTES, max_length=KEY_ID_BYTES)]


class State(IntEnum):
    """Where a claim stands. What it is in a settlement follows from the settlement's state."""

    SUBMITTED = 1
    ACCEPTED = 2
    REJECTED = 3
    CANCELLED = 4
    BATCHED = 5
    SETTLED = 6  # the settlement that it is in was confirmed
    REVERSED = 7  # to be repaid
    REPAYING = 8  # batched the other way
    REPAID = 9  # never stored
    ACCEPTED_IN_PART = 10
    ABANDONED = 11
    RESUBMITTED = 12  # another claim has its marks
    LAPSED = 13  # never stored: rejected, and its window for disputes is over
    REJECTION_DISPUTED = 14
    AMOUNT_DISPUTED = 15
    PAYMENT_DISPUTED = 16
    ACCEPTANCE_DISPUTED = 17
    RECOVERY_ASKED = 18  # the payer asks back what it paid
    RECOVERY_DISPUTED = 19
    CLOSED = 20


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
    marks: Marks
    authorisation: Bytes32 | None
    prior: Bytes32 | None
    height: Annotated[int, msgspec.Meta(ge=1, le=U63_MAX)]  # of its submission, as the next three
    time: Time
    transaction: Bytes32
    position: Annotated[int, msgspec.Meta(ge=0, le=255)]
    since: Time  # when it came to its state, as far as that is stored
    state: State = State.SUBMITTED
    accepted_amount: Bytes32 | None = None  # the payer's own commitment, if it accepted in part
    reason: Reason | None = None  # if it was rejected, or is asked back
    automatic: bool = False  # rejected by a machine
    decided_by: KeyIdBytes | None = None  # the key that accepted or rejected
    until: Time | None = None  # last second to dispute that; a rejected claim lapses after it
    disputed: Annotated[tuple[ClaimGround, ...], msgspec.Meta(max_length=len(ClaimGround))] = ()
    settlement: Bytes32 | None = None  # the last that it was put into
    superseded: Bytes32 | None = None  # the document before the present one: it proves nothing
    owed: Time | None = None  # since when: accepted, or taken back after it was paid

    @property
    def due(self) -> bytes:
        """The commitment to what is due if the claim is accepted."""
        return self.amount if self.accepted_amount is None else self.accepted_amount


def state_of(state: Reader, claim: Claim, time: int) -> State:
    """Return where a claim stands at this time: in a settlement, as that stands."""
    match claim.state:
        case State.REJECTED if claim.until is not None and time > claim.until:
            return State.LAPSED
        case State.BATCHED:
            return _in_batch(state, claim, State.SETTLED, _accepted(claim))
        case State.REPAYING:
            return _in_batch(state, claim, State.REPAID, State.REVERSED)
        case _:
            return claim.state


def _in_batch(state: Reader, claim: Claim, confirmed: State, cancelled: State) -> State:
    match batch_of(state, claim).state:
        case batch.State.CONFIRMED:
            return confirmed
        case batch.State.CANCELLED:
            return cancelled
        case _:
            return claim.state


def batch_of(state: Reader, claim: Claim) -> batch.Settlement:
    """Return the settlement that a claim was put into."""
    assert claim.settlement is not None  # kept with its state
    found = batch.load(state, claim.settlement)
    assert found is not None  # none is ever removed
    return found


def load(state: Reader, id_: bytes) -> Claim | None:
    """Return the claim with this id, None where there is none."""
    found = state.get(PREFIX + id_)
    return None if found is None else decode(found, Claim)


def _accepted(claim: Claim) -> State:
    return State.ACCEPTED if claim.accepted_amount is None else State.ACCEPTED_IN_PART


def make(context: Context, call: ClaimSubmit) -> Claim:
    """Return the claim that a call submits."""
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
        context.time,
    )


# --- conditions -----------------------------------------------------------------------------------


def names_prior(_context: Context, _claim: Claim | None, call: ClaimSubmit) -> bool:
    """Return whether it replaces a rejected claim."""
    return call.prior is not None


def names_authorisation(_context: Context, _claim: Claim | None, call: ClaimSubmit) -> bool:
    """Return whether it names a prior agreement."""
    return call.authorisation is not None


def disputes_amount(_context: Context, _claim: Claim | None, call: ClaimDispute) -> bool:
    """Return whether the ground is the amount."""
    return call.ground is ClaimGround.AMOUNT


def accepted_in_part(_context: Context, claim: Claim | None, _call: object) -> bool:
    """Return whether it was accepted in part."""
    assert claim is not None  # the row has a state before
    return claim.accepted_amount is not None


def was_settled(context: Context, claim: Claim | None, _call: object) -> bool:
    """Return whether it was settled."""
    assert claim is not None  # the row has a state before
    if claim.settlement is None:
        return False
    return batch_of(context.state, claim).state is batch.State.CONFIRMED


# --- guards ---------------------------------------------------------------------------------------


def prior_is_open(context: Context, _claim: Claim | None, call: ClaimSubmit) -> None:
    """Require that the earlier claim is the sender's and rejected, and the same in what stays."""
    assert call.prior is not None  # the row's condition
    prior = load(context.state, call.prior)
    if prior is None or prior.submitter != context.sender:
        raise Refused(Refusal.PRIOR_CLAIM_UNKNOWN)
    state = state_of(context.state, prior, context.time)
    if state is not State.REJECTED:
        raise Refused(Refusal.PRIOR_CLAIM_IN_WRONG_STATE, state)
    for index, field in enumerate(_SAME):
        if getattr(call, field) != getattr(prior, field):
            raise Refused(Refusal.PRIOR_CLAIM_DIFFERS, index)


def authorisation_allows(context: Context, _claim: Claim | None, call: ClaimSubmit) -> None:
    """Require that the prior agreement is granted to the sender, and for the same."""
    assert call.authorisation is not None  # the row's condition
    authorisation.LIFE.judge(context, call.authorisation, call)


def document_is_another(_context: Context, claim: Claim | None, call: ClaimSupersede) -> None:
    """Require that the document is another one."""
    assert claim is not None  # the row has a state before
    if call.document == claim.document:
        raise Refused(Refusal.DOCUMENT_UNCHANGED)


def not_disputed_before(_context: Context, claim: Claim | None, call: ClaimDispute) -> None:
    """Require that the decision was not disputed before on this ground."""
    assert claim is not None  # the row has a state before
    if call.ground in claim.disputed:
        raise Refused(Refusal.DISPUTED_BEFORE)


def ground_is_rejection(_context: Context, _claim: Claim | None, call: ClaimDispute) -> None:
    """Require that the ground is the rejection."""
    _require_ground(call, ClaimGround.REJECTION)


def ground_is_payment(_context: Context, _claim: Claim | None, call: ClaimDispute) -> None:
    """Require that the ground is that the payment is not found."""
    _require_ground(call, ClaimGround.PAYMENT_NOT_FOUND)


def ground_is_acceptance(_context: Context, _claim: Claim | None, call: ClaimDispute) -> None:
    """Require that the ground is the acceptance."""
    _require_ground(call, ClaimGround.ACCEPTANCE)


def ground_is_recovery(_context: Context, _claim: Claim | None, call: ClaimDispute) -> None:
    """Require that the ground is the request to pay back."""
    _require_ground(call, ClaimGround.RECOVERY)


def _require_ground(call: ClaimDispute, ground: ClaimGround) -> None:
    if call.ground is not ground:
        raise Refused(Refusal.GROUND_NOT_FITTING, ground)


def no_amount(_context: Context, _claim: Claim | None, call: ClaimOverturn) -> None:
    """Require that it names no amount: none is decided."""
    if call.amount is not None:
        raise Refused(Refusal.AMOUNT_NOT_WANTED)


def person_answers(context: Context, claim: Claim | None, _call: object) -> None:
    """Require that, where a machine rejected it, a person answers, with another key."""
    assert claim is not None  # the row has a state before
    if claim.automatic:
        require_person(context, claim.decided_by)


def another_person_answers(context: Context, claim: Claim | None, _call: object) -> None:
    """Require that a person answers, with another key: no acceptance says who made it."""
    assert claim is not None  # the row has a state before
    require_person(context, claim.decided_by)


# --- effects --------------------------------------------------------------------------------------


def consume_locks(context: Context, _id: bytes, claim: Claim, call: ClaimSubmit) -> Claim:
    """Consume the locks of its marks."""
    marks.unlock(context, call.marks)
    return claim


def consume_authorisation(context: Context, _id: bytes, claim: Claim, call: ClaimSubmit) -> Claim:
    """Consume the prior agreement."""
    assert call.authorisation is not None  # the row's condition
    authorisation.LIFE.move(context, call.authorisation, call)
    return claim


def hold_marks(context: Context, id_: bytes, claim: Claim, _call: object) -> Claim:
    """Hold its marks without an end."""
    marks.hold(context.state, claim.marks, id_, None)
    return claim


def hold_marks_in_window(context: Context, id_: bytes, claim: Claim, _call: object) -> Claim:
    """Hold its marks until the window for disputes closes."""
    marks.hold(context.state, claim.marks, id_, claim.until)
    return claim


def free_marks(context: Context, _id: bytes, claim: Claim, _call: object) -> Claim:
    """Free its marks."""
    marks.free(context.state, claim.marks)
    return claim


def open_window(context: Context, _id: bytes, claim: Claim, _call: object) -> Claim:
    """Open the window for disputes: its end moves no more, whatever the parameters become."""
    until = context.time + context.parameters.dispute_window_s
    return msgspec.structs.replace(claim, until=until)


def keep_acceptance(
    context: Context, _id: bytes, claim: Claim, call: ClaimAccept | ClaimOverturn
) -> Claim:
    """Keep the amount that the payer committed to, if it did: so much is due; and who decided."""
    return msgspec.structs.replace(
        claim,
        accepted_amount=call.amount,
        reason=None,
        automatic=False,
        decided_by=signer(context),
        disputed=(),
    )


def begin_owing(context: Context, _id: bytes, claim: Claim, _call: object) -> Claim:
    """Let it be owed from now on: no settlement that pays nothing, and no dispute, moves that."""
    return msgspec.structs.replace(claim, owed=context.time)


def keep_rejection(context: Context, _id: bytes, claim: Claim, call: ClaimReject) -> Claim:
    """Keep the reason, whether a machine decided, and with which key."""
    return msgspec.structs.replace(
        claim, reason=call.reason, automatic=call.automatic, decided_by=signer(context)
    )


def keep_answer(context: Context, _id: bytes, claim: Claim, _call: object) -> Claim:
    """Keep that a person decided, and with which key."""
    return msgspec.structs.replace(claim, automatic=False, decided_by=signer(context))


def keep_ground(_context: Context, _id: bytes, claim: Claim, call: ClaimDispute) -> Claim:
    """Keep that this was disputed on this ground."""
    return msgspec.structs.replace(claim, disputed=(*claim.disputed, call.ground))


def forget_grounds(_context: Context, _id: bytes, claim: Claim, _call: object) -> Claim:
    """Let it be disputed anew."""
    return msgspec.structs.replace(claim, disputed=())


def keep_recovery(_context: Context, _id: bytes, claim: Claim, call: ClaimRecover) -> Claim:
    """Keep the reason; the request may be disputed, as each one before."""
    rest = tuple(ground for ground in claim.disputed if ground is not ClaimGround.RECOVERY)
    return msgspec.structs.replace(claim, reason=call.reason, disputed=rest)


def drop_recovery(_context: Context, _id: bytes, claim: Claim, _call: object) -> Claim:
    """Forget the reason."""
    return msgspec.structs.replace(claim, reason=None)


def replace_document(_context: Context, _id: bytes, claim: Claim, call: ClaimSupersede) -> Claim:
    """Put the document in the place of the one before, which is named and proves nothing."""
    return msgspec.structs.replace(claim, document=call.document, superseded=claim.document)


def enter_settlement(_context: Context, _id: bytes, claim: Claim, call: SettlementAdd) -> Claim:
    """Name the settlement that it is in, whose payment may be disputed as none was before."""
    rest = tuple(each for each in claim.disputed if each is not ClaimGround.PAYMENT_NOT_FOUND)
    return msgspec.structs.replace(claim, settlement=call.settlement, disputed=rest)


def leave_settlement(_context: Context, _id: bytes, claim: Claim, _call: SettlementRemove) -> Claim:
    """Name no settlement."""
    return msgspec.structs.replace(claim, settlement=None)


# --- moments --------------------------------------------------------------------------------------


def decision_is_due(_state: Reader, claim: Claim, parameters: Parameters) -> int:
    """Return when the payer should have decided."""
    return claim.since + parameters.decision_due_s


def settlement_is_due(_state: Reader, claim: Claim, parameters: Parameters) -> int:
    """Return when what is due should have been paid, or paid back."""
    assert claim.owed is not None  # kept with every acceptance, and when it is taken back
    return claim.owed + parameters.settlement_due_s


def answer_is_due(_state: Reader, claim: Claim, parameters: Parameters) -> int:
    """Return when the other side should have answered."""
    return claim.since + parameters.answer_due_s


def window_closes(_state: Reader, claim: Claim, _parameters: Parameters) -> int:
    """Return when the window for disputes of the decision closes."""
    assert claim.until is not None  # kept with every decision
    return claim.until


def payment_window_closes(state: Reader, claim: Claim, parameters: Parameters) -> int:
    """Return when the window for disputes of the settlement closes."""
    return batch_of(state, claim).since + parameters.dispute_window_s


def payment_window_is_over(state: Reader, claim: Claim, parameters: Parameters) -> int:
    """Return when the window for disputes of the settlement is over: the second after its last."""
    return payment_window_closes(state, claim, parameters) + 1
