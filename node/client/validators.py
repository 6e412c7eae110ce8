"""Calls that governing members make: what they vote, and the changes of validators that passed."""

import time
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from contracts.calls import (
    Call,
    Change,
    Joining,
    Leaving,
    Possession,
    Replacing,
    Rotating,
    ValidatorJoin,
    ValidatorKeys,
    ValidatorLeave,
    ValidatorReplace,
    ValidatorRotate,
)
from contracts.errors import Refusal
from contracts.membership import change_id, possession_bytes
from ledger.entry import APPLIED
from ledger.keys import Role, SigningKey
from ledger.transaction import created_id
from node.client.client import NodeClient
from node.client.members import Members
from node.client.refusals import refusal
from node.client.transactions import Sender, decide

ROLES: Final = (Role.CONSENSUS, Role.CHECKPOINT, Role.TLS)
ATTEMPTS: Final = 5  # the block that a proof names may be old by the time it is in a block
_SAFE: Final = "depoli validator list shows whether it was made; sending again is safe"
_AGAIN: Final = frozenset((Refusal.BLOCK_NOT_RECENT, Refusal.CHANGE_UNDER_WAY))

T = TypeVar("T")
Keys = Mapping[Role, SigningKey]  # of the roles of a validator


def prove(chain_id: bytes, change: Change, height: int, block_id: bytes, keys: Keys) -> Possession:
    """Return the proof that we have the keys of a change, and know a recent block."""
    message = possession_bytes(chain_id, change, height, block_id)
    consensus, checkpoint, node = (keys[role].sign(message) for role in ROLES)
    return Possession(height, block_id, consensus, checkpoint, node)


def public_keys(keys: Keys) -> ValidatorKeys:
    """Return the public parts of a validator's keys."""
    return ValidatorKeys(*(keys[role].public for role in ROLES))


class Registrar:
    """Whoever sends a change; it is signed anew while the block that it names grows old."""

    def __init__(self, node: NodeClient, sender: Sender, *, wait_s: int) -> None:
        self._node, self._sender, self._wait_s = node, sender, wait_s

    async def make(self, call: Call, subject: str) -> tuple[int, bytes]:
        """Send a call; return the height of its block, and the id of what it may have made.

        Raises `NetworkRefused` with the reason, `Undecided` where the wait is over.
        """
        made = self._sender.sign([call], now=int(time.time()))
        decided = await decide(self._node, made, wait_s=self._wait_s, hint=_SAFE)
        outcome = decided.outcome(0)
        if outcome.code != APPLIED:
            raise refusal(outcome, subject)
        return decided.height, created_id(made.id, 0)

    async def send(self, change: Change, keys: Keys | None = None) -> int:
        """Make a change; return the height of its block. It takes effect two blocks later.

        Raises `NetworkRefused` with the reason, `Undecided` where the wait is over.
        """
        for attempt in range(1, ATTEMPTS + 1):
            call = await self._call(change, keys)
            made = self._sender.sign([call], now=int(time.time()))
            decided = await decide(self._node, made, wait_s=self._wait_s, hint=_SAFE)
            outcome = decided.outcome(0)
            if outcome.code == APPLIED:
                return decided.height
            if outcome.code not in _AGAIN or attempt == ATTEMPTS:
                raise refusal(outcome, "the change")
        raise AssertionError("the last attempt returns or raises")

    async def _call(
        self, change: Change, keys: Keys | None
    ) -> ValidatorJoin | ValidatorLeave | ValidatorReplace | ValidatorRotate:
        if isinstance(change, Leaving):
            return ValidatorLeave(change)
        assert keys is not None  # whoever comes in, or changes keys, has them
        head = await self._node.head()
        block_id = bytes.fromhex(head.hash)
        proof = prove(self._sender.chain_id, change, head.height, block_id, keys)
        match change:
            case Joining():
                return ValidatorJoin(change, proof)
            case Replacing():
                return ValidatorReplace(change, proof)
            case Rotating():
                return ValidatorRotate(change, proof)


def describe(change: Change, members: Members) -> str:
    """Return in words what a change does."""
    who = members.label_of(change.member)
    match change:
        case Joining():
            return f"{who} joins the validators"
        case Leaving():
            return f"{who} leaves the validators"
        case Replacing(leaving=leaving) if leaving == change.member:
            return f"{who} gives its validator other keys, as was voted"
        case Replacing(leaving=leaving):
            return f"{who} takes the place of {members.label_of(leaving)} among the validators"
        case Rotating():
            return f"{who} gives its validator other keys"


def as_json(change: Change, members: Members, chain_id: bytes) -> dict[str, Any]:
    """Return a change as JSON values, for a command's result."""
    return {
        "change": change_id(chain_id, change).hex(),
        "says": describe(change, members),
        "member": change.member.hex(),
        "label": members.label_of(change.member),
        "proposal": None if isinstance(change, Rotating) else change.proposal.hex(),
    }
