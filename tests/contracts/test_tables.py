"""Reference tables as files: canonical, strictly read, and no cell that the examples do not pin."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import BadTable
from contracts.nomenclature.categories import CategoryTable
from contracts.nomenclature.codes import CodeTable
from contracts.nomenclature.prescriptions import PrescriptionTable
from contracts.nomenclature.renewal import RenewalTable
from contracts.nomenclature.tables import Table, encode_table, parse_table, valid_from
from contracts.reference import MAX_TABLE_BYTES
from contracts.strict_json import canonical
from tests.contracts.optics_vectors import TABLES, disagreements, file_of

every_table = pytest.mark.parametrize("table", TABLES)
# What is there for people: the vectors pin its form, not its words.
FOR_PEOPLE = {"facts", "format", "kind", "name", "valid_from"}


@every_table
def test_a_table_says_what_the_examples_say(table: type[Table]) -> None:
    assert list(disagreements(parse_table(file_of(table), table))) == []


@every_table
def test_a_table_is_canonical(table: type[Table]) -> None:
    data = file_of(table)
    assert encode_table(parse_table(data, table)) == data
    assert canonical(json.loads(data)) == data
    tool = [sys.executable, "-m", "json.tool", "--sort-keys", "--indent", "2"]
    assert subprocess.run(tool, input=data, capture_output=True, check=True).stdout == data


@every_table
def test_a_table_has_a_source_for_every_field(table: type[Table]) -> None:
    value = json.loads(file_of(table))
    assert value.keys() - {"facts", "format", "kind", "name"} <= value["facts"].keys()
    for fact in list(value["facts"]):
        if "." not in fact:
            found = {name: each for name, each in value["facts"].items() if name != fact}
            with pytest.raises(BadTable, match=f"no source is named for {fact}"):
                parse_table(canonical(value | {"facts": found}), table)


def test_only_what_was_not_verified_is_switched_off() -> None:
    table = parse_table(file_of(RenewalTable), RenewalTable)
    off = {case.name for case in table.cases if not case.is_on}
    assert off == {"E3"}
    unknown = {fact for fact, source in table.facts.items() if source.mark == "U"}
    assert unknown == {"changes.E3", "undecided"}


# --- every cell is pinned -------------------------------------------------------------------------


OTHERS = {
    "A": ["B"],
    "B": ["A"],
    "a": ["c", "f"],
    "c": ["a", "f"],
    "f": ["a", "c"],
    "adult": ["child"],
    "child": ["adult"],
    "any": ["sum"],
    "sum": ["any"],
    "frame": ["lens", "supplement"],
    "lens": ["frame", "supplement"],
    "supplement": ["lens", "frame"],
    "unifocal": ["multifocal"],
    "multifocal": ["unifocal"],
    "sphere": ["cylinder", "addition"],
    "cylinder": ["sphere", "addition"],
    "addition": ["sphere", "cylinder"],
    "invoice_date": ["payment_date", "acquisition_date"],
    "2019-12-31": ["2019-12-30"],
}


def places(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every cell: what holds no other, and what may be left out."""
    match value:
        case dict():
            for name, inner in value.items():
                yield from places(inner, (*path, name))
        case list():
            for index, inner in enumerate(value):
                yield from places(inner, (*path, index))
        case _:
            pass
    if path:
        yield path


def changes(value: object) -> Iterator[object]:
    match value:
        case bool():
            yield not value
        case int():
            yield from (value - 1, value + 1)
        case str():
            yield from OTHERS.get(value, [value[:-1] + chr(ord(value[-1]) + 1)])
        case _:
            pass


