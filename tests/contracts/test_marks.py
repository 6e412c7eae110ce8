"""Marks: first locked, then used, by one live claim at a time."""

from contracts import dispatch, marks
from contracts.calls import ClaimCancel, MarkLock
from contracts.commitment import lock_of
from contracts.errors import Refusal
from tests.contracts.world import World, mark

SHOP = "shop"


def lock_call(world: World, name: str, shop: str = SHOP) -> MarkLock:
    return MarkLock(lock_of(world.chain_id, world.ids[shop], mark(name).mark))


def test_a_lock_stands_since_its_height() -> None:
    world = World()
    call = lock_call(world, "glasses")
    assert world.call(SHOP, call) == 0
    assert marks.locked_at(world.state, call.lock) == world.chain.header.height


def test_a_lock_concerns_its_sender_alone() -> None:
    world = World()
    executed = world.block(world.transaction(SHOP, lock_call(world, "glasses")))
    assert executed.concerned == ((world.ids[SHOP],),)
    assert dispatch.concerned(world.state, executed.entries[0]) == executed.concerned[0]


def test_a_lock_is_not_renewed() -> None:
    world = World()
    call = lock_call(world, "glasses")
    world.call(SHOP, call)
    since = world.chain.header.height
    executed = world.block(world.transaction(SHOP, call))
    outcome = executed.outcomes[0]
    assert (outcome.code, outcome.evidence) == (Refusal.MARK_ALREADY_LOCKED, (since,))
    assert marks.locked_at(world.state, call.lock) == since


def test_only_opticians_lock() -> None:
    world = World()
    for sender in ("insurer", "operator", "auditor", "doctor"):
        assert world.call(sender, lock_call(world, "glasses")) == Refusal.SENDER_NOT_ELIGIBLE


def test_a_mark_is_not_used_in_the_block_of_its_lock() -> None:
    world = World()
    world.prescribe(SHOP, "glasses")
    locks = world.transaction(SHOP, lock_call(world, "glasses"))
    early = world.transaction(SHOP, world.submission("glasses"))
    executed = world.block(locks, early)
    assert executed.outcomes[1].code == Refusal.MARK_LOCKED_TOO_LATE
    assert executed.outcomes[1].evidence == (0,)
    assert world.call(SHOP, world.submission("glasses")) == 0


def test_a_lock_serves_the_member_who_made_it_only() -> None:
    world = World()
    world.prescribe("rival", "glasses")
    world.lock(SHOP, mark("glasses"))
    assert world.call("rival", world.submission("glasses")) == Refusal.MARK_NOT_LOCKED


def test_who_sees_a_mark_on_its_way_comes_too_late() -> None:
    world = World()
    for shop in (SHOP, "rival"):
        world.prescribe(shop, "glasses")
    world.lock(SHOP, mark("glasses"))
    # The rival reads the shop's claim in a mempool, and gets all of his into the block before it.
    executed = world.block(
        world.transaction("rival", lock_call(world, "glasses", "rival")),
        world.transaction("rival", world.submission("glasses")),
        world.transaction(SHOP, world.submission("glasses")),
    )
    codes = [outcome.code for outcome in executed.outcomes]
    assert codes == [0, Refusal.MARK_LOCKED_TOO_LATE, 0]


def test_a_lock_that_somebody_else_brings_serves_its_owner() -> None:
    world = World()
    world.prescribe(SHOP, "glasses")
    assert world.call("rival", lock_call(world, "glasses", SHOP)) == 0
    assert world.call(SHOP, world.submission("glasses")) == 0


def test_a_lock_is_consumed_by_its_use() -> None:
    world = World()
    id_ = world.submit("glasses")
    lock = lock_call(world, "glasses")
    assert marks.locked_at(world.state, lock.lock) is None
    assert world.holder(mark("glasses").mark) == id_
    assert world.call(SHOP, ClaimCancel(id_)) == 0
    assert world.call(SHOP, world.submission("glasses")) == Refusal.MARK_NOT_LOCKED


def test_a_claim_that_is_refused_leaves_the_lock() -> None:
    world = World()
    world.lock(SHOP, mark("glasses"))
    assert world.call(SHOP, world.submission("glasses")) == Refusal.PRESCRIPTION_NOT_COMMITTED
    world.prescribe(SHOP, "glasses")
    assert world.call(SHOP, world.submission("glasses")) == 0


def test_of_two_claims_in_one_block_the_first_has_the_mark() -> None:
    world = World()
    for shop in (SHOP, "rival"):
        world.prescribe(shop, "glasses")
        world.lock(shop, mark("glasses"))
    executed = world.block(
        world.transaction("rival", world.submission("glasses")),
        world.transaction(SHOP, world.submission("glasses")),
    )
    codes = [outcome.code for outcome in executed.outcomes]
    assert codes == [0, Refusal.MARK_ALREADY_USED]
