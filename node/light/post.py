"""Post at a light node: it takes what is for its member, and gives all else to its validators."""

from collections.abc import Mapping

from contracts import delegation, registry
from contracts.errors import Inadmissible
from contracts.state import Reader
from node.light.follow import Follower, NotVouched
from node.light.record import Record
from node.link import Link
from node.post.errors import NotASender, PostRefused

VOUCH_S = 5.0


class NotToldYet(PostRefused):
    """Too few validators say the same of a sender."""

    def __init__(self, error: NotVouched) -> None:
        super().__init__(f"the sender is not known here yet: {error}", hint="wait, and try again")


class _Pairs:
    """What validators say of a member, as a state."""

    def __init__(self, pairs: Mapping[bytes, bytes]) -> None:
        self._pairs = pairs

    def get(self, key: bytes) -> bytes | None:
        return self._pairs.get(key)

    def scan(self, prefix: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        found = sorted(pair for pair in self._pairs.items() if pair[0].startswith(prefix))
        return found[:limit]


class RecordRegistry:
    """Members as a light node knows them: its own by its record, others as validators vouch."""

    def __init__(self, record: Record, follower: Follower, own_key: bytes) -> None:
        self._record, self._follower, self._own_key = record, follower, own_key

    @property
    def chain_id(self) -> bytes:
        """Of which chain."""
        return self._record.tip.header.chain_id

    async def signing_key(self, sender: bytes, key_id: bytes) -> bytes | None:
        """Return the public key that signs for a member; None where it may be a delegate's.

        Of other members' delegations nothing is known here: the recipient looks at the chain.
        """
        if sender == self._record.member:
            return self._own(key_id)
        try:
            said = await self._follower.vouched(sender, VOUCH_S)
        except NotVouched as error:
            raise NotToldYet(error) from None
        state: Reader = _Pairs(dict(said.pairs))
        try:
            registry.sender(state, sender)
            found = registry.key(state, sender, key_id)
            if found is None:
                return None
            registry.require_signing(found, key_id, self._record.height + 1)
        except Inadmissible as error:
            raise NotASender(error) from None
        return found.public

    def _own(self, key_id: bytes) -> bytes:
        header = self._record.tip.header
        try:
            key, _ = delegation.signing_key(
                self._record.state,
                self._record.member,
                key_id,
                height=header.height + 1,
                time=header.time,
            )
        except Inadmissible as error:
            raise NotASender(error) from None
        return key.public

    async def require_recipient(self, member: bytes) -> None:
        """Refuse nobody: whoever takes the post on knows the members."""

    def owner_of(self, key_id: bytes) -> bytes | None:
        """Return whose key this is, if it is one of our member's, or of a founder's."""
        return registry.owner_of(self._record.state, key_id)

    def is_signed(self, member: bytes, key_id: bytes) -> bool:
        """Return whether a key may sign for our member now; of others nothing is asked."""
        if member != self._record.member:
            return False
        try:
            self._own(key_id)
        except NotASender:
            return False
        return True

    def nodes_of(self, member: bytes) -> list[bytes]:
        """Return this node for its member, and nothing for others."""
        return [self._own_key] if member == self._record.member else []


class LightNeighbours:
    """The validators that a light node is linked to."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower

    def link(self, node_key: bytes) -> Link | None:
        """Return the link to a node, None where it is down."""
        network = self._follower.network
        return None if network is None else network.link_to(node_key)

    def linked(self) -> list[Link]:
        """Return all links that are up."""
        return self._follower.links

    def is_relay(self, node_key: bytes) -> bool:
        """Return whether a node is a validator's, as all are that a light node speaks with."""
        return self.link(node_key) is not None

    def punish(self, node_key: bytes, fault: str) -> None:
        """Name a peer that lied, and talk to it no more for a while."""
        if (network := self._follower.network) is not None:
            network.penalise(node_key, fault)
