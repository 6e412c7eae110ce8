"""A policy is read whole or not at all, and says of each claim what a machine may do."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.calls import Leg, Reason
from contracts.commitment import Opening
from contracts.nomenclature.codes import Codes
from node.client.disclosure import Disclosed
from node.client.judging import Case, Verdict, count, judge
from node.client.policy import ALLOWED, REASONS, Action, BadPolicy, Finding, Policy, parse_policy
from node.client.records import TallyRecord
from tests.contracts.world import id_of
from tests.node.client.desk import MEMBERS

EXAMPLE = Path(__file__).parents[3] / "scripts" / "data" / "policy.toml"
TEXT = EXAMPLE.read_text()
TODAY = "2026-11-23"


def policy(*changes: tuple[str, str]) -> Policy:
    """Return the example's policy, with lines of it put otherwise."""
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse_policy(text.encode(), "policy.toml", MEMBERS)


def case(**facts: Any) -> Case:  # noqa: ANN401
    """Return a claim of two lenses and a frame for 130 euros, and what is otherwise."""
    outside = {each.name for each in dataclasses.fields(Case)} - {"disclosed"}
    lenses, frame = facts.pop("lenses", 9_000), facts.pop("frame", 4_000)
    shown = {
        "claim": bytes(32),
        "submitter": id_of("shop"),
        "codes": Codes("VU1", "VU1", "M03", ()),
        "category": "a",
        "leg": Leg.COMPLEMENTARY,
        "lenses_cents": lenses,
        "frame_cents": frame,
        "invoice_date": "2026-11-20",
        "insured": "AB-12",
        "authorisation": None,
        "opening": Opening(lenses + (frame or 0), bytes(32)),
    }
    around = {name: facts.pop(name) for name in list(facts) if name in outside}
    return Case(Disclosed(**(shown | facts)), around.pop("today", TODAY), **around)


def verdict(
    found: Policy, about: Case, tally: TallyRecord | None = None
) -> tuple[str, bool, tuple[str, ...], int | None, Reason | None]:
    said = judge(found, about, TallyRecord(day=TODAY) if tally is None else tally)
    return said.action, said.is_machines, said.why, said.part_cents, said.reason


# --- the file -------------------------------------------------------------------------------------


