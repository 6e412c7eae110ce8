"""What `depoli doctor` prints, and how it ends."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from node import testnet
from node.cli.doctor import WIDTH, exit_code, told
from node.cli.main import main
from node.doctor.findings import Diagnosis, Finding, Gravity, Row, Verdict
from node.errors import Exit

LONG = "a label that is longer than any column"
WORDS = "words that a person reads to the end of the line and beyond it, " * 3


def finding(gravity: Gravity, number: int = 0) -> Finding:
    return Finding(gravity, "cause", f"Number {number}. {WORDS}", (LONG,), (WORDS, "x"), WORDS)


def diagnosis(verdict: Verdict, *found: Finding, rows: tuple[Row, ...] = ()) -> Diagnosis:
    return Diagnosis(verdict, f"Summary: {WORDS}", found, rows, 41, 3, LONG)


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (diagnosis(Verdict.IDLE), Exit.OK),
        (diagnosis(Verdict.MOVING), Exit.OK),
        (diagnosis(Verdict.MOVING, finding(Gravity.NOTE)), Exit.OK),
        (diagnosis(Verdict.IDLE, finding(Gravity.WARNS)), Exit.FAILED),
        (diagnosis(Verdict.STOPPED, finding(Gravity.STOPS)), Exit.FAILED),
        (diagnosis(Verdict.STOPPED), Exit.FAILED),
        (diagnosis(Verdict.DOWN, finding(Gravity.STOPS)), Exit.UNREACHABLE),
    ],
)
def test_the_exit_code_says_whether_something_is_to_be_done(found: Diagnosis, code: Exit) -> None:
    assert exit_code(found) is code


def test_a_person_sees_everything_within_eighty_columns() -> None:
    far = -9_999_999  # milliseconds
    rows = (
        Row(LONG, True, "linked", 1_000_000, 12, True, True, 13, far, "0.10.12", 1 << 40, False, 3),  # noqa: FBT003
        Row("b", False, "silent", 42, 3, False, False, None, 0, "0.1.0", 12345, True, 0),  # noqa: FBT003
        Row("c", False, "none"),  # noqa: FBT003
    )
    found = [finding(each, number) for number, each in enumerate(Gravity, 1)]
    said = click.unstyle(told(diagnosis(Verdict.STOPPED, *found, rows=rows)))
    assert all(len(line) <= WIDTH for line in said.splitlines())
    order = [said.index(part) for part in ("Summary", "Why", "To mend", "Noted", "node  ")]
    assert order == sorted(order)
    for number in (1, 2, 3):
        assert f"\n {number}  Number {number}." in said
    assert "P C →13" in said
    assert "fenced" in said
    assert "P prepared, C committed" in " ".join(said.split())


def test_where_nothing_is_wrong_that_is_said() -> None:
    said = told(diagnosis(Verdict.IDLE))
    assert "Nothing is wrong." in " ".join(said.split())
    assert "Why" not in said


def test_without_a_node_there_is_nothing_to_ask(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["doctor", "--config", str(tmp_path)])
    assert result.exit_code == Exit.NOT_INITIALISED
    assert "depoli node init" in result.stderr


def test_the_doctor_of_a_node_that_is_down_looks_itself(tmp_path: Path) -> None:
    network = testnet.create(tmp_path / "net", validators=1, shops=0)
    result = CliRunner().invoke(main, ["doctor", "--config", str(network.validators[0].node)])
    assert result.exit_code == Exit.UNREACHABLE
    assert result.stdout.startswith("This node does not run.")
    assert "Start it: depoli node run" in result.stdout
