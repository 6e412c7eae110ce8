"""Who the peers are: the node keys that the chain registers, now and soon, and the validators'."""

from pathlib import Path

import msgspec

from contracts import eras, registry
from contracts.execute import DirectSignatures, Executed
from contracts.registry import Key
from contracts.state import Overlay
from ledger.keys import Algorithm, Role, key_id
from ledger.validators import ValidatorSet
from node.chain import Chain
from node.roster import AHEAD, Roster
from tests.chainmaker import key_of, member_of
from tests.node.cluster import LABELS, OBSERVER, Cluster, prescription

ME, LEAVING = LABELS[:2]


class Desk:
    """A chain whose state and height a test bends."""

    def __init__(self, folder: Path) -> None:
        self.cluster = Cluster(folder)
        genesis = self.cluster.genesis.genesis
        self.chain = Chain.open(folder / "chain", genesis, DirectSignatures(), engine="sqlite")
        self.state = Overlay(self.chain.state.state)
        addresses = {ME: ("there", 1), member_of(OBSERVER).hex(): ("by-id", 2)}
        self.bend()
        self.roster = Roster(self.chain, genesis, addresses)

    def bend(self, height: int = 0, validators: ValidatorSet | None = None) -> None:
        state = self.chain.state
        header = msgspec.structs.replace(state.header, height=height)
        fields = {each: getattr(state, each) for each in state.__dataclass_fields__}
        members = validators or state.validators
        last = eras.latest(self.state)
        if members != last.validators:
            eras.begin(self.state, last.from_height + 1, members)
        changed = {"header": header, "state": self.state, "validators": members}
        self.chain.state = type(state)(**(fields | changed | {"next_validators": members}))

    def register(
        self, label: str, first: int, until: int | None = None, *, name: str = ""
    ) -> bytes:
        owner, public = member_of(label), key_of(name or label, Role.TLS).public
        name_of_key = key_id(Role.TLS, Algorithm.ED25519, public)
        if registry.key(self.state, owner, name_of_key) is None:
            registry.register(self.state, owner, Role.TLS, Algorithm.ED25519, public, first, until)
        value = Key(Role.TLS, Algorithm.ED25519, public, first, until)
        self.state.put(b"k" + owner + name_of_key, msgspec.msgpack.encode(value))
        return public

    def executed(self, height: int) -> Executed:
        """Return what a block of this height did, that wrote what was registered."""
        genesis = self.cluster.genesis
        made, _ = self.chain.build(
            [prescription(genesis, height)],
            time=genesis.genesis.time,
            proposer=genesis.genesis.members[0].id,
            built_round=0,
            signatures=DirectSignatures(),
        )
        assert made.header.height == height
        return made

    @property
    def keys(self) -> set[bytes]:
        return {peer.node_key for peer in self.roster.peers()}


def test_the_peers_are_all_who_have_a_node_key_with_where_they_listen(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    peers = {peer.label: peer for peer in desk.roster.peers()}
    assert peers.keys() == {*LABELS, OBSERVER}
    assert peers[ME].address == ("there", 1)
    assert peers[OBSERVER].address == ("by-id", 2)  # by id too
    assert peers[LEAVING].address is None
    assert all(peer.node_key == key_of(label, Role.TLS).public for label, peer in peers.items())
    desk.chain.close()


def test_a_key_is_let_in_before_it_is_in_force_and_not_after(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    old = key_of(OBSERVER, Role.TLS).public
    assert old in desk.keys
    desk.register(OBSERVER, 0, 20)
    new = desk.register(OBSERVER, 20, name="another key")
    assert not desk.roster.has_changed(desk.executed(1))  # nothing of it is of that block
    assert old in desk.keys
    assert new not in desk.keys
    for height in (20 - AHEAD - 1, 18, 19, 20):
        desk.bend(height - 1)
        before = desk.keys
        desk.bend(height)
        changed = desk.roster.has_changed(desk.executed(height + 1))
        desk.bend(height + 1)
        assert changed or desk.keys == before, height  # what changes is not missed
    desk.bend(20 - AHEAD)
    assert {old, new} <= desk.keys
    desk.bend(19)
    assert new in desk.keys
    assert old not in desk.keys
    desk.chain.close()


def test_a_removed_validator_stays_as_long_as_its_key_is_in_force(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert len(desk.roster.peers()) == 5
    members = desk.chain.state.validators.members
    fewer = ValidatorSet(tuple(each for each in members if each.member != member_of(LEAVING)))
    desk.bend(0, fewer)
    leaving = key_of(LEAVING, Role.TLS).public
    assert desk.roster.has_changed(desk.executed(1))
    assert leaving in desk.keys
    assert not desk.roster.has_changed(desk.executed(1))
    desk.register(LEAVING, 0, 1)
    desk.bend(1, fewer)
    assert leaving not in desk.keys
    desk.chain.close()


def test_a_block_that_writes_a_node_key_changes_the_peers() -> None:
    name = b"k" + bytes(24)
    for role in (Role.TLS, Role.TRANSACTION):
        key = Key(role, Algorithm.ED25519, key_of(ME, role).public, 0, None)
        written = {b"m" + bytes(16): bytes(9), name: msgspec.msgpack.encode(key)}
        assert registry.changes_keys(written, Role.TLS) == (role is Role.TLS)
    assert not registry.changes_keys({b"m" + bytes(16): bytes(9)}, Role.TLS)
    assert not registry.changes_keys({b"m" + bytes(16): None}, Role.TLS)
