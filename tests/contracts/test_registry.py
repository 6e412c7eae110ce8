"""Members and keys: who may send, with which key, at which height."""

import pytest

from contracts import countries, registry
from contracts.errors import (
    KeyInUse,
    KeyNotForTransactions,
    KeyNotInForce,
    SenderNotAdmitted,
    UnknownKey,
    UnknownSender,
)
from contracts.registry import Family, Key, Member, Status
from contracts.state import Nothing, Overlay
from ledger.encoding import encode
from ledger.errors import BadKey
from ledger.hashing import Domain, hash_of
from ledger.keys import Algorithm, P256SigningKey, PublicKey, Role, key_id
from ledger.validators import MemberId
from tests.contracts.world import key_of

OWNER = MemberId(bytes(range(16)))
PUBLIC = key_of("owner").public
P256 = P256SigningKey(bytes(range(1, 33))).public
ED25519 = Algorithm.ED25519


def empty() -> Overlay:
    return Overlay(Nothing())


class _Counting:
    """A state that counts how many keys of members are read of it."""

    def __init__(self, state: Overlay) -> None:
        self._state, self.keys = state, 0

    def get(self, key: bytes) -> bytes | None:
        self.keys += key[:1] == b"k"
        return self._state.get(key)

    def scan(self, prefix: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        found = self._state.scan(prefix, limit)
        self.keys += sum(key[:1] == b"k" for key, _ in found)
        return found


def put_key(state: Overlay, from_height: int, until_height: int | None) -> bytes:
    id_ = key_id(Role.TRANSACTION, ED25519, PUBLIC)
    key = Key(Role.TRANSACTION, ED25519, PUBLIC, from_height, until_height)
    state.put(b"k" + OWNER + id_, encode(key))
    return id_


def test_a_member_is_named_by_the_hash_of_its_first_transaction_key() -> None:
    assert registry.member_id(PUBLIC) == hash_of(Domain.MEMBER, PUBLIC)[:16]


def test_an_admitted_member_may_send() -> None:
    state = empty()
    registry.admit(state, OWNER, Family.OPTICIAN, b"FR", 0)
    member = Member(Family.OPTICIAN, b"FR", Status.ADMITTED)
    assert registry.sender(state, OWNER) == registry.admitted(state, OWNER) == member


def test_a_stranger_may_not() -> None:
    with pytest.raises(UnknownSender):
        registry.sender(empty(), OWNER)
    assert registry.member(empty(), OWNER) is None
    assert registry.admitted(empty(), OWNER) is None


@pytest.mark.parametrize("status", [Status.SUSPENDED, Status.REMOVED])
def test_who_is_suspended_or_removed_may_not(status: Status) -> None:
    state = empty()
    state.put(b"m" + OWNER, encode(Member(Family.INSURER, b"FR", status)))
    with pytest.raises(SenderNotAdmitted, match=status.name.lower()):
        registry.sender(state, OWNER)
    assert registry.admitted(state, OWNER) is None
    assert registry.member(state, OWNER) is not None


def test_a_registered_key_signs_transactions_of_its_owner_only() -> None:
    state = empty()
    id_ = registry.register(state, OWNER, Role.TRANSACTION, ED25519, PUBLIC, 0)
    assert registry.transaction_key(state, OWNER, id_, 1).public == PUBLIC
    with pytest.raises(UnknownKey):
        registry.transaction_key(state, bytes(16), id_, 1)
    with pytest.raises(UnknownKey):
        registry.transaction_key(state, OWNER, bytes(8), 1)


def test_a_key_that_a_person_holds_signs_transactions_too() -> None:
    state = empty()
    id_ = registry.register(state, OWNER, Role.HUMAN, ED25519, PUBLIC, 0)
    assert registry.transaction_key(state, OWNER, id_, 1).public == PUBLIC


@pytest.mark.parametrize("role", [role for role in Role if not role.signs_transactions])
def test_a_key_of_another_role_signs_no_transaction(role: Role) -> None:
    state = empty()
    id_ = registry.register(state, OWNER, role, ED25519, PUBLIC, 0)
    with pytest.raises(KeyNotForTransactions, match=role.name.lower()):
        registry.transaction_key(state, OWNER, id_, 1)


@pytest.mark.parametrize(
    ("height", "in_force"), [(4, False), (5, True), (8, True), (9, False), (10, False)]
)
def test_a_key_is_in_force_from_a_height_until_another(height: int, *, in_force: bool) -> None:
    state = empty()
    id_ = put_key(state, 5, 9)
    if in_force:
        assert registry.transaction_key(state, OWNER, id_, height).public == PUBLIC
    else:
        with pytest.raises(KeyNotInForce):
            registry.transaction_key(state, OWNER, id_, height)


def test_nobody_registers_a_key_that_is_registered() -> None:
    state = empty()
    registry.register(state, OWNER, Role.TRANSACTION, ED25519, PUBLIC, 0)
    for owner, role in ((OWNER, Role.TLS), (MemberId(bytes(16)), Role.TRANSACTION)):
        before = dict(state.changes)
        with pytest.raises(KeyInUse):
            registry.register(state, owner, role, ED25519, PUBLIC, 3)
        assert state.changes == before


@pytest.mark.parametrize(
    "public",
    [
        bytes(32),
        b"\x01" + bytes(31),
        b"\xff" * 32,
        bytes(31),
        bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    ],
)
def test_low_order_and_malformed_keys_are_refused(public: bytes) -> None:
    with pytest.raises(BadKey):
        registry.register(empty(), OWNER, Role.TRANSACTION, ED25519, public, 0)


@pytest.mark.parametrize("role", Role)
def test_p256_is_for_transactions_alone(role: Role) -> None:
    state = empty()
    if role in (Role.TRANSACTION, Role.HUMAN):
        id_ = registry.register(state, OWNER, role, Algorithm.P256, P256, 0)
        assert registry.transaction_key(state, OWNER, id_, 1).public == P256
        with pytest.raises(KeyInUse):
            registry.register(state, MemberId(bytes(16)), role, Algorithm.P256, P256, 0)
    else:
        with pytest.raises(BadKey, match=f"a {role.name.lower()} key is Ed25519"):
            registry.register(state, OWNER, role, Algorithm.P256, P256, 0)
        assert not state.changes


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize("role", Role)
def test_a_key_of_one_algorithm_is_none_of_another(role: Role, algorithm: Algorithm) -> None:
    other = PUBLIC if algorithm is Algorithm.P256 else P256
    with pytest.raises(BadKey):
        registry.register(empty(), OWNER, role, algorithm, other, 0)


def test_who_owns_a_key_is_found_by_its_id() -> None:
    state = empty()
    id_ = registry.register(state, OWNER, Role.TRANSACTION, ED25519, PUBLIC, 0)
    assert registry.owner_of(state, id_) == OWNER
    assert registry.owner_of(state, bytes(8)) is None


def test_two_keys_of_the_network_never_have_one_id() -> None:
    """Two keys of one id are 2^32 draws away; here the other one is as if it were there."""
    state = empty()
    state.put(b"i" + key_id(Role.TRANSACTION, ED25519, PUBLIC), bytes(16))
    before = dict(state.changes)
    with pytest.raises(KeyInUse):
        registry.register(state, OWNER, Role.TRANSACTION, ED25519, PUBLIC, 0)
    assert state.changes == before


def live(state: Overlay, height: int) -> list[bytes]:
    return [held.public for _, held in registry.live_keys(state, OWNER, height)]


def founded() -> tuple[Overlay, list[PublicKey]]:
    """Return a member with a key of each role, from height 0."""
    state = empty()
    registry.admit(state, OWNER, Family.OPTICIAN, b"FR", 0)
    keys = [key_of("founded", role).public for role in Role]
    for role, public in zip(Role, keys, strict=True):
        registry.register(state, OWNER, role, ED25519, public, 0)
    return state, keys


def test_where_a_member_stood_is_known_for_every_height() -> None:
    state, _ = founded()
    registry.suspend(state, OWNER, 5)
    with pytest.raises(SenderNotAdmitted, match="suspended"):
        registry.sender(state, OWNER)
    registry.suspend(state, OWNER, 6)  # nothing changes: it is suspended
    registry.reinstate(state, OWNER, 9)
    assert registry.admitted(state, OWNER) is not None
    registry.reinstate(state, OWNER, 10)
    registry.remove(state, OWNER, 12)
    for again in (registry.suspend, registry.reinstate, registry.remove):
        again(state, OWNER, 13)  # gone is gone
    assert registry.admitted(state, OWNER) is None
    found = registry.member(state, OWNER)
    assert found == Member(Family.OPTICIAN, b"FR", Status.REMOVED, 12, 3)
    assert [(each.height, each.status) for each in registry.standings(state, OWNER)] == [
        (0, Status.ADMITTED),
        (5, Status.SUSPENDED),
        (9, Status.ADMITTED),
        (12, Status.REMOVED),
    ]


def test_a_suspended_member_can_be_removed_and_keeps_its_keys_until_then() -> None:
    state, keys = founded()
    registry.suspend(state, OWNER, 5)
    assert live(state, 5) == keys
    registry.remove(state, OWNER, 7)
    assert live(state, 6) == keys
    assert live(state, 7) == []
    assert {held.until_height for _, held in registry.keys_of(state, OWNER)} == {7}


def test_who_lost_its_keys_gets_another_and_the_lost_ones_end() -> None:
    state, keys = founded()
    sealing = [key_of("founded", role).public for role in (Role.SEALING, Role.TLS)]
    id_ = registry.rekey(state, OWNER, Algorithm.P256, P256, 5)
    assert registry.transaction_key(state, OWNER, id_, 5).public == P256
    lost = key_id(Role.TRANSACTION, ED25519, keys[0])
    assert registry.transaction_key(state, OWNER, lost, 4).public == keys[0]
    with pytest.raises(KeyNotInForce):
        registry.transaction_key(state, OWNER, lost, 5)
    kept = {key_of("founded", role).public for role in (Role.CONSENSUS, Role.CHECKPOINT)}
    assert set(live(state, 5)) == {P256, *sealing, *kept}


def test_a_key_that_is_used_cannot_replace_lost_ones_and_nothing_ends() -> None:
    state, keys = founded()
    before = dict(state.changes)
    with pytest.raises(KeyInUse):
        registry.rekey(state, OWNER, ED25519, keys[3], 5)
    with pytest.raises(BadKey):
        registry.rekey(state, OWNER, ED25519, bytes(32), 5)
    assert state.changes == before


def test_a_key_that_is_to_end_ends_earlier_and_never_later() -> None:
    state = empty()
    id_ = registry.register(state, OWNER, Role.TRANSACTION, ED25519, PUBLIC, 2, 9)
    registry.end(state, OWNER, id_, 12)
    assert registry.key(state, OWNER, id_) == Key(Role.TRANSACTION, ED25519, PUBLIC, 2, 9)
    registry.end(state, OWNER, id_, 5)
    assert registry.key(state, OWNER, id_) == Key(Role.TRANSACTION, ED25519, PUBLIC, 2, 5)


def test_a_key_that_has_ended_is_forgotten_among_the_live_ones_only() -> None:
    state, keys = founded()
    registry.end(state, OWNER, key_id(Role.SEALING, ED25519, keys[3]), 5)
    registry.forget_ended(state, OWNER, 4)
    assert live(state, 4) == keys
    registry.forget_ended(state, OWNER, 5)
    assert live(state, 5) == live(state, 0) == keys[:3] + keys[4:]
    assert len(registry.keys_of(state, OWNER)) == len(keys)


def test_keys_of_a_role_are_found_without_a_look_at_those_that_ended() -> None:
    state, keys = founded()
    nodes = [key_of(f"node {number}", Role.TLS).public for number in range(6)]
    for height, public in enumerate(nodes):  # a member that changes its node key at every block
        registry.forget_ended(state, OWNER, height)
        registry.register(state, OWNER, Role.TLS, ED25519, public, height, height + 1)
    looked = _Counting(state)
    found = registry.keys(looked, Role.TLS, 5)
    assert [held.public for _, held in found] == [keys[4], nodes[5]]
    assert {owner for owner, _ in found} == {OWNER}
    assert looked.keys == len(keys) + 1


@pytest.mark.parametrize("country", [b"GB", b"CH", b"US", b"EL", b"fr", b"F1", b"\xc3\x89"])
def test_a_country_beyond_the_area_is_told(country: bytes) -> None:
    assert not countries.is_in_eea(country)


def test_the_area_is_the_union_and_three_more() -> None:
    every = (*countries.UNION, *countries.ASSOCIATED)
    assert all(map(countries.is_in_eea, every))
    assert len(set(every)) == len(every) == 30
    assert list(countries.UNION) == sorted(countries.UNION)


def test_every_member_that_there_ever_was_is_listed_once() -> None:
    state, _ = founded()
    registry.admit(state, MemberId(bytes(16)), Family.INSURER, b"DE", 3)
    registry.remove(state, OWNER, 4)
    assert [(id_, found.status) for id_, found in registry.members(state)] == [
        (bytes(16), Status.ADMITTED),
        (OWNER, Status.REMOVED),
    ]


def test_a_block_that_writes_a_key_changes_keys_of_its_role() -> None:
    state = empty()
    put_key(state, 0, None)
    assert registry.changes_keys(state.changes, Role.TRANSACTION)
    assert not registry.changes_keys(state.changes, Role.TLS)
    other = empty()
    registry.admit(other, OWNER, Family.OPTICIAN, b"FR", 0)
    assert not registry.changes_keys(other.changes, Role.TRANSACTION)


def test_what_the_state_says_of_a_member_is_enough_to_read_it_and_its_keys() -> None:
    state = empty()
    registry.admit(state, OWNER, Family.OPTICIAN, b"FR", 3)
    id_ = registry.register(state, OWNER, Role.TRANSACTION, ED25519, PUBLIC, 3)
    registry.suspend(state, OWNER, 5)
    other = MemberId(bytes(16))
    registry.admit(state, other, Family.INSURER, b"FR", 3)
    copy = empty()
    for key, value in registry.pairs_of(state, OWNER):
        copy.put(key, value)
    assert registry.members(copy) == [(OWNER, registry.member(state, OWNER))]
    assert registry.standings(copy, OWNER) == registry.standings(state, OWNER)
    assert registry.live_keys(copy, OWNER, 5) == registry.live_keys(state, OWNER, 5)
    assert registry.owner_of(copy, id_) == OWNER
    assert registry.pairs_of(empty(), OWNER) == []
