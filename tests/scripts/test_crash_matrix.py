"""The crash matrix in its short form, and that it would notice what it looks for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.errors import StoreDamaged
from tests.crashes import matrix
from tests.crashes.disk import SURVIVES, Disk
from tests.crashes.matrix import (
    FAULTS,
    Committing,
    Journaling,
    Lost,
    Picturing,
    Reindexing,
    Replacing,
    cases,
    crash,
    effects,
    points,
)

ROOT = Path(__file__).resolve().parents[2]
EVERY = 61  # and no divisor of four: each kind of failure has its turn


def test_points_of_every_case_pass() -> None:
    command = [sys.executable, "scripts/crash_matrix.py", "--every", str(EVERY), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    told = json.loads(done.stdout)
    assert (done.returncode, told["failed"]) == (0, 0), done.stdout
    assert told["points"] == sum(case["points"] for case in told["cases"]) > 25
    assert [case["case"] for case in told["cases"]] == [case.name for case in cases()]
    assert sum(4 * sum(case["effects"].values()) for case in told["cases"]) > 1_500  # points in all


def test_each_effect_has_its_points() -> None:
    made = [*points(["write a"] * 6)]
    assert len(made) == 24
    assert {how for _, how in made} == {*SURVIVES, *FAULTS}


def test_what_is_not_synced_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line is a bug that someone could write; some point of some case finds it."""

    def nothing(*_: object) -> None:
        pass

    for where, case, effect in (
        ("node.journal.sync_folder", Journaling(), "write"),
        ("ledger.segments._sync_directory", Committing("sqlite", 0), "write"),
        ("node.files.sync_folder", Replacing(), "rename"),
        ("node.snapshots.sync_folder", Picturing(), "unlink"),
        ("node.rebuild.sync_tree", Reindexing("leveldb", "gone"), "rename"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(where, nothing)
            assert _finds(case, tmp_path, effect), where


def _finds(case: matrix.Case, scratch: Path, effect: str) -> bool:
    """Return whether a crash at some effect of this kind is noticed."""
    done = effects(case, scratch)
    for number, name in enumerate(done):
        if name.startswith(effect):
            try:
                crash(case, number, "nothing", scratch)
            except Exception:  # noqa: BLE001 - whatever refuses
                return True
    return False


def test_a_disk_that_lies_about_syncs_is_noticed_by_a_power_cut_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where only a process was killed, what it wrote is there all the same."""

    def fsync(self: Disk, _: object, descriptor: int) -> None:
        path = self._of(descriptor)
        if path is not None:
            self._effect("sync", path)

    monkeypatch.setattr(Disk, "_fsync", fsync)
    case = Committing("sqlite", 0)
    number = len(effects(case, tmp_path)) - 1
    crash(case, number, "everything", tmp_path)
    with pytest.raises(StoreDamaged, match="are gone that were there"):
        crash(case, number, "nothing", tmp_path)


def test_a_run_that_nothing_stops_is_no_point(tmp_path: Path) -> None:
    with pytest.raises(Lost, match="it went on"):
        crash(Replacing(), 10_000, "nothing", tmp_path)


def test_the_real_functions_are_back_afterwards(tmp_path: Path) -> None:
    before = (os.open, os.write, os.fsync, os.rename, os.unlink)
    crash(Replacing(), 3, "nothing", tmp_path)
    assert (os.open, os.write, os.fsync, os.rename, os.unlink) == before
