"""Calls about claims."""

from enum import IntEnum
from typing import ClassVar

from contracts.calls.costs import POINT_COST
from contracts.calls.marks import HOLD_COST, MAX_MARKS, Leg, Marks, are_ordered
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


class ClaimGround(IntEnum):
    """What is disputed; a closed list, in which each stands for one side and one decision."""

    REJECTION = 1  # the submitter: that it was rejected
    AMOUNT = 2  # the submitter: that it was accepted in part
    PAYMENT_NOT_FOUND = 3  # the submitter: what is said to be due or paid did not arrive
    ACCEPTANCE = 4  # the payer: that it accepted
    RECOVERY = 5  # the submitter: that the payer asks a payment back


class ClaimSubmit(Struct, tag=30):
    """The sender claims an amount from a payer."""

    KIND: ClassVar[int] = 30
    payer: Bytes16
    leg: Leg
    prescription: Bytes32  # as committed
    document: Bytes32  # hash of the signed document with the grouping codes
    amount: Bytes32  # Pedersen commitment to the amount in cents
    marks: Marks
    authorisation: Bytes32 | None  # id of the payer's prior agreement
    prior: Bytes32 | None  # id of the rejected claim that this one replaces

    def __post_init__(self) -> None:
        if not are_ordered(self.marks):
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
    cost: ClassVar[int] = 2 + HOLD_COST
    claim: Bytes32
    reason: Reason
    automatic: bool  # decided by a machine: its author may ask for a person (GDPR, art. 22)


class ClaimCancel(Struct, tag=33):
    """The submitter takes a claim back, which frees its marks."""

    KIND: ClassVar[int] = 33
    cost: ClassVar[int] = 2 + MAX_MARKS
    claim: Bytes32


class ClaimAbandon(Struct, tag=130):
    """The submitter gives a rejected claim up, which frees its marks."""

    KIND: ClassVar[int] = 130
    cost: ClassVar[int] = 2 + MAX_MARKS
    claim: Bytes32


class ClaimReverse(Struct, tag=131):
    """The submitter takes a settled claim back: it will repay it, and its marks are free."""

    KIND: ClassVar[int] = 131
    cost: ClassVar[int] = 3 + MAX_MARKS
    claim: Bytes32


class ClaimRecover(Struct, tag=132):
    """The payer asks back what it paid without owing it."""

    KIND: ClassVar[int] = 132
    cost: ClassVar[int] = 3  # its settlement is looked at
    claim: Bytes32
    reason: Reason


class ClaimConcede(Struct, tag=133):
    """The submitter agrees that it was not owed: it will repay it, and its marks are free."""

    KIND: ClassVar[int] = 133
    cost: ClassVar[int] = 3 + MAX_MARKS
    claim: Bytes32


class ClaimDispute(Struct, tag=134):
    """One side says that the other is wrong."""

    KIND: ClassVar[int] = 134
    cost: ClassVar[int] = 2 + HOLD_COST
    claim: Bytes32
    ground: ClaimGround


class ClaimUphold(Struct, tag=135):
    """The other side stands by what is disputed."""

    KIND: ClassVar[int] = 135
    cost: ClassVar[int] = 2 + HOLD_COST
    claim: Bytes32


class ClaimOverturn(Struct, tag=136):
    """The other side agrees that it was wrong."""

    KIND: ClassVar[int] = 136
    claim: Bytes32
    amount: Bytes32 | None  # of a claim that is accepted now after all; None: as submitted

    @property
    def cost(self) -> int:
        """What it costs a block."""
        return 2 + MAX_MARKS + (0 if self.amount is None else POINT_COST)


class ClaimWithdraw(Struct, tag=137):
    """Who disputes, or asks back, does so no more."""

    KIND: ClassVar[int] = 137
    cost: ClassVar[int] = 2 + HOLD_COST
    claim: Bytes32


class ClaimClose(Struct, tag=138):
    """The payer is done with a settled claim: it will ask nothing back."""

    KIND: ClassVar[int] = 138
    cost: ClassVar[int] = 3  # its settlement is looked at
    claim: Bytes32


class ClaimSupersede(Struct, tag=139):
    """The submitter puts a rectified document in the place of the claim's, before it is decided."""

    KIND: ClassVar[int] = 139
    cost: ClassVar[int] = 2
    claim: Bytes32
    document: Bytes32
