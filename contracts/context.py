"""What a contract is told of the call that it judges."""

from typing import Final, TypeAlias

import msgspec

from contracts.parameters import Parameters
from contracts.registry import Family, Key
from contracts.state import Overlay
from ledger.hashing import Hash
from ledger.keys import Role
from ledger.transaction import created_id
from ledger.validators import MemberId

Concerned: TypeAlias = tuple[MemberId, ...]  # whom an entry concerns besides its sender
NOBODY_ELSE: Final[Concerned] = ()


class Context(msgspec.Struct):
    """One call's surroundings. A guard that fails must raise before anything is written."""

    state: Overlay
    parameters: Parameters
    chain_id: bytes
    height: int  # of the block under way
    time: int  # of that block, unix seconds
    sender: MemberId
    family: Family  # of the sender
    key: Key  # that signed
    transaction: Hash
    position: int
    said: tuple[int, ...] = ()

    @property
    def is_human(self) -> bool:
        """Whether the key that signed is held by a person."""
        return self.key.role is Role.HUMAN

    def new_id(self) -> Hash:
        """Return the id of what this call creates."""
        return created_id(self.transaction, self.position)

    def begin(self, position: int) -> None:
        """Go on to the next call of the transaction."""
        self.position, self.said = position, ()

    def say(self, *evidence: int) -> None:
        """Let the entry of this call, which is applied, say up to four numbers."""
        self.said = tuple(map(int, evidence))