def test_the_example_is_a_policy() -> None:
    found = policy()
    assert found.decides
    assert found.caps[Leg.COMPLEMENTARY, None].total_cents == 15_000
    assert found.settle is not None
    assert set(found.when) == set(Finding)


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ('mode = "decide"', "mode = decide", "at line", "not a TOML file"),
        ('mode = "decide"', 'mode = "all"', 'mode = "all"', "mode"),
        ('mode = "decide"', 'mode = "decide"\nmood = 1', "mood = 1", "mood"),
        ("invoice_days = 365", "invoice_days = 0", "invoice_days = 0", "invoice_days"),
        ("accept_up_to_cents = 45000", "", "[automatic]", "accept_up_to_cents"),
        (
            "accept_up_to_cents = 45000",
            "accept_up_to_cents = 450.0",
            "accept_up_to_cents = 450.0",
            "automatic.accept_up_to_cents",
        ),
        ("count = 20000", "count = true", "accept_per_day_count = true", "accept_per_day_count"),
        ('legs = ["complementary"]', 'legs = ["both"]', 'legs = ["both"]', "legs"),
        ('legs = ["complementary"]', 'legs = ["base"]', "", "caps.base.a"),
        ('duplicate = "review"', 'duplicate = "part"', 'duplicate = "part"', "when.duplicate"),
        (
            'renewed-early = "review"',
            'renewed-early = "refuse"',
            'renewed-early = "refuse"',
            "when.renewed-early",
        ),
        ('invoice-old = "review"', "", "[when]", "when.invoice-old"),
        ('over-cap = "part"', 'over-cap = "part"\ntoo-dear = "part"', "too-dear", "when.too-dear"),
        ("a = { total", "g = { total", "g = { total", "caps.complementary.g"),
        ("lens = { total_cents = 15000 }", "", "[caps.complementary]", "caps.complementary.lens"),
        (
            "a = { total_cents = 20000, frame_cents = 10000 }",
            "a = { total_cents = 20000, frame = 10000 }",
            "a = { total_cents = 20000, frame = 10000 }",
            "caps.complementary.a.frame",
        ),
        ("# [shops.shop-1]", "[shops.shop-9]", "[shops.shop-9]", "shops.shop-9"),
        (
            "cents = 2000000\ndays = 7",
            "cents = 2000000\ndays = 7\nannounce = true",
            "announce = true",
            "settle.announce",
        ),
        ("depoli/policy/1", "depoli/policy/2", 'format = "depoli/policy/2"', "format"),
        ("optics-codes-2020", "optics-codes-2031", "tables = ", "optics-codes-2031"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(old: str, new: str, line: str, said: str) -> None:
    assert old in TEXT
    text = TEXT.replace(old, new, 1)
    with pytest.raises(BadPolicy) as refusal:
        parse_policy(text.encode(), "policy.toml", MEMBERS)
    message = str(refusal.value)
    assert said in message
    if line == "at line":
        assert re.search(r"line \d+", message)
    elif line:
        number = next(n for n, each in enumerate(text.splitlines(), 1) if each.startswith(line))
        assert message.startswith(f"policy.toml, line {number}: ")
    assert "nothing was decided" in refusal.value.hint


def test_a_shop_stands_once() -> None:
    text = f"{TEXT}\n[shops.shop]\n[shops.{id_of('shop').hex()}]\n"
    with pytest.raises(BadPolicy, match="stands twice"):
        parse_policy(text.encode(), "policy.toml", MEMBERS)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_whatever_is_no_policy_is_refused_as_one(data: bytes) -> None:
    with pytest.raises(BadPolicy):
        parse_policy(data, "policy.toml", MEMBERS)


LINES = TEXT.splitlines()
VALUES = st.sampled_from(("", "-1", "0.5", "true", '"x"', "[]", "{}", "99999999999999999999"))


@given(st.integers(0, len(LINES) - 1), VALUES)
def test_a_policy_with_another_value_is_refused_or_is_still_whole(at: int, value: str) -> None:
    changed = list(LINES)
    changed[at] = re.sub(r"=.*", f"= {value}", changed[at])
    try:
        found = parse_policy("\n".join(changed).encode(), "policy.toml", MEMBERS)
    except BadPolicy:
        return
    assert set(found.when) == set(Finding)
    assert all(action in ALLOWED[finding] for finding, action in found.when.items())
    assert {category for _, category in found.caps} == {*"abcdef", None}


def test_a_machine_refuses_only_what_the_chain_has_a_reason_for() -> None:
    refusable = {finding for finding, allowed in ALLOWED.items() if Action.REFUSE in allowed}
    assert refusable == set(REASONS)
    assert all(Action.REVIEW in allowed for allowed in ALLOWED.values())
    assert set(ALLOWED) == set(Finding)


# --- what it says ---------------------------------------------------------------------------------

SHOP = "# [shops.shop-1]\n# accept_up_to_cents = 20000"


@pytest.mark.parametrize(
    ("changes", "about", "expected"),
    [
        ((), case(), ("accept", True, (), None, None)),
        (
            (('mode = "decide"', 'mode = "propose"'),),
            case(),
            ("accept", False, ("policy-proposes-only",), None, None),
        ),
        ((), case(leg=Leg.BASE), ("accept", False, ("leg-not-ours",), None, None)),
        (
            (("only_listed_shops = false", "only_listed_shops = true"),),
            case(),
            ("refuse", True, ("shop-not-listed",), None, Reason.PROVIDER_NOT_CONTRACTED),
        ),
        (
            (("only_listed_insured = false", "only_listed_insured = true"),),
            case(),
            ("accept", False, ("insured-unknown",), None, None),
        ),
        (  # who names nobody is not refused for being unknown
            (
                ("only_listed_insured = false", "only_listed_insured = true"),
                ('insured-unknown = "review"', 'insured-unknown = "refuse"'),
            ),
            case(insured=None, authorisation="PEC-1"),
            ("accept", False, ("authorisation-unchecked",), None, None),
        ),
        (
            (
                ("only_listed_insured = false", "only_listed_insured = true"),
                ('insured-unknown = "review"', 'insured-unknown = "refuse"'),
            ),
            case(),
            ("refuse", True, ("insured-unknown",), None, Reason.INSURED_UNKNOWN),
        ),
        ((), case(is_duplicate=True), ("accept", False, ("duplicate",), None, None)),
        (
            (('duplicate = "review"', 'duplicate = "refuse"'),),
            case(is_duplicate=True),
            ("refuse", True, ("duplicate",), None, Reason.DUPLICATE),
        ),
        (  # one doubt of a person's outweighs what a machine might refuse
            (('duplicate = "review"', 'duplicate = "refuse"'),),
            case(is_duplicate=True, invoice_date="2026-11-24"),
            ("refuse", False, ("duplicate", "invoice-to-come"), None, Reason.DUPLICATE),
        ),
        (
            (("authorisation_above_cents = 60000", "authorisation_above_cents = 12999"),),
            case(),
            ("refuse", True, ("authorisation-missing",), None, Reason.PEC_MISSING),
        ),
        (
            (("authorisation_above_cents = 60000", "authorisation_above_cents = 13000"),),
            case(),
            ("accept", True, (), None, None),
        ),
        (
            (("authorisation_above_cents = 60000", "authorisation_above_cents = 12999"),),
            case(authorisation="PEC-1"),
            ("accept", False, ("authorisation-unchecked",), None, None),
        ),
        (
            (("authorisation_above_cents = 60000", "authorisation_above_cents = 12999"),),
            case(has_agreement=True, agreed_cents=13_000),
            ("accept", True, (), None, None),
        ),
        (
            (),
            case(has_agreement=True),
            ("accept", False, ("agreement-unknown",), None, None),
        ),
        (
            (),
            case(has_agreement=True, agreed_cents=12_000),
            ("part", True, ("over-agreed",), 12_000, None),
        ),
        (
            (),
            case(lenses=11_000, frame=12_000),
            ("part", True, ("over-ceiling", "over-cap"), 20_000, None),
        ),
        (
            (),
            case(lenses=5_000, frame=12_000),
            ("part", True, ("over-ceiling", "over-cap"), 15_000, None),
        ),
        (
            (("a = { total_cents = 20000, frame_cents = 10000 }", "a = { total_cents = 20000 }"),),
            case(lenses=11_000, frame=9_500),
            ("part", True, ("over-cap",), 20_000, None),
        ),
        (
            (),
            case(lenses=16_000, frame=None, codes=Codes("VU1", None, None, ()), category=None),
            ("part", False, ("ceiling-unknown", "over-cap"), 15_000, None),
        ),
        ((), case(invoice_date="2025-11-23"), ("accept", True, (), None, None)),
        (
            (),
            case(invoice_date="2025-11-22"),
            ("accept", False, ("invoice-old",), None, None),
        ),
        (
            (),
            case(last_paid="2024-11-21"),
            ("accept", False, ("renewed-early",), None, None),
        ),
        ((), case(last_paid="2024-11-20"), ("accept", True, (), None, None)),
        (
            (('renewed-early = "review"', 'renewed-early = "pass"'),),
            case(last_paid="2026-11-01"),
            ("accept", True, (), None, None),
        ),
        (
            (("accept_up_to_cents = 45000", "accept_up_to_cents = 12999"),),
            case(),
            ("accept", False, ("over-limit",), None, None),
        ),
        (
            (("accept_up_to_cents = 45000", "accept_up_to_cents = 13000"),),
            case(),
            ("accept", True, (), None, None),
        ),
        (
            ((SHOP, "[shops.shop]\naccept_up_to_cents = 12999"),),
            case(),
            ("accept", False, ("over-limit",), None, None),
        ),
        (
            ((SHOP, "[shops.shop]\nalways_review = true"),),
            case(),
            ("accept", False, ("shop-always-reviewed",), None, None),
        ),
        (
            (("total_cents = 20000", "total_cents = 0"),),
            case(),
            ("part", False, ("over-cap", "nothing-left-to-pay"), 0, None),
        ),
    ],
)
def test_a_claim_is_judged(
    changes: tuple[tuple[str, str], ...], about: Case, expected: tuple[Any, ...]
) -> None:
    assert verdict(policy(*changes), about) == expected


@pytest.mark.parametrize(
    "tally",
    [
        TallyRecord(day=TODAY, accepted=20_000),
        TallyRecord(day=TODAY, accepted_cents=400_000_000 - 12_999),
        TallyRecord(day=TODAY, shops={id_of("shop").hex(): 2_000_000 - 12_999}),
    ],
)
def test_what_is_beyond_a_limit_of_the_day_goes_to_a_person(tally: TallyRecord) -> None:
    assert verdict(policy(), case(), tally) == ("accept", False, ("over-day",), None, None)
    just = TallyRecord(
        day=TODAY,
        accepted=19_999,
        accepted_cents=400_000_000 - 13_000,
        shops={id_of("shop").hex(): 2_000_000 - 13_000},
    )
    assert verdict(policy(), case(), just)[1]


def test_refusals_of_a_day_are_limited_too() -> None:
    strict = policy(("only_listed_shops = false", "only_listed_shops = true"))
    assert verdict(strict, case(), TallyRecord(day=TODAY, refused=199))[1]
    said = verdict(strict, case(), TallyRecord(day=TODAY, refused=200))
    assert said[:3] == ("refuse", False, ("shop-not-listed", "over-day"))


def test_only_what_the_machine_decides_is_counted() -> None:
    tally, about, shop = TallyRecord(day=TODAY), case(), id_of("shop").hex()
    count(tally, Verdict("accept", is_machines=False, why=()), about)
    assert tally == TallyRecord(day=TODAY)
    count(tally, Verdict("accept", is_machines=True, why=()), about)
    count(tally, Verdict("part", is_machines=True, why=(), part_cents=500), about)
    count(tally, Verdict("refuse", is_machines=True, why=(), reason=Reason.DUPLICATE), about)
    assert (tally.accepted, tally.accepted_cents, tally.refused) == (2, 13_500, 1)
    assert tally.shops == {shop: 13_500}


def test_the_longest_beginning_of_a_reference_counts() -> None:
    rules = '[[contracts]]\ninsured = "PRO-"\nkind = "free"\n'
    rules += '[[contracts]]\ninsured = "PRO-R"\nkind = "responsible"\n'
    found = policy(("# [[contracts]]", rules))
    assert found.contract_of("PRO-1") == "free"
    assert found.contract_of("PRO-R1") == "responsible"
    assert found.contract_of("AB-1") == found.contract_of(None) == "responsible"
    dear = case(lenses=80_000, frame=12_000, insured="PRO-1")
    assert "over-ceiling" not in verdict(found, dear)[2]
    assert "over-ceiling" in verdict(found, case(lenses=80_000, frame=12_000))[2]