def altered(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (what, a table with one cell changed or left out)."""
    for path in places(json.loads(data)):
        if path[0] in FOR_PEOPLE:
            continue
        value = json.loads(data)
        inside = value
        for step in path[:-1]:
            inside = inside[step]
        was = inside[path[-1]]
        for changed in changes(was):
            inside[path[-1]] = changed
            yield f"{path}: {was} -> {changed}", canonical(value)
        inside[path[-1]] = was
        del inside[path[-1]]
        yield f"{path}: {str(was)[:60]} left out", canonical(value)


@every_table
def test_a_change_of_any_cell_is_noticed(table: type[Table]) -> None:
    unnoticed, count = [], 0
    for what, data in altered(file_of(table)):
        count += 1
        try:
            found = parse_table(data, table)
        except BadTable:
            continue
        if not any(True for _ in disagreements(found)):
            unnoticed.append(what)
    assert not unnoticed, f"{len(unnoticed)} of {count}: {unnoticed}"
    assert count > 40


# --- strictly read --------------------------------------------------------------------------------


def edited(table: type[Table], edit: Callable[[dict[str, Any]], object]) -> bytes:
    value = json.loads(file_of(table))
    edit(value)
    return canonical(value)


def replace(code: str, **fields: object) -> Callable[[dict[str, Any]], object]:
    def edit(value: dict[str, Any]) -> None:
        row = next(row for row in value["codes"] if row["code"] == code)
        row.update(fields)
        for name in [name for name, each in row.items() if each is None]:
            del row[name]

    return edit


BAD: list[tuple[type[Table], Callable[[dict[str, Any]], object], str]] = [
    (CodeTable, lambda value: value.update(comment="x"), "unknown field `comment`"),
    (CodeTable, lambda value: value["codes"][0].update(price=1), "unknown field `price`"),
    (CodeTable, lambda value: value.pop("closed"), "missing required field `closed`"),
    (CodeTable, lambda value: value.update(kind=2), "it is a table of kind 2, not 1"),
    (CodeTable, lambda value: value.update(format="depoli/table/2"), "Invalid enum value"),
    (CodeTable, lambda value: value.update(valid_from="2020-02-30"), "this is no day"),
    (CodeTable, lambda value: value["closed"].update(last_day="2019-11-31"), "this is no day"),
    (CodeTable, lambda value: value["facts"].update(more=value["facts"]["codes"]), "for more"),
    (CodeTable, lambda value: value["facts"]["codes"].update(mark="X"), "Invalid enum value"),
    (CodeTable, lambda value: value["facts"]["codes"].update(source="é"), "matching regex"),
    (CodeTable, lambda value: value["codes"].append(value["codes"][0]), "V01 stands twice"),
    (CodeTable, lambda value: value["elsewhere"].insert(0, "ZZZ"), "a list of codes"),
    (CodeTable, lambda value: value.update(unverified=["OP1"]), "OP1 stands twice"),
    (CodeTable, replace("V01", kind=None), "the row of V01 is not that of a lens"),
    (CodeTable, replace("V01", design=None), "the row of V01 is not that of a lens"),
    (CodeTable, replace("V01", wearer="adult"), "the row of V01 is not that of a lens"),
    (CodeTable, replace("V01", per="lens"), "the row of V01 is not that of a lens"),
    (CodeTable, replace("V01", requires={"frame": "M01"}), "the row of V01 is not"),
    (CodeTable, replace("M01", **{"class": None}), "the row of M01 is not that of a frame"),
    (CodeTable, replace("M01", kind="a", design="unifocal"), "the row of M01 is not"),
    (CodeTable, replace("SV3", **{"class": "A"}), "the row of SV3 is not that of a supplement"),
    (CodeTable, replace("SV3", per=None), "the row of SV3 is not that of a supplement"),
    (CodeTable, replace("MS1", requires={"frame": "V01"}), "MS1 goes with V01"),
    (CodeTable, replace("SV3", requires={}), "the row of SV3"),
    (CodeTable, replace("V01", c2s=None, wearer=None, amo=0), "Expected `int` >= 1"),
    (CategoryTable, lambda value: value["categories"].pop(), "every two kinds of lens"),
    (CategoryTable, lambda value: value["categories"][0].update(name="b"), "every two kinds"),
    (CategoryTable, lambda value: value["categories"][0].update(floor=42001), "of category a"),
    (CategoryTable, lambda value: value["frame"].update(cap=42001), "of category a lies too low"),
    (CategoryTable, lambda value: value.update(mixing="each_alone"), "Invalid enum value"),
    (CategoryTable, lambda value: value["frame"].update(cap=True), "Expected `int`"),
    (RenewalTable, lambda value: value["periods"].pop(0), "rows by age begin at 0"),
    (RenewalTable, lambda value: value["periods"].reverse(), "rows by age begin at 0"),
    (RenewalTable, lambda value: value["turns"][0].update(name="E1"), "two cases have one name"),
    (RenewalTable, lambda value: value.update(undecided=["E1"]), "two cases have one name"),
    (RenewalTable, lambda value: value["changes"][1].update(of="sum"), "E2 counts"),
    (RenewalTable, lambda value: value["changes"][0].update(quantities=["sphere"] * 2), "E1 cou"),
    (RenewalTable, lambda value: value.update(anchor="birth_date"), "Invalid enum value"),
    (RenewalTable, lambda value: value["listed_situation"].update(list=[]), "unknown field"),
    (PrescriptionTable, lambda value: value["validity"][1].update(from_age=0), "rows by age"),
    (PrescriptionTable, lambda value: value["holidays"]["fixed"].append([2, 30]), "no day 2-30"),
    (PrescriptionTable, lambda value: value["adaptation"].update(rest_days=[5, 6, 7]), "length"),
    (PrescriptionTable, lambda value: value.update(allow_detailed_codes=True), "Invalid"),
]


@pytest.mark.parametrize(("table", "edit", "reason"), BAD, ids=map(str, range(len(BAD))))
def test_a_table_that_contradicts_itself_is_refused(
    table: type[Table], edit: Callable[[dict[str, Any]], object], reason: str
) -> None:
    with pytest.raises(BadTable) as refusal:
        parse_table(edited(table, edit), table)
    assert reason in refusal.value.reason


def test_a_table_may_set_a_ceiling_as_low_as_what_must_fit_beneath_it() -> None:
    low = edited(CategoryTable, lambda value: value["frame"].update(cap=42000))
    assert parse_table(low, CategoryTable).frame.cap == 420_00


@pytest.mark.parametrize(
    ("alter", "reason"),
    [
        (lambda data: data + b"\n", "canonical"),
        (lambda data: data.rstrip(), "canonical"),
        (lambda data: data.replace(b"\n", b"\r\n"), "canonical"),
        (lambda data: data.replace(b"VERRE", b"VERR\\u0045", 1), "canonical"),
        (lambda data: data.replace(b'"name"', b'"name": "x",\n  "name"', 1), "stands twice"),
        (lambda data: data.replace(b"3510", b"3510.0"), "no whole number"),
        (lambda data: data[:-3], "not JSON"),
        (lambda _: b"[" * 50_000, "not JSON"),
        (lambda _: b" " * (MAX_TABLE_BYTES + 1), "longer than"),
        (lambda _: b"[]", "Expected `object`"),
    ],
    ids=map(str, range(10)),
)
def test_a_file_that_could_be_read_otherwise_is_refused(
    alter: Callable[[bytes], bytes], reason: str
) -> None:
    with pytest.raises(BadTable) as refusal:
        parse_table(alter(file_of(CodeTable)), CodeTable)
    assert reason in refusal.value.reason


@given(st.data())
def test_any_bytes_are_a_table_or_refused(data: st.DataObject) -> None:
    table = data.draw(st.sampled_from(TABLES))
    file = bytearray(file_of(table))
    for _ in range(data.draw(st.integers(1, 3))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = parse_table(bytes(file), table)
    except BadTable:
        return
    assert encode_table(found) == file


def test_a_table_says_from_when_it_holds() -> None:
    table = parse_table(file_of(CodeTable), CodeTable)
    assert valid_from(table) == 737_425  # 1 January 2020
