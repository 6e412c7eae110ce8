"""The calls that a transaction may hold: one type each, told apart by a number in its encoding.

Every field has a fixed type and a fixed or bounded length; there is no text. A call is encoded as
the array of its number and its fields. Numbers: 10 prescription, 20 marks, 30 and 130 claim,
41 and 170 settlement, 50 validators, 100 authorisation, 180 disclosure, 200 registry,
220 governance, 240 versions.
"""

from typing import TypeAlias, cast

from contracts.calls.authorisation import (
    AuthorisationAnswer,
    AuthorisationAsk,
    AuthorisationCancel,
    AuthorisationGrant,
    AuthorisationRefuse,
    AuthorisationRequest,
    AuthorisationReview,
)
from contracts.calls.claim import (
    ClaimAbandon,
    ClaimAccept,
    ClaimCancel,
    ClaimClose,
    ClaimConcede,
    ClaimDispute,
    ClaimGround,
    ClaimOverturn,
    ClaimRecover,
    ClaimReject,
    ClaimReverse,
    ClaimSubmit,
    ClaimSupersede,
    ClaimUphold,
    ClaimWithdraw,
    Reason,
)
from contracts.calls.disclosure import (
    DisclosureAcknowledge,
    ErasureOutcome,
    ErasureRequest,
    ErasureStatement,
)
from contracts.calls.governance import (
    AdmitMember,
    JoinValidators,
    LeaveValidators,
    NewKey,
    Propose,
    ReinstateMember,
    RekeyMember,
    RemoveMember,
    ReplaceTable,
    ReplaceValidator,
    ScheduleVersion,
    Seating,
    SetParameters,
    Subject,
    SuspendMember,
    Vote,
    Withdraw,
    parse_subject,
)
from contracts.calls.marks import MAX_MARKS, Leg, Mark, MarkLock, Marks, Part
from contracts.calls.prescription import (
    PrescriptionCommit,
    PrescriptionRevoke,
    PrescriptionSupersede,
)
from contracts.calls.registry import (
    CertificateBind,
    DelegationGrant,
    DelegationWithdraw,
    KeyAdd,
    KeyRevoke,
    KeyRotate,
    Scope,
)
from contracts.calls.settlement import (
    MAX_LISTED,
    MAX_SETTLED,
    Direction,
    Ground,
    SettlementAdd,
    SettlementAnnounce,
    SettlementCancel,
    SettlementConfirm,
    SettlementDispute,
    SettlementInsist,
    SettlementOpen,
    SettlementRemove,
    SettlementWithdraw,
)
from contracts.calls.validators import (
    Change,
    Joining,
    Leaving,
    Possession,
    Replacing,
    Rotating,
    SignatureBytes,
    ValidatorJoin,
    ValidatorKeys,
    ValidatorLeave,
    ValidatorReplace,
    ValidatorRotate,
    Voted,
)
from contracts.calls.versions import ReadySignal
from ledger.encoding import decode, encode

Call: TypeAlias = (
    PrescriptionCommit
    | PrescriptionSupersede
    | PrescriptionRevoke
    | MarkLock
    | ClaimSubmit
    | ClaimAccept
    | ClaimReject
    | ClaimCancel
    | ClaimAbandon
    | ClaimReverse
    | ClaimRecover
    | ClaimConcede
    | ClaimDispute
    | ClaimUphold
    | ClaimOverturn
    | ClaimWithdraw
    | ClaimClose
    | ClaimSupersede
    | AuthorisationRequest
    | AuthorisationAsk
    | AuthorisationAnswer
    | AuthorisationGrant
    | AuthorisationRefuse
    | AuthorisationCancel
    | AuthorisationReview
    | SettlementOpen
    | SettlementAdd
    | SettlementRemove
    | SettlementAnnounce
    | SettlementConfirm
    | SettlementDispute
    | SettlementInsist
    | SettlementWithdraw
    | SettlementCancel
    | DisclosureAcknowledge
    | ErasureRequest
    | ErasureStatement
    | ValidatorJoin
    | ValidatorLeave
    | ValidatorReplace
    | ValidatorRotate
    | KeyAdd
    | KeyRevoke
    | KeyRotate
    | DelegationGrant
    | DelegationWithdraw
    | CertificateBind
    | ReadySignal
    | Propose
    | Vote
    | Withdraw
)

__all__ = [
    "MAX_LISTED",
    "MAX_MARKS",
    "MAX_SETTLED",
    "AdmitMember",
    "AuthorisationAnswer",
    "AuthorisationAsk",
    "AuthorisationCancel",
    "AuthorisationGrant",
    "AuthorisationRefuse",
    "AuthorisationRequest",
    "AuthorisationReview",
    "Call",
    "CertificateBind",
    "Change",
    "ClaimAbandon",
    "ClaimAccept",
    "ClaimCancel",
    "ClaimClose",
    "ClaimConcede",
    "ClaimDispute",
    "ClaimGround",
    "ClaimOverturn",
    "ClaimRecover",
    "ClaimReject",
    "ClaimReverse",
    "ClaimSubmit",
    "ClaimSupersede",
    "ClaimUphold",
    "ClaimWithdraw",
    "DelegationGrant",
    "DelegationWithdraw",
    "Direction",
    "DisclosureAcknowledge",
    "ErasureOutcome",
    "ErasureRequest",
    "ErasureStatement",
    "Ground",
    "JoinValidators",
    "Joining",
    "KeyAdd",
    "KeyRevoke",
    "KeyRotate",
    "LeaveValidators",
    "Leaving",
    "Leg",
    "Mark",
    "MarkLock",
    "Marks",
    "NewKey",
    "Part",
    "Possession",
    "PrescriptionCommit",
    "PrescriptionRevoke",
    "PrescriptionSupersede",
    "Propose",
    "ReadySignal",
    "Reason",
    "ReinstateMember",
    "RekeyMember",
    "RemoveMember",
    "ReplaceTable",
    "ReplaceValidator",
    "Replacing",
    "Rotating",
    "ScheduleVersion",
    "Scope",
    "Seating",
    "SetParameters",
    "SettlementAdd",
    "SettlementAnnounce",
    "SettlementCancel",
    "SettlementConfirm",
    "SettlementDispute",
    "SettlementInsist",
    "SettlementOpen",
    "SettlementRemove",
    "SettlementWithdraw",
    "SignatureBytes",
    "Subject",
    "SuspendMember",
    "ValidatorJoin",
    "ValidatorKeys",
    "ValidatorLeave",
    "ValidatorReplace",
    "ValidatorRotate",
    "Vote",
    "Voted",
    "Withdraw",
    "encode_call",
    "parse_call",
    "parse_subject",
]


def parse_call(data: bytes) -> Call:
    """Return the call that `data` encodes, or raise `ledger.errors.Malformed`."""
    return decode(data, cast("type[Call]", Call), kind="call")


def encode_call(call: Call) -> bytes:
    """Return the one encoding of `call`."""
    return encode(call)
