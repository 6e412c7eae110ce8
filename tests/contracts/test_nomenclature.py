"""The rules of optics, whatever is asked: order, monotony, and that one bit is all that is told."""

import itertools
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.calendar import Day, add_months, easter_of, parse_day, weekday_of
from contracts.nomenclature.categories import Category, Element, bearable, element_of
from contracts.nomenclature.codes import SIDES, Codes
from contracts.nomenclature.correction import Correction, canonical, turn_between
from contracts.nomenclature.errors import Objected, Objection
from contracts.nomenclature.prescriptions import Adapted, Answer
from contracts.nomenclature.renewal import EarlyRequest, early_ground, qualifies_early
from contracts.nomenclature.tables import MAX_AGE, MAX_CENTS, Design
from tests.contracts.optics_vectors import VECTORS, tables

TABLES = tables()
LENSES = [row for row in TABLES.codes.codes if row.type == "lens"]
KINDS = ("a", "c", "f")

days = st.integers(parse_day("1990-01-01"), parse_day("2099-12-31")).map(Day)
ages = st.integers(0, MAX_AGE)
quarters = st.integers(-48, 48).map(lambda steps: 25 * steps)
cylinders = st.integers(1, 32).map(lambda steps: 25 * steps)
axes = st.integers(1, 180)
cents = st.integers(0, MAX_CENTS)
corrections = st.one_of(
    st.builds(Correction, quarters),
    st.builds(Correction, quarters, cylinders, axes, st.none() | cylinders),
)
eyes = st.tuples(st.none() | corrections, st.none() | corrections)
elements = st.builds(Element, st.sampled_from(("A", "B")), cents, st.none() | cents)


def test_the_numbers_of_objections_never_change() -> None:
    assert {each.value: each.name for each in Objection} == {
        1: "NO_LENS",
        2: "CODE_UNKNOWN",
        3: "CODE_CLOSED",
        4: "CODE_ELSEWHERE",
        5: "CODE_UNVERIFIED",
        6: "CODE_MISPLACED",
        7: "SUPPLEMENTS_TOO_MANY",
        8: "SUPPLEMENT_REPEATED",
        9: "LENS_CLASS_ABSENT",
        10: "FRAME_ABSENT",
        11: "WEARER_TOO_OLD",
        12: "CODE_NOT_OF_C2S",
        20: "AGE_OUT_OF_RANGE",
        21: "AMOUNT_OUT_OF_RANGE",
        22: "CLAUSE_NOT_ONE",
        30: "ANCHOR_ABSENT",
        31: "DATE_BEFORE",
    }
    assert all(each.text.endswith(".") and each.text[0].isupper() for each in Objection)


def test_an_objection_does_not_repeat_what_was_typed() -> None:
    with pytest.raises(Objected) as objected:
        TABLES.codes.row("180127512345642", "codes.right")
    assert str(objected.value) == f"codes.right: {Objection.CODE_UNKNOWN.text}"


# --- codes and categories -------------------------------------------------------------------------


def test_every_two_lenses_make_one_category_whatever_their_order() -> None:
    for right, left in itertools.product(LENSES, LENSES):
        codes = Codes(right.code, left.code)
        TABLES.codes.require_valid(codes)
        kinds = [row.kind for row in TABLES.codes.lenses(codes).values()]
        category = TABLES.categories.category(kinds)
        assert category is not None
        assert category is TABLES.categories.category(reversed(kinds))
        assert category.kinds == tuple(sorted((str(right.kind), str(left.kind))))


@pytest.mark.parametrize(("right", "left", "name"), VECTORS["equipments"])
def test_two_codes_make_a_category(right: str, left: str, name: str) -> None:
    lenses = TABLES.codes.lenses(Codes(right, left))
    category = TABLES.categories.category(row.kind for row in lenses.values())
    assert category is not None
    assert category.name == name


def test_one_lens_or_three_make_none() -> None:
    assert TABLES.categories.category(["a"]) is None
    assert TABLES.categories.category([]) is None
    assert TABLES.categories.category(["a", "a", "c"]) is None


