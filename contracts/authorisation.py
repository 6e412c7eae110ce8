"""Prior agreements (*prises en charge*): asked of a payer before anything is claimed.

A request holds its marks as a claim does, and hands them to the claim that consumes it. What is
asked and answered stands here only as commitments that all look alike (contracts.questions).
"""

from enum import IntEnum
from typing import Annotated, Final

import msgspec

from contracts import marks
from contracts.calls import (
    AuthorisationAnswer,
    AuthorisationAsk,
    AuthorisationCancel,
    AuthorisationGrant,
    AuthorisationRefuse,
    AuthorisationRequest,
    AuthorisationReview,
    ClaimSubmit,
    Leg,
    Marks,
    Reason,
)
from contracts.context import Context
from contracts.errors import Refusal, Refused
from contracts.life import Life, Moment, Row
from contracts.parameters import Parameters
from contracts.questions import KINDS
from contracts.requests import (
    amount_is_point,
    marks_are_locked_and_free,
    names_amount,
    payer_pays,
    prescription_is_in_force,
    require_person,
    sender_is_optician,
    signer,
)
from contracts.state import Reader
from ledger.encoding import U63_MAX, Struct
from ledger.keys import KEY_ID_BYTES
from ledger.validators import Bytes16, Bytes32

MAX_QUESTIONS: Final = KINDS  # there is no third thing to ask
_SAME: Final = ("payer", "leg", "prescription", "marks")  # in a claim that consumes it

Time = Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]  # block time, unix seconds
KeyIdBytes = Annotated[bytes, msgspec.Meta(min_length=KEY_ID_BYTES, max_length=KEY_ID_BYTES)]


class State(IntEnum):
    """Where a prior agreement stands."""

    REQUESTED = 1
    INFO_REQUESTED = 2
    GRANTED = 3
    GRANTED_IN_PART = 4
    REFUSED = 5
    UNDER_REVIEW = 6  # a person decides what a machine refused
    CONSUMED = 7  # by a claim, which has its marks
    CANCELLED = 8
    EXPIRED = 9  # never stored: its last second is over


class Party(IntEnum):
    """A sender's part in a prior agreement."""

    OPTICIAN = 1
    PAYER = 2


class Authorisation(Struct):
    """A prior agreement, by its id."""

    optician: Bytes16
    payer: Bytes16
    leg: Leg
    prescription: Bytes32
    document: Bytes32
    amount: Bytes32  # commitment to what is asked for
    marks: Marks
    height: Annotated[int, msgspec.Meta(ge=1, le=U63_MAX)]  # of its request, as the next three
    time: Time
    transaction: Bytes32
    position: Annotated[int, msgspec.Meta(ge=0, le=255)]
    since: Time  # when it came to its state
    until: Time | None  # its last second, and that of its marks; None: no end
    state: State = State.REQUESTED
    questions: Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=MAX_QUESTIONS)] = ()
    answers: Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=MAX_QUESTIONS)] = ()
    granted_amount: Bytes32 | None = None  # the payer's own commitment, if it agreed in part
    reason: Reason | None = None  # if it was refused
    automatic: bool = False  # refused by a machine
    decided_by: KeyIdBytes | None = None  # the key that granted or refused
    claim: Bytes32 | None = None  # that consumed it


def state_of(_state: Reader, authorisation: Authorisation, time: int) -> State:
    """Return where it stands at this time."""
    over = authorisation.until is not None and time > authorisation.until
    return State.EXPIRED if over else authorisation.state


def _make(context: Context, call: AuthorisationRequest) -> Authorisation:
    return Authorisation(
        context.sender,
        call.payer,
        call.leg,
        call.prescription,
        call.document,
        call.amount,
        call.marks,
        context.height,
        context.time,
        context.transaction,
        context.position,
        context.time,
        None,
    )


# --- guards and conditions ------------------------------------------------------------------------


def room_for_a_question(
    _context: Context, authorisation: Authorisation | None, _call: AuthorisationAsk
) -> None:
    """Require that no more than two questions are asked."""
    assert authorisation is not None  # the row has a state before
    if len(authorisation.questions) == MAX_QUESTIONS:
        raise Refused(Refusal.TOO_MANY_QUESTIONS, MAX_QUESTIONS)


