"""Every cell of the life of proposals, for each thing that a vote may do to one."""

from collections.abc import Callable

import msgspec
import pytest

from contracts import ballot, governance
from contracts.ballot import Ballot
from contracts.calls import JoinValidators, LeaveValidators, RemoveMember, Vote, Withdraw
from contracts.errors import Refusal
from contracts.governance import Proposal, SeatCall, State
from contracts.state import Overlay
from ledger.entry import Outcome
from tests.contracts.test_governance import NOTICE, refused, suspend
from tests.contracts.test_membership import Council
from tests.contracts.world import VALIDATORS, World

# What the vote of `mutual` leads to, and whether on who runs validators.
DECIDES = ((State.OPEN, False), (State.PASSED, False), (State.PASSED, True), (State.FAILED, False))
EFFECT = 40
DAY_S = 86_400


def ready(what: State, *, seats: bool = False) -> tuple[World, bytes, Vote]:
    """Return a proposal of height 1 on which one more vote, of the mutual, does this."""
    world = World()
    subject = LeaveValidators(world.ids["insurer"]) if seats else suspend(world)
    id_ = world.propose(subject, effect=EFFECT, days=1)
    before = {
        State.OPEN: {},
        State.PASSED: {"federation": True, "operator": True},
        State.FAILED: {"federation": False},
    }[what]
    for name, agrees in before.items():
        world.vote(id_, name, agrees=agrees)
    return world, id_, Vote(id_, agrees=what is not State.FAILED)


def proposal(world: World, id_: bytes) -> Proposal:
    found = governance.load(world.state, id_)
    assert found is not None
    return found


def led_to(outcome: Outcome) -> int | None:
    return outcome.evidence[0] if outcome.code == 0 else None


@pytest.mark.parametrize(("what", "seats"), DECIDES)
def test_a_vote_is_counted_and_what_it_decides_is_off_the_list(what: State, *, seats: bool) -> None:
    world, id_, vote = ready(what, seats=seats)
    assert led_to(world.make("mutual", vote)) == what
    height = world.chain.header.height
    mutual = world.ids["mutual"]
    assert ballot.ballot(world.state, id_, mutual) == Ballot(vote.agrees, height)
    listed = [slot.id for slot in governance.docket(world.state).slots]
    assert listed == ([id_] if what is State.OPEN else [])
    assert proposal(world, id_).decided == (0 if what is State.OPEN else height)


@pytest.mark.parametrize(("what", "seats"), DECIDES)
def test_whatever_a_vote_does_it_does_until_the_last_second(what: State, *, seats: bool) -> None:
    for late in (0, 1):
        world, id_, vote = ready(what, seats=seats)
        last = proposal(world, id_).deadline
        outcome = world.make("mutual", vote, after=last - world.chain.header.time + late)
        assert led_to(outcome) == (None if late else what)
        if late:
            assert outcome == refused(Refusal.TOO_LATE, last)


@pytest.mark.parametrize(("what", "seats"), DECIDES)
def test_whatever_a_vote_does_there_is_notice(what: State, *, seats: bool) -> None:
    for late in (0, 1):
        world, _, vote = ready(what, seats=seats)
        world.reach(EFFECT - NOTICE + late)
        outcome = world.make("mutual", vote)
        assert led_to(outcome) == (None if late else what)
        if late:
            assert outcome == refused(Refusal.EFFECT_TOO_NEAR, EFFECT + 1)


LEFT = {  # who runs validators when others have gone, so that any vote would decide
    State.PASSED: ("federation", "operator", "insurer"),
    State.FAILED: ("federation", "operator"),
}


@pytest.mark.parametrize(
    ("what", "seats"), [(State.PASSED, False), (State.PASSED, True), (State.FAILED, False)]
)
def test_where_any_vote_would_decide_it_is_still_one_of_an_elector_and_the_first(
    what: State, *, seats: bool
) -> None:
    world, id_, vote = ready(what, seats=seats)
    world.let_validate(*LEFT[what])
    voted = ballot.ballot(world.state, id_, world.ids["federation"])
    assert voted is not None
    assert world.make("shop", vote) == refused(Refusal.NOT_GOVERNING)
    assert world.make("mutual", vote) == refused(Refusal.NOT_GOVERNING)
    assert world.make("federation", vote) == refused(Refusal.ALREADY_VOTED, voted.height)
    assert proposal(world, id_).state is State.OPEN


