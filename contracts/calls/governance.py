"""Calls by which the members that run validators vote on what may change."""

from typing import Annotated, ClassVar, Final, TypeAlias, cast

import msgspec

from contracts.parameters import Parameters
from contracts.reference import TableKind
from contracts.registry import Country, Family
from ledger.block import Version
from ledger.encoding import U63_MAX, Struct, decode
from ledger.keys import Algorithm
from ledger.validators import Bytes16, Bytes32

_PROPOSE_COST: Final = 64  # the list of what is open is written anew
_VOTE_COST: Final = 256  # up to a hundred votes are counted

Moment = Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]  # block time, unix seconds
Height = Annotated[int, msgspec.Meta(ge=1, le=U63_MAX)]


class NewKey(Struct):
    """A transaction key that a member is given by vote."""

    algorithm: Algorithm
    public: Annotated[bytes, msgspec.Meta(min_length=32, max_length=33)]


class AdmitMember(Struct, tag=1):
    """An organisation becomes a member; its id is that of its key."""

    VERB: ClassVar[str] = "admit"  # as commands call it
    family: Family
    country: Country
    key: NewKey
    sealing: Bytes32 | None  # to which others seal documents
    certificate: Bytes32 | None  # SHA-256 of what binds the key to the organisation


class SuspendMember(Struct, tag=2):
    """A member may send nothing until it is reinstated."""

    VERB: ClassVar[str] = "suspend"
    member: Bytes16


class ReinstateMember(Struct, tag=3):
    """A suspended member may send again."""

    VERB: ClassVar[str] = "reinstate"
    member: Bytes16


class RemoveMember(Struct, tag=4):
    """A member may send nothing for ever. It must run no validator."""

    VERB: ClassVar[str] = "remove"
    member: Bytes16


class RekeyMember(Struct, tag=5):
    """A member that lost its keys gets one anew, and all that signed for it end."""

    VERB: ClassVar[str] = "rekey"
    member: Bytes16
    key: NewKey


class JoinValidators(Struct, tag=6):
    """A member may begin to run a validator."""

    VERB: ClassVar[str] = "join"
    member: Bytes16


class LeaveValidators(Struct, tag=7):
    """A member may be taken out of those that run validators."""

    VERB: ClassVar[str] = "leave"
    member: Bytes16


class ReplaceValidator(Struct, tag=8):
    """A member may take the place of another one, or of its own with other keys."""

    VERB: ClassVar[str] = "replace"
    leaving: Bytes16
    member: Bytes16


class ReplaceTable(Struct, tag=9):
    """Another version of a reference table is in force."""

    VERB: ClassVar[str] = "table"
    kind: TableKind
    hash: Bytes32  # SHA-256 of its file


class SetParameters(Struct, tag=10):
    """The chain has other parameters; those that stay are named again."""

    VERB: ClassVar[str] = "parameters"
    parameters: Parameters


class ScheduleVersion(Struct, tag=11):
    """Other rules come into force, once a quorum of the validators is ready for them."""

    VERB: ClassVar[str] = "version"
    version: Version


# Made by calls of their own, which name the proposal: new keys prove themselves by recent blocks.
Seating: TypeAlias = JoinValidators | LeaveValidators | ReplaceValidator
Subject: TypeAlias = (
    AdmitMember
    | SuspendMember
    | ReinstateMember
    | RemoveMember
    | RekeyMember
    | JoinValidators
    | LeaveValidators
    | ReplaceValidator
    | ReplaceTable
    | SetParameters
    | ScheduleVersion
)


class Propose(Struct, tag=220):
    """The sender proposes a change, on which nobody has voted yet."""

    KIND: ClassVar[int] = 220
    cost: ClassVar[int] = _PROPOSE_COST
    subject: Subject
    deadline: Moment  # the last second at which one may vote
    effect: Height  # of the first block in which the change is in force


class Vote(Struct, tag=221):
    """The sender agrees to a proposal or not, once for all."""

    KIND: ClassVar[int] = 221
    cost: ClassVar[int] = _VOTE_COST
    proposal: Bytes32
    agrees: bool


class Withdraw(Struct, tag=222):
    """Whoever proposed it takes it back."""

    KIND: ClassVar[int] = 222
    cost: ClassVar[int] = _PROPOSE_COST
    proposal: Bytes32


def parse_subject(data: bytes) -> Subject:
    """Return the subject that `data` encodes, or raise `ledger.errors.Malformed`."""
    return decode(data, cast("type[Subject]", Subject), kind="subject")
