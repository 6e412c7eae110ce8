"""The demo, run as a person runs it; and how it tells a check that does not hold."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from node import testnet
from scripts.checks import Checks, Commands, Unmet, require

ROOT = Path(__file__).resolve().parents[2]


def run_demo(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/demo.py", *map(str, words)]
    environment = {**os.environ, "DEPOLI_HOME": "nowhere", "COLUMNS": "80"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.timeout(600)  # a minute on two cores that have nothing else to do
def test_every_check_of_the_demo_holds_and_nothing_is_left_running(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    done = run_demo("--json", "--folder", folder)
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    assert summary["ok"]
    assert "failed" not in summary
    checks = {check["name"]: check for check in summary["checks"]}
    assert len(checks) == len(summary["checks"]) == summary["counts"]["checks"]
    assert all(check["ok"] for check in checks.values())
    promised = {
        *("genesis", "ready", "bad-claims", "nothing-left", "singly", "lot", "changed-field"),
        *("second-shop", "typed-twice", "settled-insurer-a", "killed", "goes-on", "caught-up"),
        "receipt",
        *("export", "audit-verify", "recheck", "nothing-personal", "flipped", "forged", "stopped"),
    }
    assert promised <= checks.keys()
    counts = summary["counts"]
    assert counts["claims_submitted"] == counts["claims_read"] >= 30
    assert counts["accepted"] + counts["in_part"] + counts["rejected"] == counts["claims_read"]
    assert min(counts["in_part"], counts["rejected"], counts["refused_at_the_door"]) > 1
    for name in ("receipt", "export", "genesis", "commands"):
        assert Path(summary["paths"][name]).stat().st_size, name
    network = testnet.load(folder / "network")
    assert [process.pid() for process in network.processes] == [None] * 4
    assert done.stderr.count("✓") == len(checks)
    assert "\x1b" not in done.stderr + done.stdout
    assert not [line for line in done.stderr.splitlines() if len(line) > 80]


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    done = run_demo("--folder", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_check_that_does_not_hold_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    checks = Checks()
    with pytest.raises(Unmet, match="expected height: 4, found 5"), checks.check("a", "heights"):
        require("height", 4, 5)
    (made,) = checks.made
    assert not made.ok
    assert "✗ heights" in capsys.readouterr().err


def test_a_fault_of_a_check_is_no_check_that_holds() -> None:
    checks = Checks()
    with pytest.raises(Unmet, match="KeyError"), checks.check("a", "heights"):
        dict[str, int]()["height"]
    assert not checks.made[0].ok


def test_an_interrupted_check_does_not_hold() -> None:
    checks = Checks()
    with pytest.raises(KeyboardInterrupt), checks.check("a", "heights"):
        raise KeyboardInterrupt
    assert not checks.made[0].ok


def test_a_command_that_ends_otherwise_than_expected_is_unmet(tmp_path: Path) -> None:
    commands = Commands(tmp_path / "commands.txt")
    with pytest.raises(Unmet, match="found exit 3: no"):
        commands.run(sys.executable, "-c", "import sys; print('no', file=sys.stderr); sys.exit(3)")
    commands.run(sys.executable, "-c", "import sys; sys.exit(3)", code=3)
    assert (tmp_path / "commands.txt").read_text().count("[exit 3]") == 2


def test_a_traceback_is_unmet_whatever_the_exit_code(tmp_path: Path) -> None:
    commands = Commands(tmp_path / "commands.txt")
    with pytest.raises(Unmet, match="ZeroDivisionError"):
        commands.run(sys.executable, "-c", "1 / 0", code=1)
