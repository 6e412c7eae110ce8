"""No state of any life is out of reach, or without a way out, but where it is said here."""

from collections.abc import Iterable
from typing import Any, Final

import pytest

from contracts import dispatch
from contracts.life import Life

# Where a life ends: nobody can do anything any more. Said by hand; the tables must agree.
FINAL: Final = {
    "prescription": {"SUPERSEDED", "REVOKED"},
    "authorisation": {"CONSUMED", "CANCELLED", "EXPIRED"},
    "claim": {"CANCELLED", "ABANDONED", "RESUBMITTED", "LAPSED", "REPAID"},
    "settlement": {"CONFIRMED", "CANCELLED"},
    "erasure": {"STATED"},
    "proposal": {"FAILED", "WITHDRAWN", "ENACTED", "MOOT", "EXPIRED"},
}

# What happens without a call on the thing itself: time, a height, or the settlement that it is in.
UNASKED: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "prescription": (),
    "authorisation": tuple(
        (state, "EXPIRED")
        for state in ("REQUESTED", "INFO_REQUESTED", "GRANTED", "GRANTED_IN_PART", "REFUSED")
    ),
    "claim": (
        ("REJECTED", "LAPSED"),
        ("BATCHED", "SETTLED"),
        ("BATCHED", "ACCEPTED"),
        ("BATCHED", "ACCEPTED_IN_PART"),
        ("REPAYING", "REPAID"),
        ("REPAYING", "REVERSED"),
    ),
    "settlement": (),
    "erasure": (),
    "proposal": (
        ("OPEN", "EXPIRED"),
        ("PASSED", "ENACTED"),
        ("PASSED", "MOOT"),
        ("PASSED", "EXPIRED"),
    ),
}

# Where time changes nothing and one side alone can go on: it is so for this reason.
ONE_SIDED: Final = {
    ("prescription", "COMMITTED"): "nobody but its holder has a part in it",
    ("claim", "CLOSED"): "the payer is done with it",
    ("erasure", "REQUESTED"): "it is for the recipient to say what becomes of it",
    ("erasure", "HELD"): "the recipient erases it when the law lets it",
    ("claim", "REVERSED"): "it is for the shop to pay back",
}


def edges(life: Life[Any]) -> set[tuple[str | None, str]]:
    asked = {(None if row.before is None else row.before.name, row.after.name) for row in life.rows}
    return asked | set(UNASKED[life.name])


def states(life: Life[Any]) -> set[str]:
    return {state.name for state in type(life.rows[0].after)}


def reached(edges: Iterable[tuple[str | None, str]], first: str | None) -> set[str]:
    found: set[str] = set()
    fringe: list[str | None] = [first]
    while fringe:
        here = fringe.pop()
        new = {after for before, after in edges if before == here} - found
        found |= new
        fringe += new
    return found


lives = pytest.mark.parametrize("life", dispatch.LIVES, ids=lambda life: life.name)


@lives
def test_every_state_is_reached_from_the_beginning(life: Life[Any]) -> None:
    assert reached(edges(life), None) == states(life)


@lives
def test_a_state_without_a_way_out_is_final_and_said_to_be(life: Life[Any]) -> None:
    left = {before for before, after in edges(life) if before != after}
    assert states(life) - left == FINAL[life.name]


@lives
def test_an_end_can_be_reached_from_everywhere(life: Life[Any]) -> None:
    for state in states(life) - FINAL[life.name]:
        assert reached(edges(life), state) & FINAL[life.name], state


@lives
def test_what_happens_unasked_is_between_states_that_there_are(life: Life[Any]) -> None:
    named = {state for pair in UNASKED[life.name] for state in pair}
    assert named <= states(life)


@lives
def test_where_one_side_alone_can_go_on_it_is_said_why(life: Life[Any]) -> None:
    """Or one side could keep the other waiting for ever, and nobody had thought of it."""
    unasked = {before for before, _ in UNASKED[life.name]}
    found = set()
    for state in states(life) - FINAL[life.name] - unasked:
        who = {row.who for row in life.rows if row.before and row.before.name == state}
        if len(who) == 1:
            found.add((life.name, state))
    assert found == {each for each in ONE_SIDED if each[0] == life.name}
