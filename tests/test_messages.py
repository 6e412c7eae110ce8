"""docs/messages.md lists every message that people at shops and payers may read, and no other."""

import re

from contracts.errors import Refusal
from tests.house import ROOT, told
from tests.sayings import messages, sentences

PAGE = ROOT / "docs" / "messages.md"
_CODE = re.compile(r"`([^`]+)`")


def rows() -> list[list[str]]:
    """Return the cells of every row of a table on the page that names messages."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    found = [line.strip("|").split(" | ") for line in lines if line.startswith("| `")]
    return [[cell.strip() for cell in cells] for cells in found]


def listed() -> list[str]:
    return [text for cells in rows() for text in _CODE.findall(cells[0])]


def test_every_message_is_on_the_page_with_what_to_do() -> None:
    page = {*listed()}
    missing = [f"{where}: {text}" for text, where in messages().items() if text not in page]
    assert not missing, told(missing)


def test_every_refusal_of_the_network_is_on_the_page() -> None:
    missing = sorted({refusal.name for refusal in Refusal} - {*listed()})
    assert not missing, told(missing)


def test_nothing_on_the_page_is_said_no_more() -> None:
    said = {*messages(), *sentences(), *(refusal.name for refusal in Refusal)}
    stale = [text for text in listed() if text not in said]
    assert not stale, told(stale)


def test_each_row_says_it_in_both_languages_and_once() -> None:
    findings = [str(cells)[:80] for cells in rows() if len(cells) != 3 or not all(cells)]
    twice = sorted(text for text in {*listed()} if listed().count(text) > 1)
    assert not [*findings, *twice], told([*findings, *twice])
