"""The calls that a transaction may hold: one type each, told apart by a number in its encoding.

Every field has a fixed type and a fixed or bounded length; there is no text. A call is encoded as
the array of its number and its fields.
"""

from enum import IntEnum
from itertools import pairwise
from typing import Annotated, ClassVar, Final, TypeAlias, assert_never, cast

import msgspec

from ledger.encoding import U32_MAX, U63_MAX, Struct, decode, encode
from ledger.validators import MAX_VALIDATORS, Bytes16, Bytes32

MAX_MARKS: Final = 2  # lenses and frame
MAX_SETTLED: Final = 256  # claims of one settlement: they fit in one call
_CHANGE_COST: Final = 64  # of the validators: new keys, and a set that may be long
_SIGNATURE_COST: Final = 18
_POSSESSION: Final = 3  # signatures, one by each key

Term = Annotated[int, msgspec.Meta(ge=0, le=U32_MAX)]  # counts changes of who runs validators
SignatureBytes = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


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


class ValidatorKeys(Struct):
    """The public keys by which a validator is known; no two are the same."""

    consensus: Bytes32
    checkpoint: Bytes32
    node: Bytes32

    def __post_init__(self) -> None:
        if len({self.consensus, self.checkpoint, self.node}) < len(self.__struct_fields__):
            raise ValueError("two of a validator's keys are one")


# What is approved, and what new keys sign. It is encoded behind the number of its call.


class Joining(Struct, tag=50):
    """A member begins to run a validator."""

    member: Bytes16
    keys: ValidatorKeys
    term: Term  # the one in which it was approved, and the only one in which it can be made
    valid_until: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]  # block time, unix seconds


class Leaving(Struct, tag=51):
    """A member ceases to run a validator."""

    member: Bytes16
    term: Term
    valid_until: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]


class Replacing(Struct, tag=52):
    """A member takes the place of another among the validators."""

    leaving: Bytes16
    member: Bytes16
    keys: ValidatorKeys
    term: Term
    valid_until: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]


class Rotating(Struct, tag=53):
    """A member gives its validator other keys; those that stay are named again."""

    member: Bytes16
    keys: ValidatorKeys


Approved: TypeAlias = Joining | Leaving | Replacing
Change: TypeAlias = Approved | Rotating


class Approval(Struct):
    """A member that runs a validator agrees to a change."""

    member: Bytes16
    key_id: Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]  # of a transaction key
    signature: SignatureBytes


Approvals = Annotated[tuple[Approval, ...], msgspec.Meta(max_length=MAX_VALIDATORS)]


class Possession(Struct):
    """Whoever asks has the keys, and his node is near the head: it knows a recent block."""

    height: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]
    block_id: Bytes32
    consensus: SignatureBytes  # by each key, the one that stays too
    checkpoint: SignatureBytes
    node: SignatureBytes


class ValidatorJoin(Struct, tag=50):
    """The sender begins to run a validator."""

    KIND: ClassVar[int] = 50
    change: Joining
    approvals: Approvals  # by ascending member
    possession: Possession

    def __post_init__(self) -> None:
        if not _is_ascending(self.approvals):
            raise ValueError("approvals must be by ascending member, one of each")


class ValidatorLeave(Struct, tag=51):
    """A validator is taken out."""

    KIND: ClassVar[int] = 51
    change: Leaving
    approvals: Approvals

    def __post_init__(self) -> None:
        if not _is_ascending(self.approvals):
            raise ValueError("approvals must be by ascending member, one of each")


class ValidatorReplace(Struct, tag=52):
    """The sender's validator takes the place of another one."""

    KIND: ClassVar[int] = 52
    change: Replacing
    approvals: Approvals
    possession: Possession

    def __post_init__(self) -> None:
        if not _is_ascending(self.approvals):
            raise ValueError("approvals must be by ascending member, one of each")


class ValidatorRotate(Struct, tag=53):
    """The sender's validator gets other keys."""

    KIND: ClassVar[int] = 53
    change: Rotating
    possession: Possession


Call: TypeAlias = (
    PrescriptionCommit
    | MarkLock
    | ClaimSubmit
    | ClaimAccept
    | ClaimReject
    | ClaimCancel
    | SettlementCreate
    | SettlementConfirm
    | ValidatorJoin
    | ValidatorLeave
    | ValidatorReplace
    | ValidatorRotate
)


def _is_ascending(approvals: tuple[Approval, ...]) -> bool:
    members = [approval.member for approval in approvals]
    return all(one < other for one, other in pairwise(members))


def parse_call(data: bytes) -> Call:
    """Return the call that `data` encodes, or raise `ledger.errors.Malformed`."""
    return decode(data, cast("type[Call]", Call), kind="call")


def encode_call(call: Call) -> bytes:
    """Return the one encoding of `call`."""
    return encode(call)


def cost_of(call: Call) -> int:
    """Return what a call costs a block: about the pairs of the state it hashes (8 µs each).

    Parsing a point, and adding one, count as three, verifying a signature as eighteen.
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
        case ValidatorJoin() | ValidatorReplace():
            return _CHANGE_COST + _SIGNATURE_COST * (_POSSESSION + len(call.approvals))
        case ValidatorLeave():
            return _CHANGE_COST + _SIGNATURE_COST * len(call.approvals)
        case ValidatorRotate():
            return _CHANGE_COST + _SIGNATURE_COST * _POSSESSION
        case _:
            assert_never(call)