def test_a_stronger_lens_never_lowers_a_limit() -> None:
    for other, (weaker, stronger) in itertools.product(KINDS, itertools.pairwise(KINDS)):
        less = TABLES.categories.category((weaker, other))  # type: ignore[arg-type]
        more = TABLES.categories.category((stronger, other))  # type: ignore[arg-type]
        assert less is not None
        assert more is not None
        assert less.floor <= more.floor
        assert less.ceiling < more.ceiling
        assert less.collective_floor <= more.collective_floor


@given(quarters, st.none() | cylinders, st.sampled_from(get_args(Design)))
def test_every_correction_falls_under_one_clause(
    sphere: int, cylinder: int | None, design: Design
) -> None:
    clause = TABLES.categories.clause(Correction(sphere, cylinder, cylinder and 90), design)
    for code in (clause.class_a, *clause.class_b):
        row = TABLES.codes.row(code, "clause")
        assert (row.type, row.kind, row.design) == ("lens", clause.kind, design)
        assert row.class_ == ("A" if code == clause.class_a else "B")


def test_every_lens_code_stands_in_a_clause() -> None:
    named = {
        code for clause in TABLES.categories.clauses for code in (clause.class_a, *clause.class_b)
    }
    assert named == {row.code for row in LENSES}


@given(
    st.sampled_from([*TABLES.categories.categories, None]),
    st.lists(elements, min_size=1, max_size=2).map(tuple),
    st.none() | elements,
    st.none() | cents,
)
def test_what_may_be_borne_keeps_every_limit(
    category: Category | None, lenses: tuple[Element, ...], frame: Element | None, cap: int | None
) -> None:
    most = bearable(TABLES.categories, category, lenses, frame, cap=cap)
    if most is None:
        assert category is None
        return
    frames = () if frame is None else (frame,)
    assert 0 <= most.together <= sum(element.price for element in (*lenses, *frames))
    assert max(most.lenses, most.frame) <= most.together <= most.lenses + most.frame
    assert most.frame <= TABLES.categories.frame.cap
    class_a = sum(element.in_full for element in lenses if element.class_ == "A")
    assert most.lenses >= class_a
    if category is not None and all(element.class_ == "B" for element in (*lenses, *frames)):
        assert most.together <= category.ceiling
    assert most == bearable(TABLES.categories, category, lenses[::-1], frame, cap=cap)
    # Whoever pays less may not be given more.
    for basic in (0, most.together, most.together + 1):
        assert most.complementary(basic) == max(0, most.together - basic)


@given(st.lists(elements, min_size=2, max_size=2).map(tuple), st.none() | elements)
def test_a_higher_category_never_bears_less(
    lenses: tuple[Element, ...], frame: Element | None
) -> None:
    rows = sorted(TABLES.categories.categories, key=lambda row: row.ceiling)
    found = [bearable(TABLES.categories, row, lenses, frame) for row in rows]
    together = [most.together for most in found if most is not None]
    assert together == sorted(together)
    assert len(together) == len(rows)


def test_a_code_at_a_price_is_an_element_of_its_class() -> None:
    assert element_of(TABLES.codes.row("VU4", "x"), 100) == Element("B", 100)
    assert element_of(TABLES.codes.row("M01", "x"), 100) == Element("A", 100)


@pytest.mark.parametrize("amount", [-1, MAX_CENTS + 1])
def test_an_amount_is_in_bounds(amount: int) -> None:
    category = TABLES.categories.category(("a", "a"))
    good, bad = Element("B", 1), Element("B", amount)
    for lenses, frame, cap in (((good, bad), None, None), ((good,), bad, None), ((good,), None, 1)):
        with pytest.raises(Objected) as objected:
            bearable(TABLES.categories, category, lenses, frame, cap=cap and amount)
        assert objected.value.objection is Objection.AMOUNT_OUT_OF_RANGE
    with pytest.raises(Objected):
        bearable(TABLES.categories, category, (Element("A", 1, amount),), None)


# --- corrections ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("typed", "made"), VECTORS["transpositions"])
def test_a_cylinder_becomes_positive(typed: list[int], made: list[int | None]) -> None:
    assert list(canonical(typed[0], typed[1], typed[2])) == made


