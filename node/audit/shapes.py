"""The closed list of fields that calls have: what each may hold, and what stands in its bytes.

What a field may hold is read off the types of the calls; what its bytes stand for is written here.
A test sees that no field of bytes is without an entry, so that a new one must be thought about.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum, IntEnum
from typing import Final, get_args

from msgspec import inspect

from contracts.calls import Call
from ledger.encoding import Struct

SUBJECT: Final = ":"  # stands before the name of the type, where a field holds one of several


class Stands(Enum):
    """What the bytes of a field stand for; bytes of two kinds are never the same by right."""

    MEMBER = "a member"
    THING = "what was made before"  # a claim, prior agreement, settlement, proposal
    PRESCRIPTION = "a prescription"
    DOCUMENT = "a document with the codes of a claim"
    AMOUNT = "an amount"
    QUESTION = "a question"
    ANSWER = "an answer"
    PAYMENT = "a reference of a payment"
    DISCLOSURE = "what was disclosed, to be erased or acknowledged"
    LOCK = "a lock of a mark"
    MARK = "a mark"
    KEY = "a public key"
    KEY_NAME = "the name of a key"
    CERTIFICATE = "a certificate"
    TABLE = "a reference table"
    BLOCK = "a block"
    SIGNATURE = "a signature"
    COUNTRY = "a country"
    NONCE = "what makes a transaction another one"


@dataclass(frozen=True, slots=True)
class Shape:
    """What a field may hold: bytes of a length, a number in a range, one of a list, yes or no."""

    bytes_: tuple[int, int] | None = None  # shortest and longest
    number: tuple[int, int] | None = None
    choices: type[IntEnum] | None = None
    yes_or_no: bool = False
    may_be_absent: bool = False

    def __str__(self) -> str:
        """Return it in words."""
        if self.bytes_ is not None:
            low, high = self.bytes_
            words = f"{low} bytes" if low == high else f"{low} to {high} bytes"
        elif self.number is not None:
            words = "a number from {} to {}".format(*self.number)
        elif self.choices is not None:
            words = f"one of {len(self.choices)} of {self.choices.__name__}"
        else:
            words = "yes or no"
        return f"{words}, or nothing" if self.may_be_absent else words

    def allows(self, value: object) -> bool:
        """Return whether a field of this shape may hold `value`."""
        if value is None:
            return self.may_be_absent
        if isinstance(value, bytes):
            return self.bytes_ is not None and self.bytes_[0] <= len(value) <= self.bytes_[1]
        if isinstance(value, bool):
            return self.yes_or_no
        if self.choices is not None:
            return isinstance(value, int) and value in self.choices.__members__.values()
        return (
            isinstance(value, int)
            and self.number is not None
            and self.number[0] <= value <= self.number[1]
        )


@dataclass(frozen=True, slots=True)
class Leaf:
    """A field of a call that has no fields of its own, and what it holds."""

    path: str  # as ClaimSubmit.marks.mark
    value: object


def leaves(value: object, path: str) -> Iterator[Leaf]:
    """Yield the fields of a call, and of what stands in it, each with its path."""
    if isinstance(value, Struct):
        for name in value.__struct_fields__:
            held = getattr(value, name)
            below = f"{path}.{name}"
            if below in _SEVERAL:
                below += SUBJECT + type(held).__name__
            yield from leaves(held, below)
    elif isinstance(value, tuple):
        for each in value:
            yield from leaves(each, path)
    else:
        yield Leaf(path, value)


def _shapes(several: set[str]) -> dict[str, Shape]:
    found: dict[str, Shape] = {}
    for call in get_args(Call):
        found |= _walk(inspect.type_info(call), call.__name__, several)
    return found


def _walk(type_: inspect.Type, path: str, several: set[str]) -> Iterator[tuple[str, Shape]]:
    match type_:
        case inspect.StructType():
            for field in type_.fields:
                yield from _walk(field.type, f"{path}.{field.name}", several)
        case inspect.VarTupleType():
            yield from _walk(type_.item_type, path, several)
        case inspect.UnionType():
            others = [each for each in type_.types if not isinstance(each, inspect.NoneType)]
            if len(others) > 1:
                several.add(path)
                for each in others:
                    assert isinstance(each, inspect.StructType)
                    yield from _walk(each, path + SUBJECT + each.cls.__name__, several)
                return
            for name, shape in _walk(others[0], path, several):
                yield name, replace(shape, may_be_absent=True)
        case _:
            yield path, _leaf(type_)


def _leaf(type_: inspect.Type) -> Shape:
    match type_:
        case inspect.BytesType():
            assert type_.min_length is not None
            assert type_.max_length is not None
            return Shape(bytes_=(type_.min_length, type_.max_length))
        case inspect.IntType():
            assert type_.ge is not None
            assert type_.le is not None
            return Shape(number=(type_.ge, type_.le))
        case inspect.EnumType():
            assert issubclass(type_.cls, IntEnum)
            return Shape(choices=type_.cls)
        case _:
            assert isinstance(type_, inspect.BoolType)  # a call has fields of no other type
            return Shape(yes_or_no=True)


_SEVERAL: Final[set[str]] = set()  # paths of fields that hold one of several types
SHAPES: Final[Mapping[str, Shape]] = _shapes(_SEVERAL)

_BY_NAME: Final[Mapping[Stands, tuple[str, ...]]] = {
    Stands.MEMBER: (
        "ClaimSubmit.payer",
        "AuthorisationRequest.payer",
        "SettlementOpen.beneficiary",
        "ValidatorJoin.change.member",
        "ValidatorLeave.change.member",
        "ValidatorReplace.change.leaving",
        "ValidatorReplace.change.member",
        "ValidatorRotate.change.member",
        "DisclosureAcknowledge.counterpart",
        "ErasureRequest.recipient",
        "DelegationGrant.delegate",
        "DelegationWithdraw.delegate",
        "Propose.subject:SuspendMember.member",
        "Propose.subject:ReinstateMember.member",
        "Propose.subject:RemoveMember.member",
        "Propose.subject:RekeyMember.member",
        "Propose.subject:JoinValidators.member",
        "Propose.subject:LeaveValidators.member",
        "Propose.subject:ReplaceValidator.leaving",
        "Propose.subject:ReplaceValidator.member",
    ),
    Stands.THING: (
        "ClaimSubmit.authorisation",
        "ClaimSubmit.prior",
        "ClaimAccept.claim",
        "ClaimReject.claim",
        "ClaimCancel.claim",
        "ClaimAbandon.claim",
        "ClaimReverse.claim",
        "ClaimRecover.claim",
        "ClaimConcede.claim",
        "ClaimDispute.claim",
        "ClaimUphold.claim",
        "ClaimOverturn.claim",
        "ClaimWithdraw.claim",
        "ClaimClose.claim",
        "ClaimSupersede.claim",
        "AuthorisationAsk.authorisation",
        "AuthorisationAnswer.authorisation",
        "AuthorisationGrant.authorisation",
        "AuthorisationRefuse.authorisation",
        "AuthorisationCancel.authorisation",
        "AuthorisationReview.authorisation",
        "SettlementAdd.settlement",
        "SettlementAdd.claims",
        "SettlementRemove.settlement",
        "SettlementRemove.claims",
        "SettlementAnnounce.settlement",
        "SettlementConfirm.settlement",
        "SettlementDispute.settlement",
        "SettlementInsist.settlement",
        "SettlementWithdraw.settlement",
        "SettlementCancel.settlement",
        "ErasureStatement.request",
        "ValidatorJoin.change.proposal",
        "ValidatorLeave.change.proposal",
        "ValidatorReplace.change.proposal",
        "Vote.proposal",
        "Withdraw.proposal",
    ),
    Stands.PRESCRIPTION: (
        "PrescriptionCommit.commitment",
        "PrescriptionSupersede.commitment",
        "PrescriptionSupersede.successor",
        "PrescriptionRevoke.commitment",
        "ClaimSubmit.prescription",
        "AuthorisationRequest.prescription",
    ),
    Stands.DOCUMENT: (
        "ClaimSubmit.document",
        "ClaimSupersede.document",
        "AuthorisationRequest.document",
    ),
    Stands.AMOUNT: (
        "ClaimSubmit.amount",
        "ClaimAccept.amount",
        "ClaimOverturn.amount",
        "AuthorisationRequest.amount",
        "AuthorisationGrant.amount",
        "SettlementAnnounce.sum",
    ),
    Stands.QUESTION: ("AuthorisationAsk.question",),
    Stands.ANSWER: ("AuthorisationAnswer.answer",),
    Stands.PAYMENT: ("SettlementAnnounce.payment",),
    Stands.DISCLOSURE: ("DisclosureAcknowledge.commitment", "ErasureRequest.commitment"),
    Stands.LOCK: ("MarkLock.lock",),
    Stands.MARK: ("ClaimSubmit.marks.mark", "AuthorisationRequest.marks.mark"),
    Stands.KEY: (
        "ValidatorJoin.change.keys.consensus",
        "ValidatorJoin.change.keys.checkpoint",
        "ValidatorJoin.change.keys.node",
        "ValidatorReplace.change.keys.consensus",
        "ValidatorReplace.change.keys.checkpoint",
        "ValidatorReplace.change.keys.node",
        "ValidatorRotate.change.keys.consensus",
        "ValidatorRotate.change.keys.checkpoint",
        "ValidatorRotate.change.keys.node",
        "KeyAdd.public",
        "KeyRotate.public",
        "CertificateBind.public",
        "Propose.subject:AdmitMember.key.public",
        "Propose.subject:AdmitMember.sealing",
        "Propose.subject:RekeyMember.key.public",
    ),
    Stands.KEY_NAME: ("KeyRevoke.key_id", "KeyRotate.key_id", "CertificateBind.key_id"),
    Stands.CERTIFICATE: (
        "CertificateBind.certificate",
        "Propose.subject:AdmitMember.certificate",
    ),
    Stands.TABLE: ("Propose.subject:ReplaceTable.hash",),
    Stands.BLOCK: (
        "ValidatorJoin.possession.block_id",
        "ValidatorReplace.possession.block_id",
        "ValidatorRotate.possession.block_id",
    ),
    Stands.SIGNATURE: (
        "ValidatorJoin.possession.consensus",
        "ValidatorJoin.possession.checkpoint",
        "ValidatorJoin.possession.node",
        "ValidatorReplace.possession.consensus",
        "ValidatorReplace.possession.checkpoint",
        "ValidatorReplace.possession.node",
        "ValidatorRotate.possession.consensus",
        "ValidatorRotate.possession.checkpoint",
        "ValidatorRotate.possession.node",
        "KeyAdd.possession",
        "KeyRotate.possession",
        "CertificateBind.signature",
    ),
    Stands.COUNTRY: ("Propose.subject:AdmitMember.country",),
}
STANDS: Final[Mapping[str, Stands]] = {
    path: what for what, paths in _BY_NAME.items() for path in paths
}

# What is drawn or salted anew each time: the same bytes twice are a salt that was used twice.
FRESH: Final = frozenset(
    (
        "PrescriptionCommit.commitment",
        "PrescriptionSupersede.successor",
        "ClaimSubmit.document",
        "ClaimSupersede.document",
        "AuthorisationRequest.document",
        "ClaimSubmit.amount",
        "ClaimAccept.amount",
        "ClaimOverturn.amount",
        "AuthorisationRequest.amount",
        "AuthorisationGrant.amount",
        "AuthorisationAsk.question",
        "AuthorisationAnswer.answer",
        "SettlementAnnounce.payment",
        "DisclosureAcknowledge.commitment",
        "ErasureRequest.commitment",
        "MarkLock.lock",
    )
)
