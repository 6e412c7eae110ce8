"""Settlements: claims between one payer and one beneficiary, paid together.

The contract sums the commitments to what is due; the total and its blinding reach the beneficiary
by another way, who opens the sum with them. Nobody else ever learns a total. A repayment is the
same the other way round, of claims that were reversed.
"""

from enum import IntEnum
from typing import Final, TypeAlias

import msgspec

from contracts import batch, claim_life, registry
from contracts import claim as claims
from contracts.batch import Settlement, State
from contracts.calls import (
    MAX_SETTLED,
    Direction,
    SettlementAdd,
    SettlementAnnounce,
    SettlementCancel,
    SettlementConfirm,
    SettlementDispute,
    SettlementInsist,
    SettlementOpen,
    SettlementRemove,
    SettlementWithdraw,
)
from contracts.commitment import difference, sum_points
from contracts.context import Context
from contracts.errors import Refusal, Refused
from contracts.life import Life, Row
from contracts.parameters import Parameters
from contracts.state import Reader


class Party(IntEnum):
    """A sender's part in a settlement."""

    PAYER = 1
    BENEFICIARY = 2


def _make(context: Context, call: SettlementOpen) -> Settlement:
    return Settlement(
        context.sender,
        call.beneficiary,
        call.direction,
        context.height,
        context.time,
        context.transaction,
        context.position,
        context.time,
    )


# --- guards ---------------------------------------------------------------------------------------


def beneficiary_is_admitted(
    context: Context, _settlement: Settlement | None, call: SettlementOpen
) -> None:
    """Require that the beneficiary is an admitted member."""
    if registry.admitted(context.state, call.beneficiary) is None:
        raise Refused(Refusal.BENEFICIARY_UNKNOWN)


def there_is_room(_context: Context, settlement: Settlement | None, call: SettlementAdd) -> None:
    """Require that no more than 10,000 claims will be in it."""
    assert settlement is not None  # the row has a state before
    count = settlement.count + len(call.claims)
    if count > MAX_SETTLED:
        raise Refused(Refusal.SETTLEMENT_FULL, count)


def claims_can_enter(context: Context, settlement: Settlement | None, call: SettlementAdd) -> None:
    """Require that each claim, listed once, is one of the two, and accepted (or reversed)."""
    assert settlement is not None  # the row has a state before
    _entering(context, settlement, call)


def claims_are_in_it(
    context: Context, _settlement: Settlement | None, call: SettlementRemove
) -> None:
    """Require that each claim, listed once, is in it."""
    _leaving(context, call)


def it_is_not_empty(
    _context: Context, settlement: Settlement | None, _call: SettlementAnnounce
) -> None:
    """Require that a claim is in it."""
    assert settlement is not None  # the row has a state before
    if settlement.count == 0:
        raise Refused(Refusal.SETTLEMENT_EMPTY)


def sum_is_as_stated(
    _context: Context, settlement: Settlement | None, call: SettlementAnnounce
) -> None:
    """Require that the sum stated is that of the claims in it."""
    assert settlement is not None  # the row has a state before
    if settlement.sum != call.sum:
        raise Refused(Refusal.SUM_DIFFERS)


# --- effects --------------------------------------------------------------------------------------


def put_claims_in(
    context: Context, id_: bytes, settlement: Settlement, call: SettlementAdd
) -> Settlement:
    """Put the claims in, and add what is due of each to the sum."""
    entering = _entering(context, settlement, call)
    for claim_id, (claim, row) in entering.items():
        claim_life.LIFE.take(context, claim_id, claim, row, call)
        context.state.put(batch.place(id_, claim_id), b"")
    return msgspec.structs.replace(
        settlement,
        count=settlement.count + len(entering),
        sum=sum_points((settlement.sum, *(claim.due for claim, _ in entering.values()))),
    )


def take_claims_out(
    context: Context, id_: bytes, settlement: Settlement, call: SettlementRemove
) -> Settlement:
    """Take the claims out, and what is due of each from the sum."""
    leaving = _leaving(context, call)
    for claim_id, (claim, row) in leaving.items():
        claim_life.LIFE.take(context, claim_id, claim, row, call)
        context.state.delete(batch.place(id_, claim_id))
    return msgspec.structs.replace(
        settlement,
        count=settlement.count - len(leaving),
        sum=difference(settlement.sum, (claim.due for claim, _ in leaving.values())),
    )


def keep_payment(
    _context: Context, _id: bytes, settlement: Settlement, call: SettlementAnnounce
) -> Settlement:
    """Keep the commitment to the reference of the payment."""
    return msgspec.structs.replace(settlement, payment=call.payment)


def keep_ground(
    _context: Context, _id: bytes, settlement: Settlement, call: SettlementDispute
) -> Settlement:
    """Keep the ground of the dispute."""
    return msgspec.structs.replace(settlement, ground=call.ground)


# --- moments --------------------------------------------------------------------------------------


def announcement_is_due(_state: Reader, settlement: Settlement, parameters: Parameters) -> int:
    """Return when the payer should have announced it."""
    return settlement.since + parameters.settlement_due_s


def confirmation_is_due(_state: Reader, settlement: Settlement, parameters: Parameters) -> int:
    """Return when the beneficiary should have confirmed or disputed it."""
    return settlement.since + parameters.confirmation_due_s


def answer_is_due(_state: Reader, settlement: Settlement, parameters: Parameters) -> int:
    """Return when the payer should have answered the dispute."""
    return settlement.since + parameters.answer_due_s


