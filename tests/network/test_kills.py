"""A short campaign of SIGKILL under load; scripts/kills runs a long one and gives the figures."""

import pytest

from scripts import kills
from tests.network import campaigns

SLACK = 3  # the bars are for two cores of one's own; a test shares them


@pytest.fixture(scope="module")
def summary() -> dict[str, object]:
    """What a campaign of two kills, of two at once and of one for good found."""
    counts = {"--kills": 2, "--proposers": 1, "--outages": 1, "--outage": 2, "--dead": 3}
    options = [str(word) for pair in counts.items() for word in pair]
    return campaigns.ended("kills", "--seed", "5", *options)


def test_nothing_that_was_acknowledged_is_lost_or_stands_twice(summary: dict[str, object]) -> None:
    assert summary["acknowledged"] == summary["offered"]
    assert summary["acknowledged"]
    assert summary["lost"] == summary["twice"] == summary["at_another_height"] == 0
    assert summary["same_header"] is True
    assert summary["stopped_when_told"] is True  # at the end, with nothing left to wait for


def test_one_dead_validator_stops_nothing_for_long(summary: dict[str, object]) -> None:
    gap, caught_up = summary["proposer_gap_s"], summary["caught_up_s"]
    assert isinstance(gap, dict)
    assert isinstance(caught_up, dict)
    assert 0 < gap["max"] <= SLACK * kills.MAX_GAP_S
    assert 0 < caught_up["max"] <= kills.PATIENCE_S


def test_two_dead_validators_stop_the_chain_until_one_is_back(summary: dict[str, object]) -> None:
    resumed = summary["resumed_s"]
    assert isinstance(resumed, dict)
    assert summary["stopped"] is True
    assert 0 < resumed["max"] <= SLACK * kills.MAX_RESUME_S


def test_what_a_validator_that_is_dead_for_good_costs_is_measured(
    summary: dict[str, object],
) -> None:
    dead = summary["one_dead"]
    assert isinstance(dead, dict)
    for measured in (dead["all"], dead["one_dead"]):
        assert 0 < measured["p50_ms"] <= measured["p99_ms"] <= measured["max_ms"]
        assert measured["blocks"] > 0
    assert dead["one_dead"]["late_blocks"] < dead["one_dead"]["blocks"] / 6  # and not every fourth


def test_gaps_are_those_between_blocks_that_touch_the_time_asked_for() -> None:
    blocks = kills.Blocks([(1.0, 1), (2.0, 2), (5.0, 4), (5.5, 5)])
    assert blocks.longest_gap(2.5, 4.0) == 3.0
    assert blocks.longest_gap(5.1, 5.2) == 0.5
    assert blocks.longest_gap(1.0, 2.0) == 1.0
    assert blocks.longest_gap(5.5, 9.0) == 3.5  # and none after
    assert blocks.first_after(2.0) == 5.0
    assert blocks.first_after(5.5) is None
