"""docs/lives.md is as the tables are, and what tables call can be said to people."""

from collections.abc import Callable, Iterator

import pytest

from contracts import dispatch
from scripts import diagrams
from scripts.diagrams import PAGE, call_words, page, said, words
from tests.contracts.test_life import LIFE


def test_the_page_is_as_the_tables_are() -> None:
    assert PAGE.read_text("utf-8") == page(), "run scripts/diagrams"


def spoken() -> Iterator[tuple[str, Callable[..., object]]]:
    """Yield what a function is in a row, and the function."""
    for life in dispatch.LIVES:
        for row in life.rows:
            yield from (("guard", each) for each in row.guards)
            yield from (("effect", each) for each in row.effects)
            if row.when is not None:
                yield "condition", row.when
            moments = (row.opens, row.closes, row.due)
            yield from (("moment", each) for each in moments if each is not None)


BEGINNINGS = {"guard": "Require ", "condition": "Return whether ", "moment": "Return when "}


@pytest.mark.parametrize("kind", BEGINNINGS)
def test_what_a_row_asks_says_so_in_its_first_line(kind: str) -> None:
    wrong = [
        f"{each.__module__}.{each.__name__}"
        for found, each in spoken()
        if found == kind and not (each.__doc__ or "").startswith(BEGINNINGS[kind])
    ]
    assert not wrong


def test_every_row_is_said_and_drawn() -> None:
    for life in dispatch.LIVES:
        section = diagrams.section(life)
        drawn = "\n".join(diagrams.diagram(life))
        for row in life.rows:
            assert f"--> {row.after.name}: {call_words(row)} ({words(row.who.name)})" in drawn
            functions: tuple[Callable[..., object], ...] = (*row.guards, *row.effects)
            for function in functions:
                assert said(function) in section


def test_a_row_is_said_in_words() -> None:
    table = diagrams.table(LIFE)
    assert table[2:4] == [
        "| none yet | prescription commit (10) | writer | an optician writes it | sent | note it |",
        "| sent | claim accept (31) | reader |  | answered | note it; note it |",
    ]
    assert "*the reason is none in particular*" in table[4]
    assert "not before it is a day old; not after the window for disputes closes" in table[7]
    assert diagrams.diagram(LIFE)[-2:] == ["    TORN --> [*]", "    KEPT --> [*]"]
