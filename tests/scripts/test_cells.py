"""scripts/cells: it changes every cell there is, leaves nothing behind, and tells survivors."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from contracts import claim, claim_life, dispatch
from scripts import cells
from tests.contracts.test_life import LIFE

ROOT = Path(__file__).resolve().parent.parent.parent


def run(*arguments: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "scripts/cells.py", "--json", "--jobs", "1", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, result


def test_a_change_of_a_cell_is_noticed_by_a_test_of_the_contracts() -> None:
    tests = ("tests/contracts/test_governance.py", "tests/contracts/test_governance_cells.py")
    code, result = run("proposal", "--sample", "8", "--tests", *tests)
    assert code == 0, result["survivors"]
    assert result["caught"] == result["planted"] > 5


def test_a_change_that_no_test_notices_is_told() -> None:
    code, result = run("claim", "--sample", "4", "--tests", "tests/contracts/test_state.py")
    assert code == 1
    assert len(result["survivors"]) == result["planted"] > 0


def test_every_cell_is_changed() -> None:
    changes = [mutant.change.partition(": ")[2] for mutant in cells.mutants_of(LIFE, thorough=True)]
    for change in (
        "not there",
        "to TORN",
        "by WRITER",
        "without from_optician",
        "without note_it",
        "whether or not says_other",
        "never though says_other",
        "without opens a_day_later",
        "opens a_day_later -1 s",
        "closes by_window +1 s",
    ):
        assert change in changes
    new = [
        mutant
        for mutant in cells.mutants_of(LIFE, thorough=True)
        if mutant.change.startswith("new row")
    ]
    states, calls = 4, 3
    filled = {(row.before, row.call) for row in LIFE.rows if row.before is not None}
    assert len(new) == states * calls - len(filled)


def test_every_change_is_another_table_and_has_a_name_of_its_own() -> None:
    for life in dispatch.LIVES:
        mutants = list(cells.mutants_of(life))
        assert all(mutant.rows != life.rows for mutant in mutants)
        assert len({mutant.change for mutant in mutants}) == len(mutants)


def test_what_is_excused_is_a_change_that_there_is() -> None:
    every = {(life.name, each.change) for life in dispatch.LIVES for each in cells.mutants_of(life)}
    assert set(cells.ALIKE) <= every


def test_a_planted_change_works_and_is_taken_back() -> None:
    before = claim_life.LIFE.rows
    assert claim_life.LIFE.open_rows(claim.State.ACCEPTED)
    assert claim_life.LIFE.calls
    with cells.planted(claim_life.LIFE, before[:1]):
        assert claim_life.LIFE.calls == (before[0].call,)
    assert claim_life.LIFE.rows is before
    assert len(claim_life.LIFE.calls) > 1
