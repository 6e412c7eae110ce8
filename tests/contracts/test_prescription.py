"""Prescriptions: committed once by each who holds one."""

import pytest

from contracts import dispatch
from contracts.calls import Call, PrescriptionCommit, PrescriptionRevoke, PrescriptionSupersede
from contracts.errors import Refusal
from contracts.prescription import Prescription, State, of
from ledger.entry import Outcome
from tests.contracts.stages import prepared, request, submission
from tests.contracts.world import World, bytes32

CALL = PrescriptionCommit(bytes32("prescription"))


def test_a_commitment_stands_since_its_height() -> None:
    world = World()
    assert world.call("shop", CALL) == 0
    assert found(world, CALL.commitment).height == world.chain.header.height == 1
    assert of(world.state, world.ids["rival"], CALL.commitment) is None


def test_the_same_again_is_refused_with_the_height() -> None:
    world = World()
    world.call("shop", CALL)
    outcome = world.block(world.transaction("shop", CALL)).outcomes[0]
    assert (outcome.code, outcome.evidence) == (Refusal.PRESCRIPTION_ALREADY_COMMITTED, (1,))


def test_nobody_burns_the_commitment_of_another() -> None:
    world = World()
    assert world.call("rival", CALL) == 0
    assert world.call("shop", CALL) == 0


def test_opticians_and_prescribers_hold_prescriptions_and_nobody_else() -> None:
    world = World()
    codes = {name: world.call(name, CALL) for name in world.ids}
    may = {name for name, code in codes.items() if code == 0}
    assert may == {"shop", "rival", "federation", "doctor"}
    assert {code for name, code in codes.items() if name not in may} == {1}


OTHER = bytes32("rectified")
SUPERSEDE = PrescriptionSupersede(CALL.commitment, OTHER)
REVOKE = PrescriptionRevoke(CALL.commitment)


def committed(*more: Call) -> World:
    """Return a world in which the shop committed it, and made these calls."""
    world = World()
    for call in (CALL, *more):
        assert world.call("shop", call) == 0
    return world


def found(world: World, commitment: bytes) -> Prescription:
    there = of(world.state, world.ids["shop"], commitment)
    assert there is not None
    return there


def test_a_rectified_one_takes_its_place_and_both_say_so() -> None:
    world = committed()
    assert world.call("shop", SUPERSEDE, after=60) == 0
    old, new = found(world, CALL.commitment), found(world, OTHER)
    time, height = world.chain.header.time, world.chain.header.height
    assert (old.state, old.successor, old.height) == (State.SUPERSEDED, OTHER, 1)
    assert (new.state, new.successor, new.height) == (State.COMMITTED, None, height)
    assert old.since == new.since == time
    assert world.call("shop", PrescriptionRevoke(OTHER)) == 0  # the new one has a life of its own
    assert found(world, OTHER).state is State.REVOKED


def test_a_successor_is_new() -> None:
    world = committed(PrescriptionCommit(OTHER))
    taken = Outcome(Refusal.PRESCRIPTION_ALREADY_COMMITTED, (2,))
    assert world.make("shop", SUPERSEDE) == taken
    itself = Outcome(Refusal.PRESCRIPTION_ALREADY_COMMITTED, (1,))
    assert world.make("shop", PrescriptionSupersede(CALL.commitment, CALL.commitment)) == itself
    assert found(world, CALL.commitment).state is State.COMMITTED


@pytest.mark.parametrize("call", [SUPERSEDE, REVOKE])
def test_who_did_not_commit_it_changes_nothing(call: Call) -> None:
    world = committed()
    assert world.call("rival", call) == Refusal.PRESCRIPTION_NOT_COMMITTED
    assert world.call("insurer", call) == Refusal.PRESCRIPTION_NOT_COMMITTED
    assert found(world, CALL.commitment).state is State.COMMITTED


@pytest.mark.parametrize(
    ("first", "state"), [(SUPERSEDE, State.SUPERSEDED), (REVOKE, State.REVOKED)]
)
def test_what_is_superseded_or_revoked_stays_so(first: Call, state: State) -> None:
    world = committed(first)
    over = Outcome(Refusal.PRESCRIPTION_NOT_IN_FORCE, (state,))
    again = PrescriptionSupersede(CALL.commitment, bytes32("once more"))
    assert world.make("shop", again) == world.make("shop", REVOKE) == over
    assert world.call("shop", CALL) == Refusal.PRESCRIPTION_ALREADY_COMMITTED
    assert found(world, CALL.commitment).state is state


@pytest.mark.parametrize("state", [State.SUPERSEDED, State.REVOKED])
def test_what_is_not_in_force_carries_no_new_claim_and_no_new_request(state: State) -> None:
    world = prepared()
    name = submission(world).prescription
    superseding = state is State.SUPERSEDED
    undo = PrescriptionSupersede(name, OTHER) if superseding else PrescriptionRevoke(name)
    assert world.call("shop", undo) == 0
    for call in (submission(world), request(world)):
        assert world.make("shop", call) == Outcome(Refusal.PRESCRIPTION_NOT_IN_FORCE, (state,))


def test_a_prescription_concerns_its_member_alone() -> None:
    world = World()
    for call in (CALL, SUPERSEDE, PrescriptionRevoke(OTHER)):
        executed = world.block(world.transaction("shop", call))
        assert executed.outcomes == (Outcome(0),)
        assert executed.concerned == ((world.ids["shop"],),)
        assert dispatch.concerned(world.state, executed.entries[0]) == executed.concerned[0]
