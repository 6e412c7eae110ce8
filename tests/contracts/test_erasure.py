"""Acknowledgements and erasures: who may ask whom, what is said to it, and nothing twice."""

import pytest

from contracts import dispatch, erasure, registry
from contracts.calls import (
    Call,
    DisclosureAcknowledge,
    ErasureOutcome,
    ErasureRequest,
    ErasureStatement,
)
from contracts.commitment import erasure_commitment
from contracts.disclosure import stands_since
from contracts.erasure import Erasure, State
from contracts.errors import BadScalar, Refusal
from contracts.state import Overlay
from ledger.entry import Outcome
from ledger.transaction import created_id
from tests.contracts.world import World, bytes32

SHOP, PAYER, STRANGER = "shop", "insurer", "mutual"
WHAT = bytes32("what was disclosed")
ERASED, HELD, NOTHING = ErasureOutcome


def acknowledging(world: World, other: bytes | None = None) -> Call:
    return DisclosureAcknowledge(world.ids[SHOP] if other is None else other, WHAT)


def requesting(world: World, other: bytes | None = None) -> Call:
    return ErasureRequest(world.ids[PAYER] if other is None else other, WHAT)


def asked(world: World) -> bytes:
    """Let the shop ask; return the id of the erasure."""
    made = world.transaction(SHOP, requesting(world))
    assert world.block(made).outcomes == (Outcome(0),)
    return created_id(made.id, 0)


def found(world: World, id_: bytes) -> Erasure:
    there = erasure.load(world.state, id_)
    assert there is not None
    return there


@pytest.mark.parametrize(("sender", "make"), [(PAYER, acknowledging), (SHOP, requesting)])
def test_a_commitment_stands_once_under_who_made_it(sender: str, make: object) -> None:
    assert callable(make)
    world = World()
    call = make(world)
    assert world.make(sender, call) == Outcome(0)
    assert world.make(sender, call) == Outcome(Refusal.COMMITMENT_STANDS, (1,))
    assert world.make("operator", call) == Outcome(0)  # nobody burns that of another
    assert stands_since(world.state, world.ids[sender], WHAT) == 1
    assert stands_since(world.state, world.ids["auditor"], WHAT) is None


def test_what_is_acknowledged_is_not_asked_back_under_the_same_commitment() -> None:
    world = World()
    assert world.call(SHOP, DisclosureAcknowledge(world.ids[PAYER], WHAT)) == 0
    assert world.call(SHOP, requesting(world)) == Refusal.COMMITMENT_STANDS


@pytest.mark.parametrize(("sender", "make"), [(PAYER, acknowledging), (SHOP, requesting)])
@pytest.mark.parametrize("who", ["nobody", "oneself", "suspended"])
def test_the_other_party_is_another_admitted_member(sender: str, make: object, who: str) -> None:
    assert callable(make)
    world = World()
    other = {"nobody": bytes(16), "oneself": world.ids[sender], "suspended": world.ids["rival"]}
    changes = Overlay(world.state)
    registry.suspend(changes, world.ids["rival"], 0)
    world.state.apply(changes.changes)
    is_self = who == "oneself"
    expected = Refusal.COUNTERPART_IS_SENDER if is_self else Refusal.COUNTERPART_UNKNOWN
    assert world.make(sender, make(world, other[who])) == Outcome(expected)
    assert stands_since(world.state, world.ids[sender], WHAT) is None


def test_each_call_concerns_the_two_and_nobody_else() -> None:
    world = World()
    sent = [
        world.transaction(PAYER, acknowledging(world)),
        world.transaction(SHOP, requesting(world)),
    ]
    statement = ErasureStatement(created_id(sent[1].id, 0), ERASED)
    sent.append(world.transaction(PAYER, statement))
    executed = world.block(*sent)
    both = {world.ids[SHOP], world.ids[PAYER]}
    for entry, members in zip(executed.entries, executed.concerned, strict=True):
        assert entry.outcome == Outcome(0)
        assert members[0] == entry.sender
        assert set(members) == both
        assert dispatch.concerned(world.state, entry) == members


@pytest.mark.parametrize("outcome", ErasureOutcome)
def test_the_recipient_says_once_what_became_of_it(outcome: ErasureOutcome) -> None:
    world = World()
    id_ = asked(world)
    begun = world.chain.header.time
    assert found(world, id_) == Erasure(
        world.ids[SHOP], world.ids[PAYER], WHAT, 1, begun, begun, State.REQUESTED, None
    )
    assert world.call(PAYER, ErasureStatement(id_, outcome), after=60) == 0
    state = State.HELD if outcome is HELD else State.STATED
    said = found(world, id_)
    assert (said.state, said.outcome, said.since) == (state, outcome, begun + 60)
    again = Outcome(Refusal.ERASURE_IN_WRONG_STATE, (state,))
    assert world.make(PAYER, ErasureStatement(id_, NOTHING)) == again
    assert found(world, id_) == said


def test_what_the_law_held_is_erased_later_and_nothing_else_is_said_of_it() -> None:
    world = World()
    id_ = asked(world)
    assert world.call(PAYER, ErasureStatement(id_, HELD)) == 0
    for outcome in (HELD, NOTHING):
        refused = Outcome(Refusal.ERASURE_IN_WRONG_STATE, (State.HELD,))
        assert world.make(PAYER, ErasureStatement(id_, outcome)) == refused
    assert world.call(PAYER, ErasureStatement(id_, ERASED)) == 0
    said = found(world, id_)
    assert (said.state, said.outcome) == (State.STATED, ERASED)
    over = Outcome(Refusal.ERASURE_IN_WRONG_STATE, (State.STATED,))
    assert world.make(PAYER, ErasureStatement(id_, ERASED)) == over


def test_nobody_but_the_recipient_says_it() -> None:
    world = World()
    id_ = asked(world)
    for sender in (SHOP, STRANGER):
        assert world.call(sender, ErasureStatement(id_, ERASED)) == Refusal.ERASURE_NOT_YOURS
    assert world.call(PAYER, ErasureStatement(bytes32("none"), ERASED)) == Refusal.ERASURE_UNKNOWN
    assert found(world, id_).state is State.REQUESTED


def test_the_commitment_is_salted_and_takes_a_whole_salt() -> None:
    salt, other = bytes32("salt"), bytes32("another salt")
    made = erasure_commitment(salt, WHAT)
    assert made == erasure_commitment(salt, WHAT)
    assert len({made, erasure_commitment(other, WHAT), erasure_commitment(salt, other)}) == 3
    with pytest.raises(BadScalar, match="the salt of an erasure"):
        erasure_commitment(salt[:31], WHAT)
