"""Calls that change who runs a validator, and with which keys."""

from itertools import pairwise
from typing import Annotated, ClassVar, Final, TypeAlias

import msgspec

from contracts.calls.costs import SIGNATURE_COST
from ledger.encoding import U32_MAX, U63_MAX, Struct
from ledger.validators import MAX_VALIDATORS, Bytes16, Bytes32

_CHANGE_COST: Final = 64  # new keys, and a set that may be long
_POSSESSION: Final = 3  # signatures, one by each key

Term = Annotated[int, msgspec.Meta(ge=0, le=U32_MAX)]  # counts changes of who runs validators
SignatureBytes = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


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

    @property
    def cost(self) -> int:
        """What it costs a block."""
        return _CHANGE_COST + SIGNATURE_COST * (_POSSESSION + len(self.approvals))


class ValidatorLeave(Struct, tag=51):
    """A validator is taken out."""

    KIND: ClassVar[int] = 51
    change: Leaving
    approvals: Approvals

    def __post_init__(self) -> None:
        if not _is_ascending(self.approvals):
            raise ValueError("approvals must be by ascending member, one of each")

    @property
    def cost(self) -> int:
        """What it costs a block."""
        return _CHANGE_COST + SIGNATURE_COST * len(self.approvals)


class ValidatorReplace(Struct, tag=52):
    """The sender's validator takes the place of another one."""

    KIND: ClassVar[int] = 52
    change: Replacing
    approvals: Approvals
    possession: Possession

    def __post_init__(self) -> None:
        if not _is_ascending(self.approvals):
            raise ValueError("approvals must be by ascending member, one of each")

    @property
    def cost(self) -> int:
        """What it costs a block."""
        return _CHANGE_COST + SIGNATURE_COST * (_POSSESSION + len(self.approvals))


class ValidatorRotate(Struct, tag=53):
    """The sender's validator gets other keys."""

    KIND: ClassVar[int] = 53
    change: Rotating
    possession: Possession

    @property
    def cost(self) -> int:
        """What it costs a block."""
        return _CHANGE_COST + SIGNATURE_COST * _POSSESSION


def _is_ascending(approvals: tuple[Approval, ...]) -> bool:
    members = [approval.member for approval in approvals]
    return all(one < other for one, other in pairwise(members))
