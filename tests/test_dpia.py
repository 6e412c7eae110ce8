"""What the impact assessment says answers a requirement is there, and what is not is called so."""

import re
from collections.abc import Iterator

from tests.house import ROOT

PAGE = ROOT / "docs" / "dpia.md"
ANSWERS = ("yes", "partly", "not yet")
_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
_LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
_ROW = re.compile(r"^\| (G\d+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


def absent(text: str) -> Iterator[str]:
    """Yield every test and page that `text` names and that is not there."""
    for path, name in _TEST.findall(text):
        file = ROOT / path
        if not file.is_file():
            yield path
        elif name and not re.search(
            rf"^(async )?def {name}\(", file.read_text(encoding="utf-8"), re.MULTILINE
        ):
            yield f"{path}::{name}"
    for link in _LINK.findall(text):
        if not (PAGE.parent / link).exists():
            yield link


def unsound(text: str) -> Iterator[str]:
    """Yield every requirement whose answer is missing, empty, or better than what it tells."""
    rows = {number: (now, answer) for number, _, now, answer in _ROW.findall(text)}
    for number in (f"G{each}" for each in range(1, 21)):
        now, answer = rows.get(number, ("", ""))
        names_something = bool(_TEST.search(answer) or _LINK.search(answer) or "page" in answer)
        owes = "Not yet: " in answer
        if now not in ANSWERS or not names_something or owes is (now == "yes"):
            yield number


def test_every_test_and_page_that_is_named_exists() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(_TEST.findall(text)) > 20
    assert list(absent(text)) == []


def test_each_of_the_twenty_requirements_has_its_answer() -> None:
    assert list(unsound(PAGE.read_text(encoding="utf-8"))) == []


def test_what_is_not_there_is_found() -> None:
    planted = "`tests/test_no.py` `tests/test_dpia.py::test_no` [it](no.md) [it](cli.md#any)"
    assert list(absent(planted)) == ["tests/test_no.py", "tests/test_dpia.py::test_no", "no.md"]


def test_an_answer_that_says_more_than_it_has_is_found() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert list(unsound(text.replace("| G5 |", "| G05 |"))) == ["G5"]
    owing = re.search(r"(\| (G\d+) \|[^|]+\|) (partly|not yet) \|", text)
    assert owing is not None  # the periods are the controllers', for one
    better = text.replace(owing[0], f"{owing[1]} yes |")
    assert list(unsound(better)) == [owing[2]]
