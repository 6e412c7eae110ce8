"""scripts/campaign: it counts what it saw, and says what is missing and what is violated."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from contracts import claim_life
from contracts.calls import ClaimCancel
from scripts import campaign, cells
from scripts.campaign import Seen
from tests.contracts.machine.stage import Tally

ROWS = claim_life.LIFE.rows


def test_the_rules_are_as_modelled() -> None:
    seen = campaign.hunt(1, chains=3, length=60)
    assert not seen.violations
    assert seen.tally.steps >= 60
    assert seen.tally.blocks >= seen.tally.steps
    assert sum(seen.tally.applied.values()) > sum(seen.tally.refused.values()) > 0


def test_what_differs_from_the_model_is_told_with_its_steps() -> None:
    """A claim that is cancelled keeps its marks."""
    rows = tuple(replace(row, effects=()) if row.call is ClaimCancel else row for row in ROWS)
    with cells.planted(claim_life.LIFE, rows):
        seen = campaign.hunt(1, chains=20, length=100)
    (violation,) = seen.violations
    assert violation["seed"] == 1
    assert "ClaimCancel" in violation["told"]


def test_a_campaign_that_never_made_a_call_is_no_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    every = Counter(campaign.KINDS)
    tally = Tally(steps=9, blocks=10, applied=every, refused=every - Counter(["Vote"]))
    monkeypatch.setattr(campaign, "campaign", lambda *_: Seen(tally))
    assert campaign.main(["--json"]) == 1
    assert json.loads(capsys.readouterr().out)["missing"] == ["Vote: never refused"]
    tally.refused["Vote"] = 1
    assert campaign.main([]) == 0
    assert "9 steps, 10 blocks" in capsys.readouterr().out


def test_slices_are_counted_together() -> None:
    one = Seen(Tally(steps=4, applied=Counter(Vote=1)))
    one.add(Seen(Tally(steps=5, applied=Counter(Vote=2)), [{"seed": 3, "told": "this"}]))
    assert (one.tally.steps, one.tally.applied["Vote"]) == (9, 3)
    assert one.violations == [{"seed": 3, "told": "this"}]