def brought(world: World, state: State) -> bytes:
    """Return a proposal of the federation in this state, on which the mutual has not voted."""
    id_ = world.propose(suspend(world), effect=30)
    if state is State.WITHDRAWN:
        world.make("federation", Withdraw(id_))
    elif state is State.FAILED:
        world.vote(id_, "federation", "operator", agrees=False)
    else:
        voters = ("federation", "operator", "insurer")
        if state is State.MOOT:
            gone = world.propose(RemoveMember(world.ids["shop"]), effect=29)
            world.vote(gone, *voters)
        world.vote(id_, *voters)
        if state is not State.PASSED:
            world.reach(30)
    assert proposal(world, id_).state is state
    return id_


CLOSED = (State.PASSED, State.FAILED, State.WITHDRAWN, State.ENACTED, State.MOOT)


@pytest.mark.parametrize("state", CLOSED)
def test_a_proposal_that_is_decided_is_neither_voted_on_nor_withdrawn(state: State) -> None:
    world = World()
    id_ = brought(world, state)
    closed = refused(Refusal.PROPOSAL_IN_WRONG_STATE, state)
    for agrees in (True, False):
        assert world.make("mutual", Vote(id_, agrees=agrees)) == closed
    assert world.make("federation", Withdraw(id_)) == closed
    assert proposal(world, id_).state is state


# --- changes of validators, which use a proposal up -----------------------------------------------

SEATS: dict[str, Callable[[Council], SeatCall]] = {
    "join": lambda world: world.joining("shop"),
    "leave": lambda world: world.leaving("mutual"),
    "replace": lambda world: world.replacing("mutual", "shop"),
}
FIVE = (*VALIDATORS, "rival")


def seat(name: str) -> tuple[Council, SeatCall]:
    """Return a call that changes who runs validators, as it was voted."""
    world = Council()
    world.let_validate(*FIVE)
    return world, SEATS[name](world)


def sender(name: str) -> str:
    return "federation" if name == "leave" else "shop"


def brought_to(world: World, call: SeatCall, **fields: object) -> None:
    """Let the proposal that a call names be another."""
    id_ = call.change.proposal
    overlay = Overlay(world.state)
    governance.LIFE.save(overlay, id_, msgspec.structs.replace(proposal(world, id_), **fields))
    world.state.apply(overlay.changes)


@pytest.mark.parametrize("name", SEATS)
def test_a_change_of_seats_uses_up_what_was_voted_for_it(name: str) -> None:
    world, call = seat(name)
    assert world.make(sender(name), call) == Outcome(0)
    assert proposal(world, call.change.proposal).state is State.ENACTED


@pytest.mark.parametrize("name", SEATS)
@pytest.mark.parametrize("state", [state for state in State if state is not State.PASSED])
def test_only_what_passed_lets_seats_change(name: str, state: State) -> None:
    world, call = seat(name)
    brought_to(world, call, state=state)
    closed = refused(Refusal.PROPOSAL_IN_WRONG_STATE, state)
    assert world.make(sender(name), call) == closed
    assert proposal(world, call.change.proposal).state is state


@pytest.mark.parametrize("name", SEATS)
def test_seats_change_from_the_height_announced_until_the_last_second(name: str) -> None:
    for early in (0, 1):
        world, call = seat(name)
        first = world.chain.header.height + 1 + early
        brought_to(world, call, effect=first)
        outcome = world.make(sender(name), call)
        assert outcome == (refused(Refusal.NOT_IN_EFFECT_YET, first) if early else Outcome(0))
    for late in (0, 1):
        world, call = seat(name)
        last = world.chain.header.time + 60
        brought_to(world, call, deadline=last)
        outcome = world.make(sender(name), call, after=60 + late)
        assert outcome == (refused(Refusal.TOO_LATE, last) if late else Outcome(0))


@pytest.mark.parametrize("name", SEATS)
def test_seats_change_as_was_voted_and_not_otherwise(name: str) -> None:
    world, call = seat(name)
    brought_to(world, call, subject=JoinValidators(world.ids["doctor"]))
    assert world.make(sender(name), call) == refused(Refusal.PROPOSAL_OF_ANOTHER_CHANGE)
