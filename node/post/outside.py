"""What the post asks of the node around it: who the members are, and who is linked."""

from typing import Protocol

from node.link import Link


class Registry(Protocol):
    """What a node knows of members."""

    @property
    def chain_id(self) -> bytes:
        """Of which chain."""

    async def signing_key(self, sender: bytes, key_id: bytes) -> bytes | None:
        """Return the public key that signs for a member, None where it cannot be told here.

        Raises `PostRefused` where there is none.
        """

    async def require_recipient(self, member: bytes) -> None:
        """Raise `PostRefused` where a member takes no post, as far as can be told here."""

    def owner_of(self, key_id: bytes) -> bytes | None:
        """Return whose key this is, as far as is known."""

    def is_signed(self, member: bytes, key_id: bytes) -> bool:
        """Return whether a key that signed for a member may still do so, as far as is known."""

    def nodes_of(self, member: bytes) -> list[bytes]:
        """Return the keys of a member's own nodes, as far as they are known."""


class Neighbours(Protocol):
    """Who is linked to this node."""

    def link(self, node_key: bytes) -> Link | None:
        """Return the link to a node, None where it is down."""

    def linked(self) -> list[Link]:
        """Return all links that are up."""

    def is_relay(self, node_key: bytes) -> bool:
        """Return whether a node is a validator's."""

    def punish(self, node_key: bytes, fault: str) -> None:
        """Name a peer that lied, and talk to it no more for a while."""
