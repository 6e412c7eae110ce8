"""One-use marks, and the call that announces one."""

from enum import IntEnum
from itertools import pairwise
from typing import Annotated, ClassVar, Final, TypeAlias

import msgspec

from ledger.encoding import Struct
from ledger.validators import Bytes32

MAX_MARKS: Final = 2  # of one claim: lenses and frame
HOLD_COST: Final = 2 * MAX_MARKS  # to say anew until when they are held


class Leg(IntEnum):
    """Which of the two payers of one equipment a claim is for."""

    BASE = 0  # the basic scheme
    COMPLEMENTARY = 1


class Part(IntEnum):
    """What of an equipment a mark stands for."""

    LENSES = 0
    FRAME = 1


class MarkLock(Struct, tag=20):
    """The sender will use a mark, which is not told yet: H(LOCK, chain id, member, mark)."""

    KIND: ClassVar[int] = 20
    cost: ClassVar[int] = 2
    lock: Bytes32


class Mark(Struct):
    """A one-use mark and what it stands for: H(MARK, secret, leg, part, ordinal)."""

    part: Part
    mark: Bytes32


# What one claim or one prior agreement is for: no part twice, the lenses come first.
Marks: TypeAlias = Annotated[tuple[Mark, ...], msgspec.Meta(min_length=1, max_length=MAX_MARKS)]


def are_ordered(marks: tuple[Mark, ...]) -> bool:
    """Return whether these marks are of ascending parts, and differ."""
    return all(a.part < b.part and a.mark != b.mark for a, b in pairwise(marks))
