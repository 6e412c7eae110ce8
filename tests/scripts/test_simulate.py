"""The campaign script: what it counts, what it says of a violation, and its exit code."""

import json
from pathlib import Path

import pytest

from scripts import simulate
from tests.simulation.mutants import mutated


def test_a_campaign_ends_with_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate.main(["--seeds", "0-7", "--json", "--jobs", "2"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["seeds"] == 8
    assert told["violations"] == 0
    assert told["next_seed"] == 8
    assert told["events"] > 1000
    assert told["schedules_per_minute"] > 0
    assert told["marks"]["decided in round 0"] > 0


def test_a_violation_is_told_with_the_command_that_replays_it_and_drawn(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with mutated("q_f1"):
        code = simulate.main(["--seeds", "0-1", "--json"])
    out, err = capfd.readouterr()
    assert code == 1
    told = json.loads(out)
    assert told["violations"] == len(told["failed"]) > 0
    assert f"scripts/simulate --trace {told['failed'][0]['seed']}" in err
    assert "wants 1/1" in err or "prepares 1/0" in err


def test_what_there_was_no_time_for_is_where_the_next_campaign_begins(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert simulate.main(["--seeds", "5-99", "--json", "--seconds", "0"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["seeds"], told["next_seed"]) == (0, 5)


def test_a_situation_that_a_thousand_seeds_do_not_meet_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulate, "SEEDS_PER_MARK", 3)
    monkeypatch.setattr(simulate, "MARKS", frozenset({"crash", "never"}))
    assert simulate.main(["--seeds", "0-5", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert "never in 0-2" in told["missing_marks"]
    assert told["violations"] == 0


@pytest.mark.parametrize("seeds", ["5-1", "abc"])
def test_what_names_no_seed_is_no_campaign_that_went_well(
    capsys: pytest.CaptureFixture[str], seeds: str
) -> None:
    with pytest.raises(SystemExit) as end:
        simulate.main(["--seeds", seeds])
    assert end.value.code == 2
    assert seeds in capsys.readouterr().err


def test_one_run_is_drawn_as_text_and_as_a_picture(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    picture = tmp_path / "new" / "run.svg"
    assert simulate.main(["--trace", "1", "--svg", str(picture)]) == 0
    assert "every lemma holds" in capsys.readouterr().out
    assert picture.read_text(encoding="utf-8").startswith("<svg")
