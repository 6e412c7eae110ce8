"""Calls about claims."""

from enum import IntEnum
from typing import Annotated, ClassVar

import msgspec

from contracts.calls.costs import POINT_COST
from contracts.calls.marks import MAX_MARKS, Leg, Mark
from ledger.encoding import Struct
from ledger.validators import Bytes16, Bytes32


class Reason(IntEnum):
    """Why a payer rejects a claim; a closed list (classes of the inter-AMC rejections)."""

    RIGHTS_CLOSED = 1
    INSURED_UNKNOWN = 2
    AMC_UNKNOWN = 3
    DUPLICATE = 4
    PEC_MISSING = 5
    PEC_EXPIRED = 6
    AMOUNT_OVER_PEC = 7
    CODE_INCONSISTENT = 8
    RENEWAL_NOT_DUE = 9
    EARLY_PROOF_MISSING = 10
    PROVIDER_NOT_CONTRACTED = 11
    PRESCRIBER_UNKNOWN = 12
    PRESCRIPTION_INVALID = 13
    FORMAT = 14
    OTHER = 15


class ClaimSubmit(Struct, tag=30):
    """The sender claims an amount from a payer. No part is marked twice, the lenses come first."""

    KIND: ClassVar[int] = 30
    payer: Bytes16
    leg: Leg
    prescription: Bytes32  # as committed
    document: Bytes32  # hash of the signed document with the grouping codes
    amount: Bytes32  # Pedersen commitment to the amount in cents
    marks: Annotated[tuple[Mark, ...], msgspec.Meta(min_length=1, max_length=MAX_MARKS)]
    authorisation: Bytes32 | None  # id of the payer's prior agreement
    prior: Bytes32 | None  # id of the rejected claim that this one replaces

    def __post_init__(self) -> None:
        if len(self.marks) == MAX_MARKS:
            first, second = self.marks
            if first.part >= second.part or first.mark == second.mark:
                raise ValueError("marks must be of ascending parts, and two")

    @property
    def cost(self) -> int:
        """What it costs a block."""
        return 4 + 2 * len(self.marks)


class ClaimAccept(Struct, tag=31):
    """The payer accepts a claim: as submitted, or for the amount of its own commitment."""

    KIND: ClassVar[int] = 31
    claim: Bytes32
    amount: Bytes32 | None  # None: as submitted

    @property
    def cost(self) -> int:
        """What it costs a block."""
        return 2 if self.amount is None else 2 + POINT_COST


class ClaimReject(Struct, tag=32):
    """The payer rejects a claim."""

    KIND: ClassVar[int] = 32
    claim: Bytes32
    reason: Reason
    automatic: bool  # decided by a machine: its author may ask for a person (GDPR, art. 22)

    @property
    def cost(self) -> int:
        """What it costs a block."""
        return 2


class ClaimCancel(Struct, tag=33):
    """The submitter takes a claim back, which frees its marks."""

    KIND: ClassVar[int] = 33
    claim: Bytes32

    @property
    def cost(self) -> int:
        """What it costs a block."""
        return 2 + MAX_MARKS
