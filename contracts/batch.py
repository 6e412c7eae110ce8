"""The record of a settlement, from which the states of the claims in it follow.

A confirmation cannot touch ten thousand claims: each names its settlement, and asks it.
"""

from enum import IntEnum
from typing import Annotated, Final

import msgspec

from contracts.calls import MAX_SETTLED, Direction, Ground
from contracts.commitment import IDENTITY
from contracts.state import Reader
from ledger.encoding import U63_MAX, Struct, decode
from ledger.hashing import Hash
from ledger.validators import Bytes16, Bytes32

PREFIX: Final = b"b"  # + settlement -> Settlement
_PLACE: Final = b"q"  # + settlement + claim -> nothing: the claim was put into it


class State(IntEnum):
    """Where a settlement stands."""

    OPEN = 1
    ANNOUNCED = 2
    DISPUTED = 3
    UPHELD = 4  # disputed, and the payer insists
    CONFIRMED = 5
    CANCELLED = 6


class Settlement(Struct):
    """A settlement, by its id."""

    payer: Bytes16  # of this settlement: of a repayment, who claimed
    beneficiary: Bytes16
    direction: Direction
    height: Annotated[int, msgspec.Meta(ge=1, le=U63_MAX)]  # of its opening, as the next three
    time: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]  # unix seconds
    transaction: Bytes32
    position: Annotated[int, msgspec.Meta(ge=0, le=255)]
    since: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]  # when it came into its state, but for
    state: State = State.OPEN  # claims put in and taken out
    count: Annotated[int, msgspec.Meta(ge=0, le=MAX_SETTLED)] = 0  # claims in it
    sum: Bytes32 = IDENTITY  # of the commitments to what is due
    payment: Bytes32 | None = None  # once announced, if the payer committed to a reference
    ground: Ground | None = None  # of the last dispute


def load(state: Reader, id_: bytes) -> Settlement | None:
    """Return the settlement with this id, None where there is none."""
    found = state.get(PREFIX + id_)
    return None if found is None else decode(found, Settlement)


def place(settlement: bytes, claim: bytes) -> bytes:
    """Return the key that stands in the state while the claim is in the settlement."""
    return _PLACE + settlement + claim


def claims_of(state: Reader, settlement: bytes) -> list[Hash]:
    """Return the claims of a settlement, by ascending id; once cancelled, those it had."""
    prefix = _PLACE + settlement
    return [Hash(key[len(prefix) :]) for key, _ in state.scan(prefix, MAX_SETTLED)]
