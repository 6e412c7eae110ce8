"""Who the nodes of the network are: those whose TLS keys the chain registers.

It follows the chain: a key that is soon to be in force is let in before it is, because its owner
must be near the head by then; one that is no longer in force is let in no more. A removed validator
whose key stays in force stays a peer.
"""

from collections.abc import Mapping
from typing import Final

from contracts import registry
from contracts.execute import ChainState, Executed
from contracts.genesis import Genesis
from ledger.keys import Role
from node.chain import Chain
from node.link import Peer

AHEAD: Final = 8  # heights; a change of validators takes effect two after its block


class Roster:
    """The peers of this node. `addresses` are by label or hexadecimal id of the member."""

    def __init__(
        self, chain: Chain, genesis: Genesis, addresses: Mapping[str, tuple[str, int]]
    ) -> None:
        self._chain, self._addresses = chain, addresses
        self._labels: dict[bytes, str] = {each.id: each.label for each in genesis.members}
        self._next_change: int | None = None  # height at which a key comes into force or leaves it
        self._owners: dict[bytes, bytes] = {}  # node key -> member
        self._sets: tuple[bytes, bytes] | None = None  # hashes of the validators looked at

    def peers(self) -> list[Peer]:
        """Return everyone who has a node key now or soon, with where we know that they listen."""
        state = self._chain.state
        height, owners = state.header.height + 1, _validators(state)
        self._sets = (state.validators.hash, state.next_validators.hash)
        self._owners = owners
        turns: set[int] = set()
        for member, key in registry.keys(state.state, Role.TLS, height):
            if key.from_height > height + AHEAD:
                turns.add(key.from_height - AHEAD)
            else:
                owners[key.public] = member
                if key.until_height is not None:
                    turns.add(key.until_height)
        self._next_change = min(turns, default=None)
        return [self._peer(member, key) for key, member in owners.items()]

    def member_of(self, node_key: bytes) -> bytes | None:
        """Return whose node a peer is, None where it is none of ours."""
        return self._owners.get(node_key)

    def has_changed(self, executed: Executed) -> bool:
        """Return whether a block that was committed changes who the peers are."""
        due = self._next_change is not None and executed.header.height + 1 >= self._next_change
        sets = (executed.validators.hash, executed.next_validators.hash)
        return due or sets != self._sets or registry.changes_keys(executed.changes, Role.TLS)

    def _peer(self, member: bytes, key: bytes) -> Peer:
        id_ = member.hex()
        label = self._labels.get(member, id_)
        return Peer(label, key, self._addresses.get(label) or self._addresses.get(id_))


def _validators(state: ChainState) -> dict[bytes, bytes]:
    return {
        each.node_key: each.member
        for group in (state.validators, state.next_validators)
        for each in group.members
    }