def validity_is_possible(
    context: Context, _authorisation: Authorisation | None, call: AuthorisationGrant
) -> None:
    """Require that it is valid from now on, for no longer than the parameters allow."""
    latest = context.time + context.parameters.authorisation_validity_s
    if not context.time <= call.valid_until <= latest:
        raise Refused(Refusal.VALIDITY_NOT_POSSIBLE, context.time, latest)


def machine_refused(
    _context: Context, authorisation: Authorisation | None, _call: AuthorisationReview
) -> None:
    """Require that a machine refused."""
    assert authorisation is not None  # the row has a state before
    if not authorisation.automatic:
        raise Refused(Refusal.DECIDED_BY_A_PERSON)


def person_decides(
    context: Context,
    authorisation: Authorisation | None,
    _call: AuthorisationGrant | AuthorisationRefuse,
) -> None:
    """Require that a person decides, with another key than refused."""
    assert authorisation is not None  # the row has a state before
    require_person(context, authorisation.decided_by)


def not_by_a_machine(
    _context: Context, _authorisation: Authorisation | None, call: AuthorisationRefuse
) -> None:
    """Require that it says of itself that a person decided."""
    if call.automatic:
        raise Refused(Refusal.PERSON_NEEDED)


def claim_is_the_same(
    _context: Context, authorisation: Authorisation | None, call: ClaimSubmit
) -> None:
    """Require that the claim has its payer, leg, prescription and marks."""
    assert authorisation is not None  # the row has a state before
    for index, field in enumerate(_SAME):
        if getattr(call, field) != getattr(authorisation, field):
            raise Refused(Refusal.AUTHORISATION_DIFFERS, index)


# --- effects --------------------------------------------------------------------------------------


def consume_locks(
    context: Context, _id: bytes, authorisation: Authorisation, call: AuthorisationRequest
) -> Authorisation:
    """Consume the locks of its marks."""
    marks.unlock(context, call.marks)
    return authorisation


def hold_while_it_waits(
    context: Context, id_: bytes, authorisation: Authorisation, _call: object
) -> Authorisation:
    """Hold its marks as long as an agreement could at most be valid."""
    return _hold(context, id_, authorisation, context.parameters.authorisation_validity_s)


def hold_in_window(
    context: Context, id_: bytes, authorisation: Authorisation, _call: object
) -> Authorisation:
    """Hold its marks until the window for disputes closes."""
    return _hold(context, id_, authorisation, context.parameters.dispute_window_s)


def hold_while_valid(
    context: Context, id_: bytes, authorisation: Authorisation, call: AuthorisationGrant
) -> Authorisation:
    """Hold its marks as long as it is valid."""
    return _hold(context, id_, authorisation, call.valid_until - context.time)


def hold_without_end(
    context: Context, id_: bytes, authorisation: Authorisation, _call: object
) -> Authorisation:
    """Hold its marks, however long the answer takes."""
    return _hold(context, id_, authorisation, None)


def free_marks(
    context: Context, _id: bytes, authorisation: Authorisation, _call: object
) -> Authorisation:
    """Free its marks."""
    marks.free(context.state, authorisation.marks)
    return msgspec.structs.replace(authorisation, until=None)


def keep_question(
    _context: Context, _id: bytes, authorisation: Authorisation, call: AuthorisationAsk
) -> Authorisation:
    """Keep the commitment to the question."""
    asked = (*authorisation.questions, call.question)
    return msgspec.structs.replace(authorisation, questions=asked)


def keep_answer(
    _context: Context, _id: bytes, authorisation: Authorisation, call: AuthorisationAnswer
) -> Authorisation:
    """Keep the commitment to the answer."""
    given = (*authorisation.answers, call.answer)
    return msgspec.structs.replace(authorisation, answers=given)


def keep_grant(
    context: Context, _id: bytes, authorisation: Authorisation, call: AuthorisationGrant
) -> Authorisation:
    """Keep the amount that the payer committed to, if it did, and who decided."""
    return msgspec.structs.replace(
        authorisation,
        granted_amount=call.amount,
        reason=None,
        automatic=False,
        decided_by=signer(context),
    )


def keep_refusal(
    context: Context, _id: bytes, authorisation: Authorisation, call: AuthorisationRefuse
) -> Authorisation:
    """Keep the reason, whether a machine decided, and with which key."""
    return msgspec.structs.replace(
        authorisation, reason=call.reason, automatic=call.automatic, decided_by=signer(context)
    )


