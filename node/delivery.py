"""Post at a node that executes every block: what the chain says of members, and who is linked."""

from contracts import delegation, registry
from contracts.errors import Inadmissible
from contracts.execute import ChainState
from contracts.registry import Status
from ledger.keys import Role
from node.chain import Chain
from node.exchange import Exchange
from node.link import Link
from node.post.errors import NoSuchRecipient, NotASender


class ChainRegistry:
    """The registry of a node that executes every block."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    @property
    def chain_id(self) -> bytes:
        """Of which chain."""
        return self._chain.header.chain_id

    async def signing_key(self, sender: bytes, key_id: bytes) -> bytes:
        """Return the public key that signs for a member; raise `NotASender`."""
        try:
            return _signing_key(self._chain.state, sender, key_id)
        except Inadmissible as error:
            raise NotASender(error) from None

    async def require_recipient(self, member: bytes) -> None:
        """Raise `NoSuchRecipient` where this is no member in good standing."""
        found = registry.member(self._chain.state.state, member)
        if found is None or found.status is not Status.ADMITTED:
            raise NoSuchRecipient(member)

    def owner_of(self, key_id: bytes) -> bytes | None:
        """Return whose key this is."""
        return registry.owner_of(self._chain.state.state, key_id)

    def is_signed(self, member: bytes, key_id: bytes) -> bool:
        """Return whether a key may sign for a member now."""
        try:
            _signing_key(self._chain.state, member, key_id)
        except Inadmissible:
            return False
        return True

    def nodes_of(self, member: bytes) -> list[bytes]:
        """Return the keys in force of a member's own nodes."""
        state = self._chain.state
        height = state.header.height + 1
        return [
            key.public
            for _, key in registry.live_keys(state.state, member, height)
            if key.role is Role.TLS and key.is_in_force(height)
        ]


class ChainNeighbours:
    """Who is linked to a node that executes every block."""

    def __init__(self, chain: Chain, exchange: Exchange) -> None:
        self._chain, self._exchange = chain, exchange

    def link(self, node_key: bytes) -> Link | None:
        """Return the link to a node, None where it is down."""
        network = self._exchange.network
        return None if network is None else network.link_to(node_key)

    def linked(self) -> list[Link]:
        """Return all links that are up."""
        network = self._exchange.network
        links = map(self.link, () if network is None else tuple(network.peers))
        return [link for link in links if link is not None]

    def is_relay(self, node_key: bytes) -> bool:
        """Return whether a node is a validator's."""
        return any(each.node_key == node_key for each in self._chain.state.validators.members)

    def punish(self, node_key: bytes, fault: str) -> None:
        """Name a peer that lied, and talk to it no more for a while."""
        self._exchange.punish(node_key, fault)


def _signing_key(state: ChainState, sender: bytes, key_id: bytes) -> bytes:
    height, time = state.header.height + 1, state.header.time
    registry.sender(state.state, sender)
    key, _ = delegation.signing_key(state.state, sender, key_id, height=height, time=time)
    return key.public
