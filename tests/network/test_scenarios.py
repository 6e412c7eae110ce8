"""docs/scenarios.md names tests of ours, which exist, and leaves none of a kind unnamed."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "scenarios.md").read_text("utf-8")
NAMED = set(re.findall(r"`(test_\w+)`", PAGE))


def names_in(path: Path) -> set[str]:
    """Return the names of the tests in a file."""
    tree = ast.parse(path.read_text("utf-8"))
    return {
        each.name
        for each in tree.body
        if isinstance(each, ast.FunctionDef) and each.name.startswith("test_")
    }


def test_every_test_that_the_page_names_exists() -> None:
    known = set[str]().union(*map(names_in, (ROOT / "tests").rglob("test_*.py")))
    assert not NAMED - known
    assert len(NAMED) > 30


def test_every_scenario_of_ours_is_on_the_page() -> None:
    for name in ("test_liars", "test_membership", "test_perturbations", "test_smartbft"):
        assert not names_in(ROOT / "tests" / "network" / f"{name}.py") - NAMED


def test_all_of_theirs_are_on_the_page() -> None:
    for section, count in (("## Hyperledger Fabric", 24), ("## CometBFT", 6)):
        table = PAGE.partition(section)[2].partition("\n## ")[0]
        found = [line for line in table.splitlines() if line.startswith("| ")]
        assert len(found) == count + 1  # its head
