"""Grouping codes: which there are, which stand together, which category they make."""

import pytest

from contracts.nomenclature.codes import Codes
from contracts.nomenclature.errors import Objected, Objection
from contracts.nomenclature.tables import encode_table
from contracts.reference import TableKind, table_hash
from node.client import nomenclature
from node.client.errors import Refused
from node.client.packaged import table_hashes

TABLES = nomenclature.current()


@pytest.mark.parametrize(
    ("right", "left", "category"),
    [
        ("V01", "VU2", "a"),
        ("VU1", "VU4", "b"),
        ("VU7", "VM1", "c"),
        ("VU3", "VM4", "d"),
        ("VM2", "V04", "e"),
        ("VM7", "VM5", "f"),
    ],
)
def test_two_codes_make_a_category(right: str, left: str, category: str) -> None:
    assert nomenclature.category(Codes(right, left)) == category
    assert nomenclature.category(Codes(left, right)) == category


def test_one_lens_has_no_category() -> None:
    assert nomenclature.category(Codes("V01")) is None


@pytest.mark.parametrize(
    "codes",
    [
        Codes("V01", "V01"),
        Codes("V01", None, "M03"),
        Codes(None, "VM4", "M01", ("SV1", "SV3", "SV4")),
        Codes("V01", "VU1", "M02", ("MS1", "S01", "S01", "SV1", "SV2")),
        Codes("VU1", "VU1", "M04", ("MS2",)),
    ],
)
def test_codes_that_go_together_are_accepted(codes: Codes) -> None:
    nomenclature.require_valid(codes)


@pytest.mark.parametrize(
    ("codes", "reason"),
    [
        (Codes(), "codes: there is no lens"),
        (Codes(frame="M01"), "codes: there is no lens"),
        (Codes("M01"), "codes.right: M01 is a frame, not a lens"),
        (Codes("V01", "V01", "V01"), "codes.frame: V01 is a lens, not a frame"),
        (Codes("V01", "V01", None, ("M01",)), "codes.supplements: M01 is a frame"),
        (Codes("VU9"), "codes.right: VU9 is no grouping code"),
        (Codes("vu1"), "codes.right: vu1 is no grouping code"),
        (Codes("V01\n"), "codes.right: is no grouping code"),
        (Codes("OP1"), "codes.right: the grouping code OP1 was closed on 2019-12-31"),
        (Codes("VU1", "VU1", None, ("S01",)), "S01 goes with a lens of class A"),
        (Codes("V01", "V01", None, ("SV1",)), "SV1 goes with a lens of class B"),
        (Codes("VU1", "VU1", None, ("SV2",)), "SV2 goes with a lens of class A"),
        (Codes("V01", "V01", "M01", ("MS1",)), "MS1 goes with the frame M02, not M01"),
        (Codes("V01", "V01", None, ("MS2",)), "MS2 goes with the frame M04, not without"),
        (Codes("V01", None, None, ("SV3", "SV3")), "SV3 stands 2 times"),
        (Codes("V01", "V01", None, ("SV3",) * 9), "more than 8"),
    ],
)
def test_codes_that_do_not_go_together_are_refused(codes: Codes, reason: str) -> None:
    with pytest.raises(Refused) as refusal:
        nomenclature.require_valid(codes)
    assert reason in str(refusal.value)


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("VO1", "did you mean V01?"),
        ("so1", "did you mean S01?"),
        ("vu1", "did you mean VU1?"),
        ("VU9", "depoli codes show"),
        ("OP1", "depoli codes show"),
        ("SOA", "adopt a table"),
        ("LEN", ""),
    ],
)
def test_a_code_that_is_not_taken_is_answered_by_what_to_do(typed: str, hint: str) -> None:
    with pytest.raises(Refused) as refusal:
        nomenclature.require_valid(Codes(typed))
    assert hint in refusal.value.hint
    assert bool(hint) is bool(refusal.value.hint)


def test_the_age_and_the_scheme_are_judged_where_they_are_known() -> None:
    codes = Codes("V01", "V01", "M02", ("MS1",))
    nomenclature.require_valid(codes, age=5, is_c2s=True)
    with pytest.raises(Refused, match="MS1 is for wearers below 6 years"):
        nomenclature.require_valid(codes, age=6)
    with pytest.raises(Refused, match="has no code VU1"):
        nomenclature.require_valid(Codes("VU1"), is_c2s=True)


@pytest.mark.parametrize(
    ("codes", "lenses_cents", "frame_cents", "most"),
    [
        (Codes("VU1", "VU2", "M03"), 300_00, 120_00, 400_00),
        (Codes("VU1", "VU2", "M03"), 400_00, 90_00, 420_00),
        (Codes("VM4", "VU2"), 700_00, None, 610_00),
        (Codes("V01", "V01", "M03"), 75_00, 120_00, 175_00),
        (Codes("VU1", "VU1", "M01"), 400_00, 30_00, 420_00),
        (Codes("V01", None, "M01"), 40_00, 35_00, 70_00),
        (Codes("VU1"), 40_00, None, None),
        (Codes("V01", "VU1"), 40_00, None, None),
    ],
)
def test_a_claim_has_a_most_that_may_be_borne(
    codes: Codes, lenses_cents: int, frame_cents: int | None, most: int | None
) -> None:
    assert nomenclature.most_of(codes, lenses_cents, frame_cents) == most


EVIDENCE: dict[Objection, tuple[str | int, ...]] = {
    Objection.NO_LENS: (),
    Objection.CODE_UNKNOWN: ("VU9",),
    Objection.CODE_CLOSED: ("OP1", "2019-12-31"),
    Objection.CODE_ELSEWHERE: ("LEN",),
    Objection.CODE_UNVERIFIED: ("SOA",),
    Objection.CODE_MISPLACED: ("M01", "frame", "lens", "MONTURE"),
    Objection.SUPPLEMENTS_TOO_MANY: (8,),
    Objection.SUPPLEMENT_REPEATED: ("SV3", 1, 2),
    Objection.LENS_CLASS_ABSENT: ("S01", "A"),
    Objection.FRAME_ABSENT: ("MS1", "M02", ""),
    Objection.WEARER_TOO_OLD: ("MS1", 6),
    Objection.CODE_NOT_OF_C2S: ("VU1",),
    Objection.AGE_OUT_OF_RANGE: (150,),
    Objection.AMOUNT_OUT_OF_RANGE: (10_000_00,),
    Objection.CLAUSE_NOT_ONE: (0,),
    Objection.ANCHOR_ABSENT: (),
    Objection.DATE_BEFORE: (),
}


@pytest.mark.parametrize("objection", Objection)
def test_every_objection_is_said_to_a_person(objection: Objection) -> None:
    with pytest.raises(Refused) as refusal, nomenclature.in_words():
        raise Objected(objection, "codes.right", *EVIDENCE[objection])
    assert refusal.value.field == "codes.right"
    assert all(str(each) in refusal.value.reason for each in EVIDENCE[objection])


def test_the_tables_are_packaged_with_the_rules() -> None:
    assert [table.KIND for table in TABLES] == list(TableKind)
    for table in TABLES:
        assert table_hashes()[table.KIND] == table_hash(encode_table(table))
