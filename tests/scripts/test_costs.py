"""scripts/costs: it measures every kind of call, and tells which says less than it costs."""

from dataclasses import replace

import pytest

from contracts import dispatch, marks
from contracts.calls import ClaimAccept, MarkLock, SettlementAdd, SettlementRemove, parse_call
from contracts.calls.settlement import MAX_LISTED
from contracts.errors import Refusal
from scripts import costs
from scripts.costs import Meter
from tests import extremes
from tests.chains import chains


@pytest.fixture(scope="module")
def meter() -> Meter:
    return costs.measure(chains(), filler=100, tries=1, passes=2)


def test_every_kind_of_call_is_measured_and_nothing_is_left_behind(meter: Meter) -> None:
    assert costs.report(meter)["missing"] == []
    rules = dispatch.CODES[1].rules
    assert rules[MarkLock] is marks.RULES[MarkLock]


def test_a_kind_that_no_chain_applies_is_named(meter: Meter) -> None:
    spent = {key: value for key, value in meter.spent.items() if key != (MarkLock, True)}
    result = costs.report(replace(meter, spent=spent))
    assert result["missing"] == ["MarkLock"]
    assert "NOT MEASURED: MarkLock" in costs.table(result)


def test_a_kind_that_says_too_little_is_named(meter: Meter) -> None:
    even = {(kind, applied): [(10.0 * unit, unit)] for kind, applied, unit in units(meter)}
    assert costs.report(replace(meter, spent=even))["too_cheap"] == []
    us, unit = even[ClaimAccept, True][0]
    cheap = even | {(ClaimAccept, True): [(us, unit), (2.1 * us, unit)]}  # its worst case counts
    result = costs.report(replace(meter, spent=cheap))
    assert result["too_cheap"] == ["ClaimAccept"]
    assert "TOO CHEAP: ClaimAccept" in costs.table(result)


def units(meter: Meter) -> list[tuple[type, bool, int]]:
    return [(kind, applied, spent[0][1]) for (kind, applied), spent in meter.spent.items()]


def test_the_figures_of_a_submission_tell_what_is_the_librarys(meter: Meter) -> None:
    figures = costs.report(meter)["submit"]
    assert 0 < figures["us_libsodium"] < figures["us"]
    assert figures["us_python"] == pytest.approx(figures["us"] - figures["us_libsodium"], abs=0.2)


def test_the_largest_lists_are_applied_and_refused() -> None:
    chain = extremes.largest_settlement()
    codes = [block.outcomes[0].code for block in chain.blocks[-4:]]
    assert [code == 0 for code in codes] == [False, True, False, True]
    added, removed = (
        parse_call(each.body.calls[0]) for each in (chain.transactions[-3], chain.transactions[-1])
    )
    assert isinstance(added, SettlementAdd)
    assert isinstance(removed, SettlementRemove)
    assert len(added.claims) == len(removed.claims) == MAX_LISTED


def test_a_member_with_all_keys_may_change_but_not_add_one() -> None:
    codes = [block.outcomes[0].code for block in extremes.most_keys().blocks]
    assert codes[-4] == Refusal.TOO_MANY_KEYS
    assert codes[-1] == Refusal.CERTIFICATE_NOT_PROVED
    assert sum(codes) == codes[-4] + codes[-1]


def test_the_last_validator_may_join_and_all_vote() -> None:
    *before, votes = extremes.most_validators(9).blocks
    assert all(outcome.code == 0 for block in before for outcome in block.outcomes)
    codes = [outcome.code for outcome in votes.outcomes]
    assert len(codes) == 8
    assert set(codes) == {0, Refusal.PROPOSAL_IN_WRONG_STATE}  # the last came too late
