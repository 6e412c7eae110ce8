"""Every cell of the life of proposals, for each thing that a vote may do to one."""

import pytest

from contracts import ballot, governance
from contracts.ballot import Ballot
from contracts.calls import RemoveMember, Vote, Withdraw
from contracts.errors import Refusal
from contracts.governance import Proposal, State
from ledger.entry import Outcome
from tests.contracts.test_governance import NOTICE, refused, suspend
from tests.contracts.world import World

DECIDES = (State.OPEN, State.PASSED, State.FAILED)  # what the vote of `mutual` leads to
EFFECT = 40
DAY_S = 86_400


def ready(what: State) -> tuple[World, bytes, Vote]:
    """Return a proposal of height 1 on which one more vote, of the mutual, does this."""
    world = World()
    id_ = world.propose(suspend(world), effect=EFFECT, days=1)
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


@pytest.mark.parametrize("what", DECIDES)
def test_a_vote_is_counted_and_what_it_decides_is_off_the_list(what: State) -> None:
    world, id_, vote = ready(what)
    assert led_to(world.make("mutual", vote)) == what
    height = world.chain.header.height
    mutual = world.ids["mutual"]
    assert ballot.ballot(world.state, id_, mutual) == Ballot(vote.agrees, height)
    listed = [slot.id for slot in governance.docket(world.state).slots]
    assert listed == ([id_] if what is State.OPEN else [])
    assert proposal(world, id_).decided == (0 if what is State.OPEN else height)


@pytest.mark.parametrize("what", DECIDES)
def test_whatever_a_vote_does_it_does_until_the_last_second(what: State) -> None:
    for late in (0, 1):
        world, id_, vote = ready(what)
        last = proposal(world, id_).deadline
        outcome = world.make("mutual", vote, after=last - world.chain.header.time + late)
        assert led_to(outcome) == (None if late else what)
        if late:
            assert outcome == refused(Refusal.TOO_LATE, last)


@pytest.mark.parametrize("what", DECIDES)
def test_whatever_a_vote_does_there_is_notice(what: State) -> None:
    for late in (0, 1):
        world, _, vote = ready(what)
        world.reach(EFFECT - NOTICE + late)
        outcome = world.make("mutual", vote)
        assert led_to(outcome) == (None if late else what)
        if late:
            assert outcome == refused(Refusal.EFFECT_TOO_NEAR, EFFECT + 1)


LEFT = {  # who runs validators when others have gone, so that any vote would decide
    State.PASSED: ("federation", "operator", "insurer"),
    State.FAILED: ("federation", "operator"),
}


@pytest.mark.parametrize("what", LEFT)
def test_where_any_vote_would_decide_it_is_still_one_of_an_elector_and_the_first(
    what: State,
) -> None:
    world, id_, vote = ready(what)
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
