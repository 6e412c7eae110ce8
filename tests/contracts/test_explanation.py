"""What a table says of one thing at one time, on the small life of letters and on the real ones."""

import dataclasses
from typing import Any, Final

from contracts import claim, claim_life, governance, settlement
from contracts.calls import (
    ClaimAccept,
    ClaimCancel,
    ClaimReject,
    ClaimSubmit,
    Leg,
    MarkLock,
    SettlementAdd,
    SuspendMember,
    Vote,
    Withdraw,
)
from contracts.explanation import Phase, Step, explain, named
from contracts.life import Life
from contracts.marks import Held
from contracts.parameters import Parameters
from ledger.encoding import Struct
from ledger.validators import Bytes16
from tests.contracts.test_life import (
    LIFE,
    READER,
    WRITER,
    Party,
    State,
    a_day_later,
    by,
    by_window,
    sent,
)
from tests.contracts.world import World, bytes32, mark

P: Final = Parameters()


def step_at(opens: int | None, closes: int | None, due: int | None = None) -> Step:
    return Step(ClaimCancel, Party.WRITER, WRITER, State.TORN, None, (), opens, closes, due)


def test_what_may_happen_next_is_every_open_row_with_who_and_what_comes_of_it() -> None:
    made, id_ = sent()
    found = explain(LIFE, made.state, id_, time=1_000, parameters=P)
    assert found is not None
    assert (found.name, found.id, found.state) == ("claim", id_, State.SENT)
    assert found.parties == ((Party.WRITER, WRITER), (Party.READER, READER))
    assert [(step.call, step.member, step.after, step.condition) for step in found.steps] == [
        (ClaimAccept, READER, State.ANSWERED, None),
        (ClaimReject, READER, State.KEPT, "says_other"),
        (ClaimReject, READER, State.TORN, None),
    ]
    assert [step.guards for step in found.steps] == [(), (), ("from_optician",)]
    assert found.overdue == ()


def test_the_times_of_a_row_are_told_as_they_are_for_this_thing() -> None:
    made, id_ = sent()
    LIFE.apply(by(made, READER), ClaimAccept(id_, None))
    letter = LIFE.load(made.state, id_)
    assert letter is not None
    found = explain(LIFE, made.state, id_, time=1_000, parameters=P)
    assert found is not None
    _, tear = found.steps
    assert (tear.opens, tear.closes) == (
        a_day_later(made.state, letter, P),
        by_window(made.state, letter, P),
    )


def test_of_a_thing_that_there_is_not_nothing_is_said() -> None:
    assert explain(LIFE, sent()[0].state, bytes(32), time=1_000, parameters=P) is None


def test_a_step_is_open_from_its_first_second_to_its_last() -> None:
    step = step_at(10, 20)
    assert [step.phase(time) for time in (9, 10, 20, 21)] == [
        Phase.NOT_YET,
        Phase.OPEN,
        Phase.OPEN,
        Phase.OVER,
    ]
    assert step_at(None, None).phase(0) is Phase.OPEN


def test_overdue_is_what_was_due_before_and_may_still_be_done() -> None:
    step = step_at(None, 20, 15)
    assert [step.is_overdue(time) for time in (15, 16, 20, 21)] == [False, True, True, False]
    assert not step_at(None, None).is_overdue(1 << 40)


class OpenLetter(Struct):
    """A letter to nobody in particular."""

    writer: Bytes16
    reader: Bytes16 | None
    state: State = State.SENT
    since: int = 0


def test_a_party_that_nobody_is_has_no_step() -> None:
    made, id_ = sent()
    letters: Life[Any] = LIFE
    life = dataclasses.replace(letters, thing=OpenLetter)
    life.save(made.state, id_, OpenLetter(WRITER, None))
    found = explain(life, made.state, id_, time=1_000, parameters=P)
    assert found is not None
    assert found.parties == ((Party.WRITER, WRITER),)
    assert found.steps == ()


def test_a_claim_says_who_decides_it() -> None:
    world = World()
    id_ = world.submit("a")
    found = explain(claim_life.LIFE, world.state, id_, time=world.chain.header.time, parameters=P)
    assert found is not None
    assert found.state is claim.State.SUBMITTED
    by_call = {step.call: step for step in found.steps}
    assert by_call[ClaimAccept].member == world.ids["insurer"]
    assert by_call[ClaimCancel].member == world.ids["shop"]
    assert found.holds == Held(id_, None)
    assert world.call("shop", ClaimCancel(id_)) == 0
    after = explain(claim_life.LIFE, world.state, id_, time=world.chain.header.time, parameters=P)
    assert after is not None
    assert (after.steps, after.holds) == ((), None)
    assert explain(settlement.LIFE, world.state, id_, time=0, parameters=P) is None


def test_a_call_names_what_it_makes_and_what_it_is_about() -> None:
    made, one, two = bytes32("made"), bytes32("one"), bytes32("two")
    submit = ClaimSubmit(
        bytes(16), Leg.BASE, bytes(32), bytes(32), bytes(32), (mark("a"),), None, one
    )
    assert named(submit, made) == (made, one)
    assert named(ClaimCancel(one), made) == (one,)
    settlement_id = bytes32("settlement")
    assert named(SettlementAdd(settlement_id, (one, two)), made) == (settlement_id, one, two)
    assert named(MarkLock(one), made) == ()


def test_what_everybody_may_do_to_a_thing_is_a_step_of_nobody_in_particular() -> None:
    world = World()
    id_ = world.propose(SuspendMember(world.ids["shop"]))
    time = world.chain.header.time
    found = explain(governance.LIFE, world.state, id_, time=time, parameters=P)
    assert found is not None
    by_call = {step.call: step.member for step in found.steps}
    assert by_call == {Vote: None, Withdraw: world.ids["federation"]}
