"""`depoli erase`, as a shop and a payer type it."""

from pathlib import Path

import pytest

from node.cli.person import Person
from node.errors import Exit
from tests.node.client.desk import MemoryNode, example
from tests.node.client.test_commands import Town

ONE = "F2025-0003"


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Town:
    """Return a town in which the shop claimed, the payer accepted, and nothing is settled."""
    node = MemoryNode()
    monkeypatch.setattr(Person, "node", lambda _person: node)
    town = Town(tmp_path, node)
    claim = town.once("shop", "claim", "submit", town.file("c.json", example()))["claim"]
    town.once("shop", "disclosure", "make", ONE, "--output", tmp_path / "d.json")
    town.once("insurer", "disclosure", "verify", tmp_path / "d.json")
    town.once("insurer", "claim", "accept", claim)
    return town


def settle(town: Town) -> None:
    told = town.folder / "s.json"
    settling = ("settlement", "create", "--beneficiary", "shop", "--all", "--output", told)
    town.once("insurer", *settling)
    town.once("shop", "settlement", "confirm", told)


def test_a_prescription_is_erased_here_and_at_its_payer_who_says_so(town: Town) -> None:
    told = town.refuses(Exit.FAILED, "shop", "erase", ONE, "--yes")
    assert f"claim {ONE} is accepted" in told
    assert "--even-open" in told
    settle(town)
    shown = town.does("shop", "erase", ONE, "--dry-run")
    assert (shown["prescriptions"], shown["claims"]) == ([ONE], [ONE])
    assert (shown["asked"], shown["open"]) == (["insurer"], [])
    assert "--yes" in town.refuses(Exit.USAGE, "shop", "erase", ONE)
    assert town.once("shop", "erase", ONE, "--yes")["erased"] == shown["records"]
    assert town.does("shop", "erase", ONE, "--yes")["erased"] == 0  # and it goes on
    town.refuses(Exit.NOT_FOUND, "shop", "prescription", "show", ONE)
    town.refuses(Exit.NOT_FOUND, "shop", "erase", ONE, "--dry-run")

    (erasure,) = town.does("shop", "erase", "status")
    (request,) = erasure["requests"]
    assert (request["recipient"], request["outcome"]) == ("insurer", None)
    assert (request["told"], erasure["over"]) == (False, False)
    (letter,) = town.once("shop", "erase", "letters", "--folder", town.folder / "letters")
    answered = town.does("insurer", "erase", "answer", letter["file"])
    (asked,) = answered
    assert (asked["requester"], asked["outcome"], asked["stated"]) == ("shop", "erased", True)
    assert town.does("insurer", "erase", "requests") == answered
    (erasure,) = town.does("shop", "erase", "status")
    assert (erasure["over"], erasure["requests"][0]["outcome"]) == (True, "erased")
    assert town.does("shop", "erase", "letters", "--folder", town.folder) == []
    explained = town.does("shop", "explain", "erasure", request["erasure"])
    assert explained["state"] == "stated"
    for name in ("shop", "insurer"):
        said = town.call(name, "explain", "erasure", request["erasure"]).stdout
        assert "said what became of it: erased" in said
        assert "nothing more may happen to it" in said
    town.refuses(Exit.NOT_FOUND, "shop", "erase", ONE, "--yes")


def test_what_is_open_is_erased_for_who_insists(town: Town) -> None:
    shown = town.does("shop", "erase", ONE, "--dry-run")
    assert shown["open"] == [{"kind": "claim", "name": ONE, "state": "accepted"}]
    town.once("shop", "erase", ONE, "--yes", "--even-open")
    (letter,) = town.once("shop", "erase", "letters", "--folder", town.folder / "letters")
    (asked,) = town.once("insurer", "erase", "answer", letter["file"])
    assert (asked["outcome"], asked["stated"]) == ("open", False)


def test_a_payer_erases_what_is_old_and_keeps_what_the_law_has_it_keep(town: Town) -> None:
    settle(town)
    home = town.folder / "insurer" / "client.toml"
    home.write_text(home.read_text() + 'keep_days = "36500"\n')
    town.once("shop", "erase", ONE, "--yes")
    (letter,) = town.once("shop", "erase", "letters", "--folder", town.folder / "letters")
    (asked,) = town.does("insurer", "erase", "answer", letter["file"])
    assert (asked["outcome"], asked["stated"]) == ("held_by_law", True)
    assert "held by law" in town.call("shop", "erase", "status").stdout
    shown = town.does("insurer", "erase", "--before", "2099-01-01", "--dry-run")
    assert (len(shown["received"]), shown["asked"]) == (1, [])
    assert town.once("insurer", "erase", "--before", "2099-01-01", "--yes")["erased"]
    home.write_text(home.read_text().replace("36500", "0"))
    (asked,) = town.does("insurer", "erase", "answer")
    assert (asked["outcome"], asked["until"], asked["stated"]) == ("erased", None, True)


@pytest.mark.parametrize(
    "words",
    [
        (),
        (ONE, "--insured", "A"),
        ("--insured", "A", "--before", "2026-01-01"),
        ("--insured", "A", "--earlier"),
    ],
)
def test_one_thing_is_named_to_be_erased(town: Town, words: tuple[str, ...]) -> None:
    town.refuses(Exit.USAGE, "shop", "erase", "records", *words)


def test_a_letter_that_is_none_is_refused(town: Town) -> None:
    path = town.file("x.json", {"format": "depoli/erasure/1"})
    assert "asks for no erasure" in town.refuses(Exit.USAGE, "insurer", "erase", "answer", path)
