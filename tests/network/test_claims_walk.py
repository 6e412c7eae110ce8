"""docs/claims.md, walked through on a real network of four: each command shows what it says."""

from pathlib import Path

import pytest

from scripts import walk
from scripts.walk import Otherwise, Step, matches, parse_steps


@pytest.mark.timeout(240)
def test_every_command_of_the_page_shows_what_the_page_says(tmp_path: Path) -> None:
    page = walk.PAGE.read_text("utf-8")
    typed = page.count("$ depoli ")
    assert walk.check(page, tmp_path) == typed
    for verb in ("dispute", "overturn", "resubmit", "cancel", "reverse", "concede", "recover"):
        assert f"$ depoli claim {verb} " in page
    for verb in ("request", "ask", "answer", "grant"):
        assert f"$ depoli authorisation {verb} " in page
    assert "MARK_ALREADY_USED" in page


def test_what_is_seen_otherwise_is_told(tmp_path: Path) -> None:
    page = "```console\nshop-1$ depoli claim list\nreference  nothing\n```\n"
    with pytest.raises(Otherwise, match=r"(?s)shop-1\$ depoli claim list.*-reference  nothing"):
        walk.check(page, tmp_path)


def test_ids_times_and_heights_may_differ_and_nothing_else() -> None:
    page = ["claim  12345678…", "height  3", "  2026-11-26 18:13:02 UTC  you cancelled it"]
    seen = ["claim    87654321…", "height  12", "  2027-01-01 00:00:00 UTC  you cancelled it"]
    assert matches(page, seen)
    assert not matches(page, [*seen[:2], seen[2].replace("cancelled", "reversed")])
    assert not matches(page, seen[:2])


def test_a_line_of_three_dots_stands_for_any_lines() -> None:
    assert matches(["a", "…", "z"], ["a", "b", "c", "z"])
    assert not matches(["a", "…", "z"], ["a", "b", "c"])


def test_a_block_is_read_as_commands_and_what_each_shows() -> None:
    block = "shop-1$ depoli claim show F-1\na\n\nb\ninsurer-a$ depoli claim list\n"
    assert parse_steps(block) == [
        Step("shop-1", "claim show F-1", ["a", "", "b"]),
        Step("insurer-a", "claim list"),
    ]
