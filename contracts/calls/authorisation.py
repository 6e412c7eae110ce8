"""Calls about prior agreements (*prises en charge*): asked before anything is claimed."""

from typing import Annotated, ClassVar

import msgspec

from contracts.calls.claim import Reason
from contracts.calls.costs import POINT_COST
from contracts.calls.marks import HOLD_COST, MAX_MARKS, Leg, Marks, are_ordered
from ledger.encoding import U63_MAX, Struct
from ledger.validators import Bytes16, Bytes32


class AuthorisationRequest(Struct, tag=100):
    """The sender asks a payer to agree beforehand; it takes marks as a claim does."""

    KIND: ClassVar[int] = 100
    payer: Bytes16
    leg: Leg
    prescription: Bytes32  # as committed
    document: Bytes32  # hash of the signed document with the grouping codes
    amount: Bytes32  # Pedersen commitment to the amount in cents
    marks: Marks

    def __post_init__(self) -> None:
        if not are_ordered(self.marks):
            raise ValueError("marks must be of ascending parts, and two")

    @property
    def cost(self) -> int:
        """What it costs a block."""
        return 4 + 2 * len(self.marks)


class AuthorisationAsk(Struct, tag=101):
    """The payer asks one of the two questions that there are; it travels sealed."""

    KIND: ClassVar[int] = 101
    cost: ClassVar[int] = 2 + HOLD_COST
    authorisation: Bytes32
    question: Bytes32  # commitment, contracts.questions


class AuthorisationAnswer(Struct, tag=102):
    """The optician answers; that it cannot be proved here is an answer too."""

    KIND: ClassVar[int] = 102
    cost: ClassVar[int] = 2 + HOLD_COST
    authorisation: Bytes32
    answer: Bytes32  # commitment, contracts.questions


class AuthorisationGrant(Struct, tag=103):
    """The payer agrees: to what is asked, or to the amount of its own commitment."""

    KIND: ClassVar[int] = 103
    authorisation: Bytes32
    amount: Bytes32 | None  # None: as asked
    valid_until: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]  # block time, unix seconds

    @property
    def cost(self) -> int:
        """What it costs a block."""
        return 2 + HOLD_COST + (0 if self.amount is None else POINT_COST)


class AuthorisationRefuse(Struct, tag=104):
    """The payer does not agree."""

    KIND: ClassVar[int] = 104
    cost: ClassVar[int] = 2 + HOLD_COST
    authorisation: Bytes32
    reason: Reason
    automatic: bool  # decided by a machine: its author may ask for a person (GDPR, art. 22)


class AuthorisationCancel(Struct, tag=105):
    """The optician needs it no more, which frees its marks."""

    KIND: ClassVar[int] = 105
    cost: ClassVar[int] = 2 + MAX_MARKS
    authorisation: Bytes32


class AuthorisationReview(Struct, tag=106):
    """The optician asks that a person decides what a machine refused."""

    KIND: ClassVar[int] = 106
    cost: ClassVar[int] = 2 + HOLD_COST
    authorisation: Bytes32
