"""The record of a settlement, from which the states of the claims in it follow.

A confirmation cannot touch every claim: each names its settlement, and asks it.
"""

from enum import IntEnum
from typing import Annotated, Final

import msgspec

from contracts.calls import MAX_SETTLED
from contracts.state import Reader
from ledger.encoding import U63_MAX, Struct, decode
from ledger.validators import Bytes16, Bytes32

PREFIX: Final = b"b"  # + settlement -> Settlement


class State(IntEnum):
    """Where a settlement stands."""

    OPEN = 1
    ANNOUNCED = 2
    DISPUTED = 3
    UPHELD = 4
    CONFIRMED = 5
    CANCELLED = 6


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
    since: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]  # when it came to its state
    state: State = State.ANNOUNCED


def load(state: Reader, id_: bytes) -> Settlement | None:
    """Return the settlement with this id, None where there is none."""
    found = state.get(PREFIX + id_)
    return None if found is None else decode(found, Settlement)
