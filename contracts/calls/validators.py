"""Calls that change who runs a validator, and with which keys."""

from typing import Annotated, ClassVar, Final, TypeAlias

import msgspec

from contracts.calls.costs import SIGNATURE_COST
from contracts.calls.governance import (
    JoinValidators,
    LeaveValidators,
    ReplaceValidator,
    Seating,
)
from ledger.encoding import U63_MAX, Struct
from ledger.validators import Bytes16, Bytes32

_CHANGE_COST: Final = 64  # new keys, and a set that may be long
_POSSESSION: Final = 3  # signatures, one by each key

SignatureBytes = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


class ValidatorKeys(Struct):
    """The public keys by which a validator is known; no two are the same."""

    consensus: Bytes32
    checkpoint: Bytes32
    node: Bytes32

    def __post_init__(self) -> None:
        if len({self.consensus, self.checkpoint, self.node}) < len(self.__struct_fields__):
            raise ValueError("two of a validator's keys are one")


# What is made, and what new keys sign. It is encoded behind the number of its call.


class Joining(Struct, tag=50):
    """A member begins to run a validator."""

    member: Bytes16
    keys: ValidatorKeys
    proposal: Bytes32  # that passed

    @property
    def subject(self) -> Seating:
        """What must have been voted."""
        return JoinValidators(self.member)


class Leaving(Struct, tag=51):
    """A member ceases to run a validator."""

    member: Bytes16
    proposal: Bytes32

    @property
    def subject(self) -> Seating:
        """What must have been voted."""
        return LeaveValidators(self.member)


class Replacing(Struct, tag=52):
    """A member takes the place of another among the validators."""

    leaving: Bytes16
    member: Bytes16
    keys: ValidatorKeys
    proposal: Bytes32

    @property
    def subject(self) -> Seating:
        """What must have been voted."""
        return ReplaceValidator(self.leaving, self.member)


class Rotating(Struct, tag=53):
    """A member gives its validator other keys; those that stay are named again."""

    member: Bytes16
    keys: ValidatorKeys


Voted: TypeAlias = Joining | Leaving | Replacing
Change: TypeAlias = Voted | Rotating


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
    cost: ClassVar[int] = _CHANGE_COST + SIGNATURE_COST * _POSSESSION
    change: Joining
    possession: Possession


class ValidatorLeave(Struct, tag=51):
    """A validator is taken out."""

    KIND: ClassVar[int] = 51
    cost: ClassVar[int] = _CHANGE_COST
    change: Leaving


class ValidatorReplace(Struct, tag=52):
    """The sender's validator takes the place of another one."""

    KIND: ClassVar[int] = 52
    cost: ClassVar[int] = _CHANGE_COST + SIGNATURE_COST * _POSSESSION
    change: Replacing
    possession: Possession


class ValidatorRotate(Struct, tag=53):
    """The sender's validator gets other keys."""

    KIND: ClassVar[int] = 53
    cost: ClassVar[int] = _CHANGE_COST + SIGNATURE_COST * _POSSESSION
    change: Rotating
    possession: Possession
