"""The calls that a transaction may hold: one type each, told apart by a number in its encoding.

Every field has a fixed type and a fixed or bounded length; there is no text. A call is encoded as
the array of its number and its fields.
"""

from enum import IntEnum
from typing import Annotated, ClassVar, Final, TypeAlias, assert_never, cast

import msgspec

from ledger.encoding import Struct, decode, encode
from ledger.validators import Bytes16, Bytes32

MAX_MARKS: Final = 2  # lenses and frame
MAX_SETTLED: Final = 256  # claims of one settlement: they fit in one call


class Leg(IntEnum):
    """Which of the two payers of one equipment a claim is for."""

    BASE = 0  # the basic scheme
    COMPLEMENTARY = 1


class Part(IntEnum):
    """What of an equipment a mark stands for."""

    LENSES = 0
    FRAME = 1


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


class PrescriptionCommit(Struct, tag=10):
    """The sender holds a prescription: the hash of its signed document."""

    KIND: ClassVar[int] = 10
    commitment: Bytes32


class MarkLock(Struct, tag=20):
    """The sender will use a mark, which is not told yet: H(LOCK, chain id, member, mark)."""

    KIND: ClassVar[int] = 20
    lock: Bytes32


class Mark(Struct):
    """A one-use mark and what it stands for: H(MARK, secret, leg, part, ordinal)."""

    part: Part
    mark: Bytes32


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


class ClaimAccept(Struct, tag=31):
    """The payer accepts a claim: as submitted, or for the amount of its own commitment."""

    KIND: ClassVar[int] = 31
    claim: Bytes32
    amount: Bytes32 | None  # None: as submitted


class ClaimReject(Struct, tag=32):
    """The payer rejects a claim."""

    KIND: ClassVar[int] = 32
    claim: Bytes32
    reason: Reason
    automatic: bool  # decided by a machine: its author may ask for a person (GDPR, art. 22)


class ClaimCancel(Struct, tag=33):
    """The submitter takes a claim back, which frees its marks."""

    KIND: ClassVar[int] = 33
    claim: Bytes32


class SettlementCreate(Struct, tag=40):
    """The payer settles accepted claims of one beneficiary together."""

    KIND: ClassVar[int] = 40
    beneficiary: Bytes16
    claims: Annotated[tuple[Bytes32, ...], msgspec.Meta(min_length=1, max_length=MAX_SETTLED)]
    payment: Bytes32 | None  # commitment to a reference of the payment


class SettlementConfirm(Struct, tag=41):
    """The beneficiary found the sum right."""

    KIND: ClassVar[int] = 41
    settlement: Bytes32


Call: TypeAlias = (
    PrescriptionCommit
    | MarkLock
    | ClaimSubmit
    | ClaimAccept
    | ClaimReject
    | ClaimCancel
    | SettlementCreate
    | SettlementConfirm
)


def parse_call(data: bytes) -> Call:
    """Return the call that `data` encodes, or raise `ledger.errors.Malformed`."""
    return decode(data, cast("type[Call]", Call), kind="call")


def encode_call(call: Call) -> bytes:
    """Return the one encoding of `call`."""
    return encode(call)


def cost_of(call: Call) -> int:
    """Return what a call costs a block: about the pairs of the state it hashes (8 µs each).

    Parsing a point, and adding one, count as three.
    """
    match call:
        case PrescriptionCommit() | MarkLock():
            return 1
        case ClaimSubmit():
            return 4 + 2 * len(call.marks)
        case ClaimAccept():
            return 2 if call.amount is None else 5
        case ClaimReject() | SettlementConfirm():
            return 2
        case ClaimCancel():
            return 2 + MAX_MARKS
        case SettlementCreate():
            return 1 + 5 * len(call.claims)
        case _:
            assert_never(call)