@given(quarters, cylinders, axes)
def test_a_correction_has_one_form(sphere: int, cylinder: int, axis: int) -> None:
    once = canonical(sphere, cylinder, axis)
    assert once == canonical(sphere + cylinder, -cylinder, axis + 90)
    assert once == canonical(sphere + cylinder, -cylinder, axis - 90)
    assert once == canonical(*once)
    assert once[2] in range(1, 181)


@pytest.mark.parametrize(("axis", "other", "turn"), VECTORS["turns"])
def test_axes_differ_by_the_smaller_turn(axis: int, other: int, turn: int) -> None:
    assert turn_between(axis, other) == turn_between(other, axis) == turn


# --- renewals -------------------------------------------------------------------------------------


@given(one=days, other=days, more=st.integers(0, 400), age=ages, is_outgrown=st.booleans())
def test_a_renewal_that_is_due_stays_due(
    one: Day, other: Day, more: int, age: int, *, is_outgrown: bool
) -> None:
    last, on = sorted((one, other))
    is_due = TABLES.renewal.is_due(last, on, age, is_outgrown=is_outgrown)
    assert is_due <= TABLES.renewal.is_due(last, Day(on + more), age, is_outgrown=is_outgrown)
    assert is_due is (on >= TABLES.renewal.due_on(last, age, is_outgrown=is_outgrown))
    if not is_outgrown:  # who waits for less time need not wait for more
        assert is_due <= TABLES.renewal.is_due(last, on, age, is_outgrown=True)
    assert not TABLES.renewal.is_due(last, last, age, is_outgrown=is_outgrown)


@pytest.mark.parametrize(("last", "age", "is_outgrown", "due"), VECTORS["renewals"])
def test_a_renewal_is_due_on_its_day_and_not_on_its_eve(
    last: str, age: int, is_outgrown: object, due: str
) -> None:
    begun, outgrown = parse_day(last), bool(is_outgrown)
    day = Day(parse_day("2099-12-31") + 60) if due == "2100-03-01" else parse_day(due)
    assert TABLES.renewal.is_due(begun, day, age, is_outgrown=outgrown)
    assert not TABLES.renewal.is_due(begun, Day(day - 1), age, is_outgrown=outgrown)


def test_a_table_may_let_some_days_pass_before_a_renewal_is_due() -> None:
    table = msgspec.structs.replace(TABLES.renewal, days_after=3)
    last = parse_day("2023-05-09")
    assert table.due_on(last, 40) == TABLES.renewal.due_on(last, 40) + 3


@pytest.mark.parametrize("age", [-1, MAX_AGE + 1])
def test_an_age_is_one_that_people_reach(age: int) -> None:
    day = parse_day("2024-02-29")
    request = EarlyRequest(day, day, age, has_frame=True, before=(None, None), after=(None, None))
    for ask in (
        lambda: TABLES.renewal.due_on(day, age),
        lambda: TABLES.prescriptions.valid_until(day, age),
        lambda: early_ground(TABLES.renewal, request),
    ):
        with pytest.raises(Objected) as objected:
            ask()
        assert objected.value.objection is Objection.AGE_OUT_OF_RANGE


def test_nothing_is_renewed_before_the_last_glasses() -> None:
    day = parse_day("2024-02-29")
    before = Day(day - 1)
    request = EarlyRequest(day, before, 40, has_frame=True, before=(None, None), after=(None, None))
    with pytest.raises(Objected) as objected:
        TABLES.renewal.is_due(day, before, 40)
    assert objected.value.objection is Objection.DATE_BEFORE
    with pytest.raises(Objected) as objected:
        qualifies_early(TABLES.renewal, request)
    assert objected.value.objection is Objection.DATE_BEFORE


def test_the_period_is_counted_from_the_date_that_the_table_names() -> None:
    invoice, payment = parse_day("2024-01-10"), parse_day("2024-02-01")
    assert TABLES.renewal.anchor_day({"invoice_date": invoice, "payment_date": payment}) == invoice
    with pytest.raises(Objected, match="invoice_date") as objected:
        TABLES.renewal.anchor_day({"payment_date": payment})
    assert objected.value.objection is Objection.ANCHOR_ABSENT


