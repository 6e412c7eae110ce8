"""Erasures: who asked whom to erase what it was told, and what became of that.

What is to be erased stands in none of this: a salted commitment names it to those two alone, and
once the salt is destroyed to nobody.
"""

from enum import IntEnum
from typing import Annotated, Final

import msgspec

from contracts import disclosure
from contracts.calls import ErasureOutcome, ErasureRequest, ErasureStatement
from contracts.context import Context
from contracts.errors import Refusal, Refused
from contracts.life import Life, Row
from ledger.encoding import U63_MAX, Struct
from ledger.validators import Bytes16, Bytes32


class State(IntEnum):
    """Where an erasure stands."""

    REQUESTED = 1
    HELD = 2  # the law has it kept for some time yet
    STATED = 3


class Party(IntEnum):
    """A sender's part in an erasure."""

    REQUESTER = 1
    RECIPIENT = 2


class Erasure(Struct):
    """An erasure that was asked for, by its id."""

    requester: Bytes16
    recipient: Bytes16  # of what is to be erased
    commitment: Bytes32
    height: Annotated[int, msgspec.Meta(ge=1, le=U63_MAX)]  # of the request
    time: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]  # block time of the request
    since: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]  # block time: when it came to its state
    state: State = State.REQUESTED
    outcome: ErasureOutcome | None = None  # once the recipient has said


def _make(context: Context, call: ErasureRequest) -> Erasure:
    return Erasure(
        context.sender,
        call.recipient,
        call.commitment,
        context.height,
        context.time,
        context.time,
    )


def recipient_is_another(context: Context, _erasure: Erasure | None, call: ErasureRequest) -> None:
    """Require that the recipient is another member, which is admitted."""
    disclosure.require_counterpart(context, call.recipient)


def commitment_is_new(context: Context, _erasure: Erasure | None, call: ErasureRequest) -> None:
    """Require that the sender did not make this commitment before."""
    disclosure.require_new(context, call.commitment)


def is_erased_now(_context: Context, erasure: Erasure | None, call: ErasureStatement) -> None:
    """Require that it is erased now."""
    assert erasure is not None  # the row has a state before
    if call.outcome is not ErasureOutcome.ERASED:
        raise Refused(Refusal.ERASURE_IN_WRONG_STATE, erasure.state)


def law_holds_it(_context: Context, _erasure: Erasure | None, call: ErasureStatement) -> bool:
    """Return whether the law has it kept for some time yet."""
    return call.outcome is ErasureOutcome.HELD_BY_LAW


def let_commitment_stand(
    context: Context, _id: bytes, erasure: Erasure, call: ErasureRequest
) -> Erasure:
    """Let the commitment stand."""
    disclosure.stand(context, call.commitment)
    return erasure


def keep_outcome(
    _context: Context, _id: bytes, erasure: Erasure, call: ErasureStatement
) -> Erasure:
    """Keep what became of it."""
    return msgspec.structs.replace(erasure, outcome=call.outcome)


LIFE: Final[Life[Erasure]] = Life(
    name="erasure",
    thing=Erasure,
    prefix=b"E",
    parties={Party.REQUESTER: "requester", Party.RECIPIENT: "recipient"},
    unknown=Refusal.ERASURE_UNKNOWN,
    not_yours=Refusal.ERASURE_NOT_YOURS,
    wrong_state=Refusal.ERASURE_IN_WRONG_STATE,
    make=_make,
    subject="request",
    rows=(
        Row(
            None,
            ErasureRequest,
            Party.REQUESTER,
            State.REQUESTED,
            guards=(recipient_is_another, commitment_is_new),
            effects=(let_commitment_stand,),
        ),
        Row(
            State.REQUESTED,
            ErasureStatement,
            Party.RECIPIENT,
            State.HELD,
            when=law_holds_it,
            effects=(keep_outcome,),
        ),
        Row(
            State.REQUESTED,
            ErasureStatement,
            Party.RECIPIENT,
            State.STATED,
            effects=(keep_outcome,),
        ),
        Row(
            State.HELD,
            ErasureStatement,
            Party.RECIPIENT,
            State.STATED,
            guards=(is_erased_now,),
            effects=(keep_outcome,),
        ),
    ),
)
load = LIFE.load