# --- what calls list ------------------------------------------------------------------------------


_Listed: TypeAlias = dict[bytes, tuple[claims.Claim, Row[claims.Claim]]]  # with the row it takes


def _entering(context: Context, settlement: Settlement, call: SettlementAdd) -> _Listed:
    """Return the claims that a call puts in, or raise `Refused`."""
    parties = (settlement.payer, settlement.beneficiary)
    if settlement.direction is Direction.REPAYMENT:
        parties = (settlement.beneficiary, settlement.payer)
    found: _Listed = {}
    for index, id_ in enumerate(call.claims):
        if id_ in found:
            raise Refused(Refusal.CLAIM_LISTED_TWICE, index)
        claim = claims.load(context.state, id_)
        if claim is None:
            raise Refused(Refusal.CLAIM_UNKNOWN, index)
        if (claim.payer, claim.submitter) != parties:
            raise Refused(Refusal.CLAIM_OF_OTHERS, index)
        try:
            found[id_] = (claim, claim_life.LIFE.row(context, claim, call))
        except Refused:
            state = claims.state_of(context.state, claim, context.time)
            raise Refused(Refusal.CLAIM_NOT_SETTLEABLE, index, state) from None
    return found


def _leaving(context: Context, call: SettlementRemove) -> _Listed:
    """Return the claims that a call takes out, or raise `Refused`."""
    found: _Listed = {}
    for index, id_ in enumerate(call.claims):
        if id_ in found:
            raise Refused(Refusal.CLAIM_LISTED_TWICE, index)
        claim = claims.load(context.state, id_)
        if claim is None or claim.settlement != call.settlement:
            raise Refused(Refusal.CLAIM_NOT_IN_SETTLEMENT, index)
        found[id_] = (claim, claim_life.LIFE.row(context, claim, call))
    return found


LIFE: Final[Life[Settlement]] = Life(
    name="settlement",
    thing=Settlement,
    prefix=batch.PREFIX,
    parties={Party.PAYER: "payer", Party.BENEFICIARY: "beneficiary"},
    unknown=Refusal.SETTLEMENT_UNKNOWN,
    not_yours=Refusal.SETTLEMENT_NOT_YOURS,
    wrong_state=Refusal.SETTLEMENT_IN_WRONG_STATE,
    make=_make,
    rows=(
        Row(
            None,
            SettlementOpen,
            Party.PAYER,
            State.OPEN,
            guards=(beneficiary_is_admitted,),
        ),
        Row(
            State.OPEN,
            SettlementAdd,
            Party.PAYER,
            State.OPEN,
            guards=(there_is_room, claims_can_enter),
            effects=(put_claims_in,),
        ),
        Row(
            State.OPEN,
            SettlementRemove,
            Party.PAYER,
            State.OPEN,
            guards=(claims_are_in_it,),
            effects=(take_claims_out,),
        ),
        Row(
            State.OPEN,
            SettlementAnnounce,
            Party.PAYER,
            State.ANNOUNCED,
            guards=(it_is_not_empty, sum_is_as_stated),
            effects=(keep_payment,),
        ),
        Row(State.OPEN, SettlementCancel, Party.PAYER, State.CANCELLED),
        # A payer that never announces, or is a member no more, must not hold claims for ever, nor
        # until nobody may dispute what it decided.
        Row(
            State.OPEN,
            SettlementCancel,
            Party.BENEFICIARY,
            State.CANCELLED,
            opens=announcement_is_due,
        ),
        Row(
            State.ANNOUNCED,
            SettlementConfirm,
            Party.BENEFICIARY,
            State.CONFIRMED,
            due=confirmation_is_due,
        ),
        Row(
            State.ANNOUNCED,
            SettlementDispute,
            Party.BENEFICIARY,
            State.DISPUTED,
            effects=(keep_ground,),
            due=confirmation_is_due,
        ),
        # A beneficiary that never answers, or is a member no more, must not hold claims for ever.
        Row(
            State.ANNOUNCED,
            SettlementCancel,
            Party.PAYER,
            State.CANCELLED,
            opens=confirmation_is_due,
        ),
        Row(
            State.DISPUTED,
            SettlementCancel,
            Party.PAYER,
            State.CANCELLED,
            due=answer_is_due,
        ),
        # A payer that never answers neither: nothing but a confirmation would free them.
        Row(
            State.DISPUTED,
            SettlementCancel,
            Party.BENEFICIARY,
            State.CANCELLED,
            opens=answer_is_due,
        ),
        Row(
            State.DISPUTED,
            SettlementInsist,
            Party.PAYER,
            State.UPHELD,
            due=answer_is_due,
        ),
        Row(
            State.DISPUTED,
            SettlementConfirm,
            Party.BENEFICIARY,
            State.CONFIRMED,
        ),
        Row(
            State.DISPUTED,
            SettlementWithdraw,
            Party.BENEFICIARY,
            State.ANNOUNCED,
        ),
        Row(
            State.UPHELD,
            SettlementConfirm,
            Party.BENEFICIARY,
            State.CONFIRMED,
            due=confirmation_is_due,
        ),
        Row(
            State.UPHELD,
            SettlementWithdraw,
            Party.BENEFICIARY,
            State.ANNOUNCED,
        ),
        Row(State.UPHELD, SettlementCancel, Party.PAYER, State.CANCELLED),
    ),
)
load = LIFE.load