@given(
    st.builds(
        EarlyRequest,
        last=st.just(parse_day("2024-02-29")),
        on=st.integers(0, 1_000).map(lambda after: Day(parse_day("2024-02-29") + after)),
        age=ages,
        has_frame=st.booleans(),
        before=eyes,
        after=eyes,
        by_ophthalmologist=st.booleans(),
        is_degraded=st.booleans(),
        listed_situation=st.booleans(),
    )
)
def test_whoever_asks_learns_one_bit_of_an_early_renewal(request: EarlyRequest) -> None:
    ground = early_ground(TABLES.renewal, request)
    told = qualifies_early(TABLES.renewal, request)
    assert told is (ground is not None)
    is_adult = request.age >= TABLES.renewal.early.from_age
    year_over = request.on >= add_months(request.last, TABLES.renewal.early.min_months)
    if not (is_adult and year_over) and not request.by_ophthalmologist:
        assert not told
    if request.before == request.after and not request.by_ophthalmologist:
        assert not told
    # Right and left exchanged, before and now, are the same change.
    mirrored = EarlyRequest(
        request.last,
        request.on,
        request.age,
        request.has_frame,
        request.before[::-1],
        request.after[::-1],
        request.by_ophthalmologist,
        request.is_degraded,
        request.listed_situation,
    )
    assert early_ground(TABLES.renewal, mirrored) == ground


# --- prescriptions --------------------------------------------------------------------------------


def test_a_prescription_serves_from_its_day_to_its_last() -> None:
    for age, written, last in VECTORS["prescriptions"]:
        first, over = parse_day(written), parse_day(last)
        asked = {Day(first - 1): False, first: True, over: True, Day(over + 1): False}
        for on, is_valid in asked.items():
            assert TABLES.prescriptions.is_valid(first, on, age) is is_valid


@given(days)
def test_silence_agrees_after_ten_working_days(asked: Day) -> None:
    tacit = TABLES.prescriptions.tacit_from(asked)
    between = [Day(asked + after) for after in range(1, tacit - asked)]
    assert sum(map(TABLES.prescriptions.is_working, between)) == 10
    assert TABLES.prescriptions.is_working(Day(tacit - 1))


@given(days)
def test_nobody_works_on_sundays_and_holidays(day: Day) -> None:
    if weekday_of(day) > 5:
        assert not TABLES.prescriptions.is_working(day)


def test_the_feasts_that_move_are_free() -> None:
    for date in VECTORS["easter"]:
        easter = easter_of(int(date[:4]))
        for after in (1, 39, 50):  # Easter Monday, Ascension, Whit Monday
            assert not TABLES.prescriptions.is_working(Day(easter + after))


def test_the_numbers_of_adaptations_never_change() -> None:
    assert {state.value: state.name for state in Adapted} == {
        1: "REQUESTED",
        2: "AGREED",
        3: "TACITLY_AGREED",
        4: "REFUSED",
    }


def test_an_adaptation_is_asked_for_then_answered_or_agreed_by_silence() -> None:
    table = TABLES.prescriptions
    asked = parse_day("2026-09-07")
    tacit = parse_day("2026-09-22")
    eve = Day(tacit - 1)
    assert table.adaptation_at(asked, asked) is Adapted.REQUESTED
    assert table.adaptation_at(asked, eve) is Adapted.REQUESTED
    assert table.adaptation_at(asked, tacit) is Adapted.TACITLY_AGREED
    for agrees, state in ((True, Adapted.AGREED), (False, Adapted.REFUSED)):
        answer = Answer(agrees, eve)
        assert table.adaptation_at(asked, asked, answer) is Adapted.REQUESTED
        assert table.adaptation_at(asked, eve, answer) is state
        assert table.adaptation_at(asked, tacit, answer) is state
        late = Answer(agrees, tacit)
        assert table.adaptation_at(asked, tacit, late) is Adapted.TACITLY_AGREED
    for on, answered in ((Day(asked - 1), None), (asked, Answer(agrees=True, day=Day(asked - 1)))):
        with pytest.raises(Objected) as objected:
            table.adaptation_at(asked, on, answered)
        assert objected.value.objection is Objection.DATE_BEFORE


def test_the_sides_are_those_of_a_combination() -> None:
    assert tuple(TABLES.codes.lenses(Codes("V01", "V02"))) == SIDES
