"""What a contract is told of the call that it judges."""

from collections.abc import Mapping
from typing import Final, TypeAlias, TypeVar

import msgspec

from contracts.registry import Family
from contracts.state import Overlay
from ledger.hashing import Hash
from ledger.transaction import created_id
from ledger.validators import MemberId

Concerned: TypeAlias = tuple[MemberId, ...]  # whom an entry concerns besides its sender
NOBODY_ELSE: Final[Concerned] = ()

StateT = TypeVar("StateT")
PartyT = TypeVar("PartyT")

# The life of a thing: (state, call) -> (who may, state after). None: it is not there yet.
Life: TypeAlias = Mapping[tuple[StateT | None, type], tuple[PartyT, StateT]]


class Context(msgspec.Struct):
    """One call's surroundings. A guard that fails must raise before anything is written."""

    state: Overlay
    chain_id: bytes
    height: int  # of the block under way
    time: int  # of that block, unix seconds
    sender: MemberId
    family: Family  # of the sender
    transaction: Hash
    position: int

    def new_id(self) -> Hash:
        """Return the id of what this call creates."""
        return created_id(self.transaction, self.position)
