"""Whole nodes and journals in virtual time, under power cuts: a short form of scripts/mutants."""

from pathlib import Path

import pytest

from tests.simulation import journals
from tests.simulation.replicas import Plan, Replicas

SEEDS = (3, 6, 8, 13, 29, 88)
WAITS_AT_ONE_WHO_SIGNS_NOTHING = 88


@pytest.mark.parametrize("seed", SEEDS)
def test_nodes_keep_their_promises_and_go_on_whatever_fails(seed: int, tmp_path: Path) -> None:
    oracle = Replicas(Plan.draw(seed), tmp_path).run()
    assert oracle.marks["crash"]
    assert len(oracle.decided) > 2


def test_the_same_seed_is_the_same_run(tmp_path: Path) -> None:
    runs = [Replicas(Plan.draw(13), tmp_path / name) for name in ("one", "two")]
    marks = [run.run().marks for run in runs]
    assert marks[0] == marks[1]
    assert [run.loop.time() for run in runs] == [runs[0].loop.time()] * 2
    assert runs[0].oracle.decided == runs[1].oracle.decided


def test_without_faults_every_block_is_decided_in_round_0(tmp_path: Path) -> None:
    oracle = Replicas(Plan(1), tmp_path).run()
    assert {mark for mark in oracle.marks if "decided" in mark} == {"decided in round 0"}


def test_a_journal_forgets_nothing_and_invents_nothing(tmp_path: Path) -> None:
    for seed in range(25):
        journals.play(seed, tmp_path / str(seed))
