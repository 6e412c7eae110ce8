"""A shop's commands are killed on a real network; scripts/lot-kills does it at every step."""

import pytest

from tests.network import campaigns


@pytest.mark.timeout(240)
def test_a_lot_that_is_killed_loses_no_claim_and_makes_none_twice() -> None:
    options = ("--ways", "flush", "--stride", "8", "--random", "0", "--rounds", "1")
    summary = campaigns.ended("lot_kills", *options)
    assert summary["steps"]["flush"]["steps"] >= 14
    assert summary["steps"]["flush"]["kills"] >= 2
    assert summary["at_once"]["rounds"] == 1
    assert "retry" in summary["node_dies"]["first_said"]
    assert summary["claims"] > 20
