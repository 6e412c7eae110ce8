"""Grouping codes: which there are, which stand together, which category they make."""

import importlib.resources

import pytest

from node.client.errors import Refused
from node.client.nomenclature import Codes, current

TABLE = current()


def test_the_table_has_every_code_once() -> None:
    codes = [row.code for row in TABLE.codes]
    assert len(codes) == len(set(codes)) == 29
    assert {row.type for row in TABLE.codes} == {"lens", "frame", "supplement"}
    assert all(row.kind and row.class_ and row.design for row in TABLE.codes if row.type == "lens")
    assert not TABLE.closed.codes & set(codes)


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
    assert TABLE.category(Codes(right, left)) == category
    assert TABLE.category(Codes(left, right)) == category


def test_one_lens_has_no_category() -> None:
    assert TABLE.category(Codes("V01")) is None


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
    TABLE.require_valid(codes)


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
        TABLE.require_valid(codes)
    assert reason in str(refusal.value)


def test_the_table_is_packaged_with_the_rules() -> None:
    path = importlib.resources.files("contracts") / "tables" / f"{TABLE.table}.json"
    assert path.is_file()
