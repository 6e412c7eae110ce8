"""Settlements: accepted claims of one payer and one beneficiary, paid together.

The contract sums the commitments; the total and its blinding reach the beneficiary by another way,
who opens the sum with them and confirms it. Nobody else ever learns a total.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Annotated, Final

import msgspec

from contracts import claim as claims
from contracts import registry
from contracts.calls import MAX_SETTLED, SettlementConfirm, SettlementCreate
from contracts.commitment import sum_points
from contracts.context import Concerned, Context
from contracts.errors import Refusal, Refused
from contracts.state import Reader
from ledger.encoding import U63_MAX, Struct, decode, encode
from ledger.validators import Bytes16, Bytes32, MemberId

_SETTLEMENT: Final = b"b"  # + settlement -> Settlement


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


# (state, call) -> (who may, state after)
LIFE: Final[Mapping[tuple[State | None, type], tuple[Party, State]]] = {
    (None, SettlementCreate): (Party.PAYER, State.CREATED),
    (State.CREATED, SettlementConfirm): (Party.BENEFICIARY, State.SETTLED),
}


def create(context: Context, call: SettlementCreate) -> Concerned:
    """Settle claims as their payer, or raise `Refused`. It concerns the beneficiary."""
    state = context.state
    if registry.admitted(state, call.beneficiary) is None:
        raise Refused(Refusal.BENEFICIARY_UNKNOWN)
    batched: dict[bytes, claims.Claim] = {}
    for index, id_ in enumerate(call.claims):
        if id_ in batched:
            raise Refused(Refusal.CLAIM_LISTED_TWICE, index)
        claim = claims.load(state, id_)
        if claim is None or claim.payer != context.sender or claim.submitter != call.beneficiary:
            raise Refused(Refusal.CLAIM_NOT_SETTLEABLE, index)
        step = claims.LIFE.get((claim.state, SettlementCreate))
        if step is None:
            raise Refused(Refusal.CLAIM_NOT_SETTLEABLE, index)
        batched[id_] = claim
    id_ = context.new_id()
    total = sum_points(claim.due for claim in batched.values())
    for claim_id, claim in batched.items():
        after = msgspec.structs.replace(claim, state=claims.State.BATCHED, settlement=id_)
        claims.save(state, claim_id, after)
    settlement = Settlement(
        context.sender,
        call.beneficiary,
        call.claims,
        total,
        call.payment,
        context.height,
        context.time,
        context.transaction,
        context.position,
    )
    state.put(_SETTLEMENT + id_, encode(settlement))
    return (MemberId(call.beneficiary),)


def confirm(context: Context, call: SettlementConfirm) -> Concerned:
    """Confirm a sum as its beneficiary, or raise `Refused`. It concerns the payer."""
    settlement = load(context.state, call.settlement)
    if settlement is None:
        raise Refused(Refusal.SETTLEMENT_UNKNOWN)
    if context.sender != settlement.beneficiary:
        raise Refused(Refusal.SETTLEMENT_NOT_YOURS)
    step = LIFE.get((settlement.state, SettlementConfirm))
    if step is None:
        raise Refused(Refusal.SETTLEMENT_IN_WRONG_STATE, settlement.state)
    after = msgspec.structs.replace(settlement, state=step[1])
    context.state.put(_SETTLEMENT + call.settlement, encode(after))
    return (MemberId(settlement.payer),)


def load(state: Reader, id_: bytes) -> Settlement | None:
    """Return the settlement with this id, None where there is none."""
    found = state.get(_SETTLEMENT + id_)
    return None if found is None else decode(found, Settlement)


def is_settled(state: Reader, claim: claims.Claim) -> bool:
    """Return whether the beneficiary of `claim` confirmed the settlement that it is in."""
    if claim.settlement is None:
        return False
    settlement = load(state, claim.settlement)
    return settlement is not None and settlement.state is State.SETTLED
