"""Penalties: longer each time, never for ever, forgiven after good conduct."""

import pytest

from node.penalties import FORGIVEN_S, MAX_S, Penalties


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("node.clock.monotonic", lambda: now[0])
    return now


def test_each_offence_costs_more_and_none_for_ever(clock: list[float]) -> None:
    penalties = Penalties()
    assert penalties.left(b"a") == 0
    assert penalties.reason(b"a") == ""
    for seconds in (0.5, 1, 2, 4, 8, 16, MAX_S, MAX_S):
        assert penalties.add(b"a", "a lie") == penalties.left(b"a") == seconds
        clock[0] += seconds
        assert penalties.left(b"a") == 0
    assert penalties.reason(b"a") == "a lie"
    assert penalties.left(b"b") == 0
    assert len(penalties) == 1


def test_who_behaves_for_long_begins_anew(clock: list[float]) -> None:
    penalties = Penalties()
    for _ in range(5):
        penalties.add(b"a", "a lie")
    clock[0] += FORGIVEN_S + 1
    assert penalties.add(b"a", "another") == 0.5