def name_claim(
    context: Context, _id: bytes, authorisation: Authorisation, _call: ClaimSubmit
) -> Authorisation:
    """Name the claim that consumed it, to which its marks pass."""
    return msgspec.structs.replace(authorisation, claim=context.new_id(), until=None)


def _hold(
    context: Context, id_: bytes, authorisation: Authorisation, seconds: int | None
) -> Authorisation:
    until = None if seconds is None else context.time + seconds
    marks.hold(context.state, authorisation.marks, id_, until)
    return msgspec.structs.replace(authorisation, until=until)


# --- moments --------------------------------------------------------------------------------------


def decision_is_due(_state: Reader, authorisation: Authorisation, parameters: Parameters) -> int:
    """Return when the payer should have decided."""
    return authorisation.since + parameters.decision_due_s


def answer_is_due(_state: Reader, authorisation: Authorisation, parameters: Parameters) -> int:
    """Return when the other side should have answered."""
    return authorisation.since + parameters.answer_due_s


def _decisions(
    before: State, due: Moment[Authorisation] | None, *, reviewed: bool = False
) -> tuple[Row[Authorisation], ...]:
    """Return how a payer decides in `before`: granted in part, granted, refused."""
    person = (person_decides,) if reviewed else ()
    granted = (keep_grant, hold_while_valid)
    return (
        Row(
            before,
            AuthorisationGrant,
            Party.PAYER,
            State.GRANTED_IN_PART,
            when=names_amount,
            guards=(*person, validity_is_possible, amount_is_point),
            effects=granted,
            due=due,
        ),
        Row(
            before,
            AuthorisationGrant,
            Party.PAYER,
            State.GRANTED,
            guards=(*person, validity_is_possible),
            effects=granted,
            due=due,
        ),
        Row(
            before,
            AuthorisationRefuse,
            Party.PAYER,
            State.REFUSED,
            guards=(*person, not_by_a_machine) if reviewed else (),
            effects=(keep_refusal, hold_in_window),
            due=due,
        ),
    )


LIFE: Final[Life[Authorisation]] = Life(
    name="authorisation",
    thing=Authorisation,
    prefix=b"a",
    parties={Party.OPTICIAN: "optician", Party.PAYER: "payer"},
    unknown=Refusal.AUTHORISATION_UNKNOWN,
    not_yours=Refusal.AUTHORISATION_NOT_YOURS,
    wrong_state=Refusal.AUTHORISATION_IN_WRONG_STATE,
    make=_make,
    state_of=state_of,
    rows=(
        Row(
            None,
            AuthorisationRequest,
            Party.OPTICIAN,
            State.REQUESTED,
            guards=(
                sender_is_optician,
                payer_pays,
                prescription_is_in_force,
                marks_are_locked_and_free,
                amount_is_point,
            ),
            effects=(consume_locks, hold_while_it_waits),
        ),
        Row(
            State.REQUESTED,
            AuthorisationAsk,
            Party.PAYER,
            State.INFO_REQUESTED,
            guards=(room_for_a_question,),
            effects=(keep_question, hold_while_it_waits),
            due=decision_is_due,
        ),
        Row(
            State.INFO_REQUESTED,
            AuthorisationAnswer,
            Party.OPTICIAN,
            State.REQUESTED,
            effects=(keep_answer, hold_while_it_waits),
            due=answer_is_due,
        ),
        *_decisions(State.REQUESTED, decision_is_due),
        *_decisions(State.INFO_REQUESTED, None),  # without the answer, if it does not come
        Row(
            State.REFUSED,
            AuthorisationReview,
            Party.OPTICIAN,
            State.UNDER_REVIEW,
            guards=(machine_refused,),
            effects=(hold_without_end,),
        ),
        *_decisions(State.UNDER_REVIEW, answer_is_due, reviewed=True),
        *(
            Row(
                before,
                AuthorisationCancel,
                Party.OPTICIAN,
                State.CANCELLED,
                effects=(free_marks,),
            )
            for before in (
                State.REQUESTED,
                State.INFO_REQUESTED,
                State.GRANTED,
                State.GRANTED_IN_PART,
                State.REFUSED,
                State.UNDER_REVIEW,
            )
        ),
        *(
            Row(
                before,
                ClaimSubmit,
                Party.OPTICIAN,
                State.CONSUMED,
                guards=(claim_is_the_same,),
                effects=(name_claim,),
            )
            for before in (State.GRANTED, State.GRANTED_IN_PART)
        ),
    ),
)
load, save = LIFE.load, LIFE.save
