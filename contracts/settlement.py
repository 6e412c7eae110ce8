"""Settlements: accepted claims of one payer and one beneficiary, paid together.

The contract sums the commitments; the total and its blinding reach the beneficiary by another way,
who opens the sum with them and confirms it. Nobody else ever learns a total.
"""

from enum import IntEnum
from typing import Annotated, Final

import msgspec

from contracts import claim as claims
from contracts import registry
from contracts.calls import MAX_SETTLED, SettlementConfirm, SettlementCreate
from contracts.commitment import sum_points
from contracts.context import Context
from contracts.errors import Refusal, Refused
from contracts.life import Life, Row
from contracts.state import Reader
from ledger.encoding import U63_MAX, Struct
from ledger.validators import Bytes16, Bytes32


class State(IntEnum):
    """Where a settlement, and every claim in it, stands."""

    CREATED = 1
    SETTLED = 2


class Party(IntEnum):
    """A sender's part in a settlement."""

    PAYER = 1
    BENEFICIARY = 2


class Settlement(Struct):
    """A settlement, by its id."""

    payer: Bytes16
    beneficiary: Bytes16
    claims: Annotated[tuple[Bytes32, ...], msgspec.Meta(min_length=1, max_length=MAX_SETTLED)]
    sum: Bytes32  # of the commitments to what is due
    payment: Bytes32 | None
    height: Annotated[int, msgspec.Meta(ge=1, le=U63_MAX)]  # of its creation, as the next three
    time: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]  # unix seconds
    transaction: Bytes32
    position: Annotated[int, msgspec.Meta(ge=0, le=255)]
    state: State = State.CREATED


def _make(context: Context, call: SettlementCreate) -> Settlement:
    found = _claims(context, call)
    return Settlement(
        context.sender,
        call.beneficiary,
        call.claims,
        sum_points(claim.due for claim in found.values()),
        call.payment,
        context.height,
        context.time,
        context.transaction,
        context.position,
    )


def beneficiary_is_admitted(
    context: Context, _settlement: Settlement | None, call: SettlementCreate
) -> None:
    """Require that the beneficiary is an admitted member."""
    if registry.admitted(context.state, call.beneficiary) is None:
        raise Refused(Refusal.BENEFICIARY_UNKNOWN)


def claims_can_be_settled(
    context: Context, _settlement: Settlement | None, call: SettlementCreate
) -> None:
    """Require that each claim is an accepted one of the two, listed once."""
    _claims(context, call)


def batch_claims(
    context: Context, id_: bytes, settlement: Settlement, call: SettlementCreate
) -> Settlement:
    """Put its claims into it."""
    for claim_id, claim in _claims(context, call).items():
        batched = msgspec.structs.replace(claim, settlement=id_)
        row = claims.LIFE.row(context, batched, call)
        claims.LIFE.take(context, claim_id, batched, row, call)
    return settlement


def _claims(context: Context, call: SettlementCreate) -> dict[bytes, claims.Claim]:
    """Return the claims that a call lists, or raise `Refused`."""
    found: dict[bytes, claims.Claim] = {}
    for index, id_ in enumerate(call.claims):
        if id_ in found:
            raise Refused(Refusal.CLAIM_LISTED_TWICE, index)
        claim = claims.load(context.state, id_)
        if claim is None or claim.submitter != call.beneficiary:
            raise Refused(Refusal.CLAIM_NOT_SETTLEABLE, index)
        try:
            claims.LIFE.row(context, claim, call)
        except Refused:
            raise Refused(Refusal.CLAIM_NOT_SETTLEABLE, index) from None
        found[id_] = claim
    return found


LIFE: Final = Life(
    name="settlement",
    thing=Settlement,
    prefix=b"b",
    parties={Party.PAYER: "payer", Party.BENEFICIARY: "beneficiary"},
    unknown=Refusal.SETTLEMENT_UNKNOWN,
    not_yours=Refusal.SETTLEMENT_NOT_YOURS,
    wrong_state=Refusal.SETTLEMENT_IN_WRONG_STATE,
    make=_make,
    rows=(
        Row(
            None,
            SettlementCreate,
            Party.PAYER,
            State.CREATED,
            guards=(beneficiary_is_admitted, claims_can_be_settled),
            effects=(batch_claims,),
        ),
        Row(State.CREATED, SettlementConfirm, Party.BENEFICIARY, State.SETTLED),
    ),
)
load = LIFE.load


def is_settled(state: Reader, claim: claims.Claim) -> bool:
    """Return whether the beneficiary of `claim` confirmed the settlement that it is in."""
    if claim.settlement is None:
        return False
    settlement = load(state, claim.settlement)
    return settlement is not None and settlement.state is State.SETTLED
