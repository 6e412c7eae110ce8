"""A member's own affairs on the chain: its keys, who acts for it, the certificate of a key."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from contracts import keyring
from contracts.calls import (
    Call,
    CertificateBind,
    DelegationGrant,
    DelegationWithdraw,
    KeyAdd,
    KeyRevoke,
    KeyRotate,
    Scope,
)
from ledger.keys import Role, Signer
from node.client.client import KeyView, MemberView, NodeClient
from node.client.errors import NotFound
from node.client.refusals import refusal
from node.client.transactions import Sender, decide

DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Housekeeper:
    """Who keeps a member's affairs, over its node, with a key of the member."""

    node: NodeClient
    sender: Sender
    wait_s: int

    async def add_key(
        self, role: Role, key: Signer, *, first: int = 0, until: int | None = None
    ) -> int:
        """Add a key from the height `first` on, the next one if that is past; return the block's.

        Raises `NetworkRefused` with the chain's reason, as all of these.
        """
        proof = self._possession(role, key)
        return await self._send(KeyAdd(role, key.algorithm, key.public, first, until, proof))

    async def revoke_key(self, key_id: bytes, *, height: int = 0) -> int:
        """End a key at a height, the next one if that is past."""
        return await self._send(KeyRevoke(key_id, height))

    async def rotate_key(self, key_id: bytes, role: Role, key: Signer, *, height: int = 0) -> int:
        """End a key at a height and begin with another of its role there."""
        proof = self._possession(role, key)
        made = KeyRotate(key_id, role, key.algorithm, key.public, height, proof)
        return await self._send(made)

    async def delegate(self, member: bytes, scopes: Iterable[Scope], until: int) -> int:
        """Let a member act for ours in these groups of calls, until a time."""
        return await self._send(DelegationGrant(member, sum(set(scopes)), until))

    async def withdraw(self, member: bytes) -> int:
        """Let a member act for ours no more."""
        return await self._send(DelegationWithdraw(member))

    async def bind(self, key_id: bytes, certificate: bytes, public: bytes, signature: bytes) -> int:
        """Bind a key to the certificate of this hash, whose key signed."""
        return await self._send(CertificateBind(key_id, certificate, public, signature))

    def _possession(self, role: Role, key: Signer) -> bytes:
        sender = self.sender
        parts = (sender.chain_id, sender.member, role, key.algorithm, key.public)
        return key.sign(keyring.possession_bytes(*parts))

    async def _send(self, call: Call) -> int:
        made = self.sender.sign([call], now=int(time.time()))
        hint = "depoli member keys and show tell whether it was made"
        result = await decide(self.node, made, wait_s=self.wait_s, hint=hint)
        outcome = result.outcome(0)
        if outcome.code:
            raise refusal(outcome)
        return result.height


def find_key(member: MemberView, name: str) -> KeyView:
    """Return a key of a member by its id, or the beginning of one; raise `NotFound`."""
    found = [key for key in member.keys if name and key.id.startswith(name)]
    if len(found) != 1:
        many = "several keys" if found else "no key"
        raise NotFound(
            f"'{name[:32]}' is the id of {many} of this member",
            hint="depoli member keys lists them",
        )
    return found[0]
