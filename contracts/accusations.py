"""Who was convicted of breaking the rules of agreement: one record for each deed, for ever."""

from typing import Annotated, Final

import msgspec

from contracts.errors import AlreadyAccused
from contracts.state import Overlay, Reader
from ledger.block import MAX_EVIDENCE, Accusation, Height
from ledger.encoding import Struct, decode, encode
from ledger.validators import Bytes16

_OFFENCE: Final = b"o"  # + offence -> Conviction; never removed


class Conviction(Struct):
    """Who did it, when, and which evidence in which block proves it."""

    member: Bytes16
    height: Height  # of the deed
    included: Height  # of the block that holds the evidence
    index: Annotated[int, msgspec.Meta(ge=0, lt=MAX_EVIDENCE)]  # of the evidence in its body


def record(state: Overlay, accusation: Accusation, included: int, index: int) -> None:
    """Record a deed; raise `AlreadyAccused` where it is recorded."""
    if conviction(state, accusation.offence) is not None:
        raise AlreadyAccused(accusation.offence)
    made = Conviction(accusation.member, accusation.height, included, index)
    state.put(_OFFENCE + accusation.offence, encode(made))


def conviction(state: Reader, offence: bytes) -> Conviction | None:
    """Return the record of a deed, None where there is none."""
    found = state.get(_OFFENCE + offence)
    return None if found is None else decode(found, Conviction)
