"""Twins, enumerated: every script of two rounds; three and four are scripts/twins."""

from random import Random

import pytest

from tests.simulation.mutants import mutated
from tests.simulation.oracle import Violation
from tests.simulation.twins import LETTERS, Stage, enumerate_scripts, play_at_random


def test_no_script_of_two_rounds_breaks_a_lemma_or_stops_the_chain() -> None:
    told = enumerate_scripts(2)
    assert told.scripts == len(LETTERS) ** 2
    assert max(told.healed) <= 3  # rounds until all have decided, though the twins be silent


def test_what_is_looked_up_is_what_happens() -> None:
    rng = Random("twins")
    memory = Stage((), lemmas=False)
    for _ in range(60):
        script = rng.choices(LETTERS, k=4)
        told: list[object] = []
        for stage in (memory, Stage((), lemmas=False)):  # one that remembers, one that cannot
            stage.leaders = tuple(leader for leader, _ in script)
            state = stage.first
            for _, letter in script:
                state = stage.play(state, letter)
            told.append((stage.outcome(state), stage.heal(state)))
        assert told[0] == told[1]


def test_a_machine_that_forgets_its_lock_is_found_by_some_script() -> None:
    with mutated("drop_lock") as core_type, pytest.raises(Violation, match="forgot its lock"):
        enumerate_scripts(2, core_type)


@pytest.mark.parametrize(
    ("name", "lemma"), [("lowest_prepared", "L1"), ("free_rounds", "L12"), ("no_skip", "L13")]
)
def test_scripts_at_random_find_what_takes_more_rounds(name: str, lemma: str) -> None:
    def play() -> None:
        for seed in range(60):
            play_at_random(seed, 40, core_type)

    with mutated(name) as core_type, pytest.raises(Violation) as caught:
        play()
    assert caught.value.lemma == lemma
