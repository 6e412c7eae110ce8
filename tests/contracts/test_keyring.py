"""A member's keys as it changes them itself: added, ended, replaced, and never all lost."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import dispatch, keyring, registry
from contracts.calls import Call, KeyAdd, KeyRevoke, KeyRotate, MarkLock, ValidatorRotate
from contracts.calls.registry import MAX_LIVE_KEYS, MAX_ROTATING_KEYS
from contracts.errors import Inadmissible, KeyNotInForce, Refusal, UnknownKey
from contracts.state import Overlay
from ledger.keys import Algorithm, P256SigningKey, Role, Signer, SigningKey, key_id
from tests.contracts.world import World, bytes32, key_of

P256 = P256SigningKey(bytes32("p256"))
LOCK = MarkLock(bytes32("a lock"))
OWN_ROLES = (Role.TRANSACTION, Role.SEALING, Role.TLS, Role.HUMAN)


def proof(world: World, key: Signer, role: Role, owner: str = "shop") -> bytes:
    member = world.ids[owner]
    return key.sign(
        keyring.possession_bytes(world.chain_id, member, role, key.algorithm, key.public)
    )


def adding(
    world: World,
    key: Signer,
    role: Role = Role.TRANSACTION,
    *,
    first: int = 0,
    until: int | None = None,
) -> KeyAdd:
    return KeyAdd(role, key.algorithm, key.public, first, until, proof(world, key, role))


def rotating(world: World, old: bytes, key: Signer, role: Role, height: int = 0) -> KeyRotate:
    return KeyRotate(old, role, key.algorithm, key.public, height, proof(world, key, role))


def id_of(key: Signer, role: Role = Role.TRANSACTION) -> bytes:
    return key_id(role, key.algorithm, key.public)


SHOP = id_of(key_of("shop"))


@pytest.mark.parametrize("key", [P256, key_of("another")], ids=["P-256", "Ed25519"])
@pytest.mark.parametrize("role", OWN_ROLES)
def test_a_member_adds_a_key(key: Signer, role: Role) -> None:
    world = World()
    call = adding(world, key, role)
    if not role.allows(key.algorithm):
        assert world.call("shop", call) == Refusal.NEW_KEY_UNUSABLE
        return
    assert world.call("shop", call) == 0
    found = registry.key(world.state, world.ids["shop"], id_of(key, role))
    assert found is not None
    assert (found.role, found.from_height, found.until_height) == (role, world.height, None)
    if role.signs_transactions:
        executed = world.block(world.transaction("shop", LOCK, key=key, role=role))
        assert executed.outcomes[0].code == 0


def test_a_change_of_keys_concerns_nobody_else() -> None:
    world = World()
    executed = world.block(world.transaction("shop", adding(world, P256), KeyRevoke(bytes(8), 0)))
    assert executed.concerned == ((world.ids["shop"],),) * 2
    assert dispatch.concerned(world.state, executed.entries[0]) == (world.ids["shop"],)


def test_a_key_is_not_good_in_the_block_that_adds_it() -> None:
    world = World()
    add = world.transaction("shop", adding(world, P256))
    use = world.transaction("shop", LOCK, key=P256)
    with pytest.raises(KeyNotInForce):
        world.execute([add, use])
    world.block(add)
    world.block(use)


def test_a_key_is_good_from_the_height_announced_until_another() -> None:
    world = World()
    first = world.height + 3
    assert world.call("shop", adding(world, P256, first=first, until=first + 2)) == 0
    for _ in range(4):
        if first <= world.height < first + 2:
            world.call("shop", LOCK, key=P256)
        else:
            with pytest.raises(KeyNotInForce):
                world.execute([world.transaction("shop", LOCK, key=P256)])
            world.block()
    assert world.height > first + 1


def test_a_key_that_would_never_be_in_force_is_refused() -> None:
    world = World()
    for first, until in ((0, world.height + 1), (9, 9), (9, 8), (0, 0)):
        executed = world.block(
            world.transaction("shop", adding(world, P256, first=first, until=until))
        )
        assert executed.outcomes[0].code == Refusal.KEY_NEVER_IN_FORCE
        assert executed.outcomes[0].evidence == (max(first, executed.header.height + 1),)


def test_a_key_that_did_not_sign_for_this_member_and_role_is_refused() -> None:
    world = World()
    good = adding(world, P256)
    member, role, chain = world.ids["shop"], Role.TRANSACTION, world.chain_id
    for message in (
        keyring.possession_bytes(chain, world.ids["rival"], role, Algorithm.P256, P256.public),
        keyring.possession_bytes(chain, member, Role.HUMAN, Algorithm.P256, P256.public),
        keyring.possession_bytes(bytes(32), member, role, Algorithm.P256, P256.public),
    ):
        call = msgspec.structs.replace(good, possession=P256.sign(message))
        assert world.call("shop", call) == Refusal.NEW_KEY_NOT_PROVED
    assert world.call("rival", good) == Refusal.NEW_KEY_NOT_PROVED
    assert world.call("shop", good) == 0


@pytest.mark.parametrize("role", OWN_ROLES)
def test_nobody_takes_a_key_that_it_does_not_hold(role: Role) -> None:
    world = World()
    wanted = key_of("what a newcomer is to have")
    call = adding(world, wanted, role)
    other = msgspec.structs.replace(call, possession=key_of("shop").sign(b""))
    assert world.call("shop", other) == Refusal.NEW_KEY_NOT_PROVED
    old = key_of("old", role)
    assert world.call("shop", adding(world, old, role)) == 0
    rotate = rotating(world, id_of(old, role), wanted, role)
    rotate = msgspec.structs.replace(rotate, possession=other.possession)
    assert world.call("shop", rotate) == Refusal.NEW_KEY_NOT_PROVED
    registry.require_new(world.state, Role.TRANSACTION, Algorithm.ED25519, wanted.public)


def test_a_key_that_anybody_ever_had_is_refused() -> None:
    world = World()
    assert world.call("shop", adding(world, key_of("rival"))) == Refusal.NEW_KEY_TAKEN
    assert world.call("shop", adding(world, P256)) == 0
    assert world.call("shop", KeyRevoke(id_of(P256), 0)) == 0
    assert world.call("shop", adding(world, P256)) == Refusal.NEW_KEY_TAKEN
    assert world.call("shop", adding(world, P256, Role.HUMAN)) == Refusal.NEW_KEY_TAKEN


@pytest.mark.parametrize(
    "public", [bytes(32), b"\x01" + bytes(31), b"\xff" * 32, b"\x02" + bytes(32)]
)
def test_a_sealing_key_of_low_order_is_refused(public: bytes) -> None:
    world = World()
    call = KeyAdd(Role.SEALING, Algorithm.ED25519, public, 0, None, bytes(64))
    assert world.call("shop", call) == Refusal.NEW_KEY_UNUSABLE


def test_a_member_has_so_many_live_keys_and_no_more() -> None:
    world = World()
    keys = [SigningKey(bytes32(f"key {number}")) for number in range(MAX_LIVE_KEYS)]
    calls = [adding(world, key, until=1_000) for key in keys]
    executed = world.block(world.transaction("shop", *calls))
    codes = [each.code for each in executed.outcomes]
    assert codes == [0] * (MAX_LIVE_KEYS - 1) + [Refusal.TOO_MANY_KEYS]
    assert executed.outcomes[-1].evidence == (MAX_LIVE_KEYS,)
    assert world.call("shop", KeyRevoke(id_of(keys[0]), 0)) == 0
    assert world.call("shop", calls[-1]) == 0


def test_keys_that_are_replaced_far_ahead_are_live_and_soon_too_many() -> None:
    world, far = World(), 1_000_000
    assert world.call("shop", adding(world, P256)) == 0
    others = (SigningKey(bytes32(f"key {n}")) for n in range(MAX_ROTATING_KEYS - 1))
    keys = [key_of("shop"), *others]
    calls = [rotating(world, id_of(old), new, Role.TRANSACTION, far) for old, new in pairwise(keys)]
    executed = world.block(world.transaction("shop", *calls))
    codes = [each.code for each in executed.outcomes]
    assert codes == [0] * (MAX_ROTATING_KEYS - 2) + [Refusal.TOO_MANY_KEYS]
    assert executed.outcomes[-1].evidence == (MAX_ROTATING_KEYS,)
    assert world.call("shop", KeyRevoke(id_of(keys[1]), 0)) == 0
    assert world.call("shop", calls[-1]) == 0


def test_all_keys_that_a_member_may_have_are_replaced_in_one_block() -> None:
    world = World()
    keys = [SigningKey(bytes32(f"key {n}")) for n in range(2 * MAX_LIVE_KEYS - 1)]
    before, after = keys[: MAX_LIVE_KEYS - 1], keys[MAX_LIVE_KEYS - 1 :]
    added = world.block(world.transaction("shop", *(adding(world, key) for key in before)))
    old = [id_of(each) for each in (key_of("shop"), *before)]
    calls = [
        rotating(world, id_, new, Role.TRANSACTION) for id_, new in zip(old, after, strict=True)
    ]
    executed = world.block(world.transaction("shop", *calls))
    assert {each.code for each in (*added.outcomes, *executed.outcomes)} == {0}


def test_a_key_that_a_member_ends_signs_no_more_from_that_height_on() -> None:
    world = World()
    assert world.call("shop", adding(world, P256)) == 0
    last = world.height + 2
    assert world.call("shop", KeyRevoke(SHOP, last), key=P256) == 0
    assert world.call("shop", LOCK) == 0  # at last - 1
    assert world.height == last
    with pytest.raises(KeyNotInForce):
        world.execute([world.transaction("shop", LOCK)])
    world.call("shop", LOCK, key=P256)


@pytest.mark.parametrize("role", [Role.HUMAN, Role.SEALING, Role.TLS])
def test_the_last_transaction_key_is_never_ended(role: Role) -> None:
    world = World()
    assert world.call("shop", KeyRevoke(SHOP, 0)) == Refusal.LAST_KEY
    assert world.call("shop", adding(world, key_of("x", role), role)) == 0
    assert world.call("shop", KeyRevoke(SHOP, 0)) == Refusal.LAST_KEY
    assert world.call("shop", adding(world, key_of("short"), until=1_000)) == 0
    assert world.call("shop", KeyRevoke(SHOP, 0)) == Refusal.LAST_KEY
    late = world.height + 50
    assert world.call("shop", adding(world, key_of("late"), first=late)) == 0
    assert world.call("shop", KeyRevoke(SHOP, late - 1)) == Refusal.LAST_KEY
    assert world.call("shop", KeyRevoke(SHOP, late)) == 0
    assert world.call("shop", KeyRevoke(id_of(key_of("late")), 0)) == Refusal.LAST_KEY
    assert world.call("shop", KeyRevoke(id_of(key_of("x", role), role), 0)) == 0


def test_a_key_of_nobody_and_one_of_another_member_cannot_be_ended() -> None:
    world = World()
    for id_ in (bytes(8), id_of(key_of("rival"))):
        assert world.call("shop", KeyRevoke(id_, 0)) == Refusal.KEY_UNKNOWN
        rotate = rotating(world, id_, P256, Role.TRANSACTION)
        assert world.call("shop", rotate) == Refusal.KEY_UNKNOWN


def test_a_key_that_ends_cannot_be_ended_later() -> None:
    world = World()
    assert world.call("shop", adding(world, P256, until=100)) == 0
    executed = world.block(world.transaction("shop", KeyRevoke(id_of(P256), 100)))
    assert (executed.outcomes[0].code, executed.outcomes[0].evidence) == (Refusal.KEY_ENDED, (100,))
    assert world.call("shop", KeyRevoke(id_of(P256), 99)) == 0
    assert world.call("shop", KeyRevoke(id_of(P256), 0)) == 0


@pytest.mark.parametrize("role", [Role.CONSENSUS, Role.CHECKPOINT, Role.TLS])
def test_the_keys_of_a_validator_are_not_ended_here(role: Role) -> None:
    world = World()
    id_ = id_of(key_of("insurer", role), role)
    assert world.call("insurer", KeyRevoke(id_, 0)) == Refusal.KEY_OF_VALIDATOR
    if role is Role.TLS:
        rotate = KeyRotate(id_, role, Algorithm.ED25519, key_of("n", role).public, 0, bytes(64))
        assert world.call("insurer", rotate) == Refusal.KEY_OF_VALIDATOR


@pytest.mark.parametrize("role", OWN_ROLES)
def test_a_key_is_replaced_in_one_call(role: Role) -> None:
    world = World()
    old = key_of("shop") if role is Role.TRANSACTION else key_of("old", role)
    if role is not Role.TRANSACTION:
        assert world.call("shop", adding(world, old, role)) == 0
    new = key_of("new", role)
    height = world.height + 2
    rotate = rotating(world, id_of(old, role), new, role, height)
    assert world.call("shop", rotate) == 0
    before, after = (
        registry.key(world.state, world.ids["shop"], id_of(key, role)) for key in (old, new)
    )
    assert before is not None
    assert after is not None
    assert before.until_height == after.from_height == height
    assert after.until_height is None
    assert world.call("shop", rotate, key=key_of("shop")) == Refusal.KEY_ENDED
    if role is Role.TRANSACTION:
        with pytest.raises(KeyNotInForce):
            world.execute([world.transaction("shop", LOCK)])
        assert world.call("shop", LOCK, key=new) == 0


def test_a_key_is_replaced_by_one_of_its_role_that_is_new_and_proved() -> None:
    world = World()
    executed = world.block(world.transaction("shop", rotating(world, SHOP, P256, Role.HUMAN)))
    assert executed.outcomes[0].code == Refusal.KEY_OF_ANOTHER_ROLE
    assert executed.outcomes[0].evidence == (Role.TRANSACTION,)
    taken = rotating(world, SHOP, key_of("rival"), Role.TRANSACTION)
    assert world.call("shop", taken) == Refusal.NEW_KEY_TAKEN
    unproved = KeyRotate(SHOP, Role.TRANSACTION, Algorithm.P256, P256.public, 0, bytes(64))
    assert world.call("shop", unproved) == Refusal.NEW_KEY_NOT_PROVED
    assert world.call("shop", rotating(world, SHOP, P256, Role.TRANSACTION)) == 0


def test_a_member_without_good_standing_changes_no_key() -> None:
    world = World()
    changes = Overlay(world.state)
    registry.suspend(changes, world.ids["shop"], 0)
    world.state.apply(changes.changes)
    with pytest.raises(Inadmissible, match="suspended"):
        world.execute([world.transaction("shop", adding(world, P256))])


def test_a_key_of_another_member_signs_nothing() -> None:
    world = World()
    with pytest.raises(Inadmissible):
        world.execute([world.transaction("shop", LOCK, key=key_of("rival"))])
    with pytest.raises(UnknownKey):
        world.execute([world.transaction("shop", LOCK, key=P256)])


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(0, 6)), max_size=12))
def test_whatever_a_member_does_it_can_sign_at_every_height(
    steps: list[tuple[int, int, int]],
) -> None:
    """Adds, ends and changes of keys in any order, announced up to six blocks ahead."""
    world = World()
    signers: list[Signer] = [key_of("shop"), *(SigningKey(bytes32(f"key {n}")) for n in range(5))]
    for what, which, ahead in steps:
        call: Call
        height, chosen = world.height + ahead, signers[which]
        if what == 0:
            until = height + 4 if which % 2 else None
            call = adding(world, chosen, first=height, until=until)
        elif what == 1:
            call = KeyRevoke(id_of(chosen), height)
        else:
            new = SigningKey(bytes32(f"new {world.height}"))
            call = rotating(world, id_of(chosen), new, Role.TRANSACTION, height)
            signers[which] = new
        world.call("shop", call, key=_good(world, signers))
    for _ in range(10):
        world.call("shop", LOCK, key=_good(world, signers))


def _good(world: World, signers: list[Signer]) -> Signer:
    """Return a key that is in force in the next block: there must always be one."""
    live = registry.live_keys(world.state, world.ids["shop"], world.height)
    good = {held.public for _, held in live if held.is_in_force(world.height)}
    everyone = (*signers, key_of("shop"), *(SigningKey(bytes32(f"key {n}")) for n in range(5)))
    rotated = (SigningKey(bytes32(f"new {height}")) for height in range(world.height + 1))
    return next(key for key in (*everyone, *rotated) if key.public in good)


def test_keys_of_a_validator_are_no_subject_of_these_calls() -> None:
    assert ValidatorRotate.KIND not in {KeyAdd.KIND, KeyRevoke.KIND, KeyRotate.KIND}
    for role in (Role.CONSENSUS, Role.CHECKPOINT):
        with pytest.raises(ValueError, match="calls on validators"):
            KeyAdd(role, Algorithm.ED25519, bytes(32), 0, None, bytes(64))
        with pytest.raises(ValueError, match="calls on validators"):
            KeyRotate(bytes(8), role, Algorithm.ED25519, bytes(32), 0, bytes(64))
