"""The examples of `tests/vectors/optics.json`, put to the tables: what disagrees is yielded.

A test that the tables agree, and one that a change of any cell would be noticed, both ask here.
"""

import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from contracts.calendar import Day, parse_day, text_of
from contracts.nomenclature.categories import CategoryTable, Element, bearable
from contracts.nomenclature.codes import Codes, CodeTable
from contracts.nomenclature.correction import Correction
from contracts.nomenclature.errors import Objected
from contracts.nomenclature.prescriptions import PrescriptionTable
from contracts.nomenclature.renewal import EarlyRequest, Eyes, RenewalTable, early_ground
from contracts.nomenclature.tables import Table, parse_table

ROOT = Path(__file__).resolve().parent.parent.parent
VECTORS: dict[str, Any] = json.loads((ROOT / "tests" / "vectors" / "optics.json").read_bytes())
TABLES: tuple[type[Table], ...] = (CodeTable, CategoryTable, RenewalTable, PrescriptionTable)


@dataclass(frozen=True)
class Tables:
    codes: CodeTable
    categories: CategoryTable
    renewal: RenewalTable
    prescriptions: PrescriptionTable


def file_of(table: type[Table]) -> bytes:
    return (ROOT / "contracts" / "tables" / f"{table.KIND.subject}.json").read_bytes()


@functools.cache
def tables() -> Tables:
    return Tables(
        parse_table(file_of(CodeTable), CodeTable),
        parse_table(file_of(CategoryTable), CategoryTable),
        parse_table(file_of(RenewalTable), RenewalTable),
        parse_table(file_of(PrescriptionTable), PrescriptionTable),
    )


def said(ask: Callable[[], object]) -> Any:  # noqa: ANN401 - whatever it is asked
    """Return the answer, or the objection by name and field."""
    try:
        return ask()
    except Objected as objected:
        return [objected.objection.name, objected.field]


def of_codes(table: CodeTable) -> Iterator[tuple[Any, Any, Any]]:
    """Yield (what was asked, what the vectors say, what the table says)."""
    yield "codes", len(VECTORS["codes"]), len(table.codes)
    for code, amo, c2s, words, label in VECTORS["codes"]:
        row = table.row(code, "x") if any(each.code == code for each in table.codes) else None
        of_row = row and " ".join(
            word
            for word in (row.type, row.class_, row.kind, row.design, row.wearer)
            if word is not None
        )
        yield code, (amo, c2s, words, label), row and (row.amo, row.c2s, of_row, row.label)
    for code, expected in VECTORS["refused_codes"].items():
        try:
            found: list[Any] = [table.row(code, "x").code]
        except Objected as objected:
            found = [objected.objection.name, *objected.evidence]
        yield code, [expected[0], code, *expected[1:]], found
    for right, left, frame, supplements, age, is_c2s, objection in VECTORS["combinations"]:
        codes = Codes(right, left, frame, tuple(supplements))
        yield (
            codes,
            objection,
            said(functools.partial(table.require_valid, codes, age=age, is_c2s=is_c2s)),
        )


def element(value: list[Any] | None) -> Element | None:
    return None if value is None else Element(*value)


def of_categories(table: CategoryTable) -> Iterator[tuple[Any, Any, Any]]:
    named = {row.name: row for row in table.categories}
    for kinds, name, floor, ceiling, collective_floor in VECTORS["categories"]:
        row = table.category(kinds)
        assert row == table.category(kinds[::-1])
        bounds = row and (row.name, row.floor, row.ceiling, row.collective_floor)
        yield kinds, (name, floor, ceiling, collective_floor), bounds
    for design, sphere, cylinder, kind, class_a, class_b in VECTORS["clauses"]:
        correction = Correction(sphere, cylinder, cylinder and 90)
        clause = said(functools.partial(table.clause, correction, design))
        if isinstance(clause, list):
            yield correction, kind, None
        else:
            codes = (clause.kind, clause.class_a, list(clause.class_b))
            yield correction, (kind, class_a, class_b), codes
    for each in VECTORS["bearable"]:
        lenses = tuple(Element(*lens) for lens in each["lenses"])
        category = each["category"] and named[each["category"]]
        most = bearable(table, category, lenses, element(each["frame"]), cap=each["cap"])
        found = most and [most.lenses, most.frame, most.together]
        yield each["why"], each["most"], found
    for count, cents in VECTORS["basic_shares"]:
        yield f"{count} of class B", cents, table.basic_share(count)


def eyes(values: list[Any]) -> Eyes:
    right, left = (None if value is None else Correction(*value) for value in values)
    return right, left


def of_renewal(table: RenewalTable) -> Iterator[tuple[Any, Any, Any]]:
    days = {name: parse_day("2024-01-10") for name in ("invoice_date",)}
    yield "anchor", days["invoice_date"], said(functools.partial(table.anchor_day, days))
    for last, age, is_outgrown, due in VECTORS["renewals"]:
        found = table.due_on(parse_day(last), age, is_outgrown=is_outgrown)
        yield (last, age, is_outgrown), due, text_of(found)
    for each in VECTORS["early_renewals"]:
        request = EarlyRequest(
            parse_day(each["last"]),
            parse_day(each["on"]),
            each["age"],
            each["frame"],
            eyes(each["before"]),
            eyes(each["after"]),
            **dict.fromkeys(each["flags"], True),
        )
        yield each, each["ground"], early_ground(table, request)
    yield "without a rule", ("PRISM",), table.undecided
    off = [case.name for case in table.cases if not case.is_on]
    yield "switched off", ["E3"], off
    # What it would be, were it switched on.
    combined = next(case for case in table.cases if case.name == "E3")
    for change, is_met in ((24, False), (25, True)):
        before, now = Correction(0, addition=200), Correction(25, addition=200 + change)
        yield "E3", is_met, combined.is_met((before, None), (now, None))
    for change, is_met in ((12, False), (13, True)):
        before, now = Correction(0, addition=200), Correction(-12, addition=200 + change)
        yield "E3 of both", is_met, combined.is_met((before, before), (now, now))


def of_prescriptions(table: PrescriptionTable) -> Iterator[tuple[Any, Any, Any]]:
    for age, written, last in VECTORS["prescriptions"]:
        yield (age, written), last, text_of(table.valid_until(parse_day(written), age))
    free = [
        text_of(day)
        for day in (Day(parse_day("2026-01-01") + after) for after in range(365))
        if not _is_working_weekday(table, day)
    ]
    yield "holidays", VECTORS["holidays_2026"], free
    for asked, agreed in VECTORS["tacit"]:
        yield asked, agreed, text_of(table.tacit_from(parse_day(asked)))
    yield "detailed codes", False, table.allow_detailed_codes


def _is_working_weekday(table: PrescriptionTable, day: Day) -> bool:
    """Return whether a day would be one of work, were it on a weekday of work."""
    week = msgspec.structs.replace(table.adaptation, rest_days=())
    return msgspec.structs.replace(table, adaptation=week).is_working(day)


def disagreements(table: Table) -> Iterator[tuple[Any, Any, Any]]:
    """Yield where a table says something else than the vectors."""
    asked: Iterator[tuple[Any, Any, Any]]
    match table:
        case CodeTable():
            asked = of_codes(table)
        case CategoryTable():
            asked = of_categories(table)
        case RenewalTable():
            asked = of_renewal(table)
        case PrescriptionTable():
            asked = of_prescriptions(table)
        case _:
            raise AssertionError(table)
    for what, expected, found in asked:
        if expected != found:
            yield what, expected, found
