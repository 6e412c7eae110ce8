"""Whole clusters under seeded chaos: the lemmas hold, and planted bugs are caught."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.core import Core
from tests.simulation.marks import MARKS
from tests.simulation.mutants import mutated
from tests.simulation.network import Faults
from tests.simulation.oracle import Oracle, Violation
from tests.simulation.trace import Trace
from tests.simulation.world import Plan, World

SEEDS = range(100)
RARE = 5  # situations that so few seeds may miss
# Each is caught within few seeds. mutants.py has more, which take longer.
CAUGHT = {
    "commit_after_rc": "L4",
    "prepare_after_rc": "L4",
    "drop_lock": "L4",
    "q_f1": "L",
    "q_2f1": "L",
    "mixed_rounds": "L",
    "no_skip": "L13",
    "free_rounds": "L12",
    "cert_dups": "L",
    "any_prepared": "L1",
    "no_justification": "L1",
    "short_justification": "L1",
    "any_leader": "L5",
    "framing": "L8",
    "forget_votes": "L",
}


def test_every_lemma_holds_and_every_path_is_walked() -> None:
    marks: set[str] = set()
    for seed in SEEDS:
        marks.update(+World(Plan.draw(seed)).run().marks)
    assert len(MARKS - marks) <= RARE
    assert marks <= MARKS


def test_a_run_is_the_same_every_time() -> None:
    first, second = World(Plan.draw(3)), World(Plan.draw(3))
    first.run()
    second.run()
    assert (first.now, first.network.sent) == (second.now, second.network.sent)
    assert first.oracle.decided == second.oracle.decided


def test_every_fork_names_at_least_f_plus_1_culprits_and_nobody_else() -> None:
    forks = sum(World(Plan.draw(seed, forkable=True)).run().forks > 0 for seed in range(4))
    assert forks >= 1


def test_without_faults_every_height_is_decided_in_round_0() -> None:
    for n in (1, 2, 3, 4, 7):
        marks = World(Plan(seed=n, n=n, chaos_ms=20_000)).run().marks
        assert {mark for mark in marks if mark.startswith("decided in")} == {"decided in round 0"}


def test_a_network_slower_than_the_first_timeouts_decides_all_the_same() -> None:
    for seed in range(2):
        World(Plan(seed, faults=Faults(delay_ms=900.0, delta_ms=1500))).run()


def _seconds_after_a_long_outage(core_type: type[Core]) -> float:
    """One of four waits alone with work; two come back, the fourth does not."""
    world = World(Plan(1, heights=1), core_type)
    world.network.start()
    alone, first, second, dead, _ = world.shells
    for shell in world.shells:
        shell.start()
    for shell in (first, second, dead):
        shell.crash()
    alone.submit(bytes(32))
    world.run_until(900_000)
    world.healed = True
    for shell in (first, second):
        shell.restart()
    back_ms = world.now
    world.run_until(back_ms + 120_000, lambda: len(alone.chain) > 0)
    return (world.now - back_ms) / 1000


def test_the_next_block_after_any_outage_comes_within_seconds() -> None:
    assert _seconds_after_a_long_outage(Core) < 5


def test_rounds_that_run_freely_would_take_far_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Oracle, "_wished", lambda *_: None)  # L12 sees it before it does any harm
    with mutated("free_rounds") as core_type:
        assert _seconds_after_a_long_outage(core_type) > 30


@given(
    st.integers(0, 1 << 32),
    st.sampled_from([4, 5, 6]),
    st.integers(0, 1),
    st.sampled_from([0.0, 0.01]),
)
@settings(max_examples=6, deadline=None)
def test_small_clusters_survive_whatever_hypothesis_draws(
    seed: int, n: int, evil: int, crash: float
) -> None:
    faults = Faults(drop=0.2, duplicate=0.1)
    World(Plan(seed, n, heights=1, evil=evil, faults=faults, crash=crash, chaos_ms=4_000)).run()


def test_a_trace_shows_who_told_whom_what() -> None:
    trace = Trace()
    World(Plan.draw(1), trace=trace).run()
    assert "decides height 1" in trace.text(["a"] * 9, len(trace.rows))
    assert "proposes 1/" in trace.svg(["a"] * 9)


def _run_all(seeds: range, core_type: type[Core]) -> None:
    for seed in seeds:
        World(Plan.draw(seed), core_type).run()


@pytest.mark.parametrize("name", CAUGHT)
def test_a_planted_bug_is_caught(name: str) -> None:
    with mutated(name) as core_type, pytest.raises(Violation) as caught:
        _run_all(range(100), core_type)
    assert caught.value.lemma.startswith(CAUGHT[name])
