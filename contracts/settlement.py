"""Settlements: accepted claims of one payer and one beneficiary, paid together.

The contract sums the commitments; the total and its blinding reach the beneficiary by another way,
who opens the sum with them and confirms it. Nobody else ever learns a total.
"""

from enum import IntEnum
from typing import Final

import msgspec

from contracts import batch, claim_life, registry
from contracts import claim as claims
from contracts.batch import Settlement, State
from contracts.calls import SettlementConfirm, SettlementCreate
from contracts.commitment import sum_points
from contracts.context import Context
from contracts.errors import Refusal, Refused
from contracts.life import Life, Row


class Party(IntEnum):
    """A sender's part in a settlement."""

    PAYER = 1
    BENEFICIARY = 2


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
        context.time,
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
        row = claim_life.LIFE.row(context, batched, call)
        claim_life.LIFE.take(context, claim_id, batched, row, call)
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
            claim_life.LIFE.row(context, claim, call)
        except Refused:
            raise Refused(Refusal.CLAIM_NOT_SETTLEABLE, index) from None
        found[id_] = claim
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
            SettlementCreate,
            Party.PAYER,
            State.ANNOUNCED,
            guards=(beneficiary_is_admitted, claims_can_be_settled),
            effects=(batch_claims,),
        ),
        Row(State.ANNOUNCED, SettlementConfirm, Party.BENEFICIARY, State.CONFIRMED),
    ),
)
load = LIFE.load
