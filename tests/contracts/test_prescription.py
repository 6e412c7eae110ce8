"""Prescriptions: committed once by each who holds one."""

from contracts.calls import PrescriptionCommit
from contracts.errors import Refusal
from contracts.prescription import of
from tests.contracts.world import World, bytes32

CALL = PrescriptionCommit(bytes32("prescription"))


def test_a_commitment_stands_since_its_height() -> None:
    world = World()
    assert world.call("shop", CALL) == 0
    found = of(world.state, world.ids["shop"], CALL.commitment)
    assert found is not None
    assert found.height == world.chain.header.height == 1
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
