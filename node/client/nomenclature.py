"""The reference tables that are packaged with the program, and what is said to people of them.

What the tables mean is judged in `contracts.nomenclature`; each objection there becomes here a
sentence that names what was typed, and what to type instead.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Final

from contracts.calendar import Day, parse_day
from contracts.nomenclature.categories import CategoryTable, bearable, element_of
from contracts.nomenclature.codes import Code, Codes, CodeTable
from contracts.nomenclature.errors import Objected, Objection
from contracts.nomenclature.prescriptions import PrescriptionTable
from contracts.nomenclature.renewal import RenewalTable
from contracts.nomenclature.tables import Table, parse_table
from contracts.reference import TableKind
from node.client.errors import Refused
from node.client.packaged import table_file
from node.client.reading import as_date

_SHOWN: Final = 12  # characters of a code that there is not


_TYPES: Final[dict[TableKind, type[Table]]] = {
    TableKind.OPTICS_CODES: CodeTable,
    TableKind.OPTICS_CATEGORIES: CategoryTable,
    TableKind.OPTICS_RENEWAL: RenewalTable,
    TableKind.OPTICS_PRESCRIPTIONS: PrescriptionTable,
}


@dataclass(frozen=True, slots=True)
class Tables:
    """One table of each kind."""

    codes: CodeTable
    categories: CategoryTable
    renewal: RenewalTable
    prescriptions: PrescriptionTable

    def __iter__(self) -> Iterator[Table]:
        """Yield the tables in the order of their kinds."""
        return iter((self.codes, self.categories, self.renewal, self.prescriptions))


@cache
def current() -> Tables:
    """Return the tables that new claims are judged by."""
    return Tables(
        parse_table(table_file(TableKind.OPTICS_CODES), CodeTable),
        parse_table(table_file(TableKind.OPTICS_CATEGORIES), CategoryTable),
        parse_table(table_file(TableKind.OPTICS_RENEWAL), RenewalTable),
        parse_table(table_file(TableKind.OPTICS_PRESCRIPTIONS), PrescriptionTable),
    )


def require_table(kind: TableKind, content: bytes) -> None:
    """Raise `contracts.errors.BadTable` unless these are the bytes of a table of this kind."""
    parse_table(content, _TYPES[kind])


def require_valid(
    codes: Codes, field: str = "codes", *, age: int | None = None, is_c2s: bool = False
) -> None:
    """Raise `Refused` unless these codes may stand together in one claim."""
    with in_words():
        current().codes.require_valid(codes, field, age=age, is_c2s=is_c2s)


def require_known(code: str, field: str) -> None:
    """Raise `Refused` unless there is such a grouping code, in whichever place."""
    with in_words():
        current().codes.row(code, field)


def known(given: Sequence[str], field: str) -> Code:
    """Return the row of the first grouping code among codes of other lists too; raise `Refused`."""
    rows = {row.code: row for row in current().codes.codes}
    found = next((rows[code] for code in given if code in rows), None)
    if found is not None:
        return found
    with in_words():
        return current().codes.row(given[0], field)


def lenses(codes: Codes, field: str = "codes") -> dict[str, Code]:
    """Return the lenses that are claimed by side, "right" and "left"; raise `Refused`."""
    with in_words():
        return current().codes.lenses(codes, field)


def category(codes: Codes) -> str | None:
    """Return the category a to f of the equipment; None for one lens alone.

    It follows from the two codes: no dioptre is needed to know the ceiling.
    """
    found = current().categories.category(row.kind for row in lenses(codes).values())
    return None if found is None else found.name


def most_of(codes: Codes, lenses_cents: int, frame_cents: int | None) -> int | None:
    """Return how much of what parts cost both insurances may bear; None where nothing says so.

    That is so for one lens of class B, and for lenses of two classes whose prices are not told
    apart. It binds responsible contracts. Raises `Refused`.
    """
    rows = list(lenses(codes).values())
    if len({row.class_ for row in rows}) != 1:
        return None
    tables = current()
    with in_words():
        frame = tables.codes.frame(codes)
        most = bearable(
            tables.categories,
            tables.categories.category(row.kind for row in rows),
            (element_of(rows[0], lenses_cents),),  # of one class, they are limited together
            None if frame is None else element_of(frame, frame_cents or 0),
        )
    return None if most is None else most.together


def as_day(text: str, field: str) -> Day:
    """Return the day that a person typed; raise `Refused`."""
    return parse_day(as_date(text, field))


@contextmanager
def in_words() -> Iterator[None]:
    """Turn what the nomenclature objects to into `Refused`, said for a person."""
    try:
        yield
    except Objected as objected:
        raise Refused(objected.field, reason_of(objected), hint=hint_of(objected)) from None


def reason_of(objected: Objected) -> str:
    """Return what is wrong, with what was typed where that is fit to be shown."""
    return _REASONS[objected.objection](*objected.evidence)


def hint_of(objected: Objected) -> str:
    """Return what to do about it; nothing where the reason says it."""
    match objected.objection:
        case Objection.NO_LENS:
            return "give the code of the right lens, of the left, or both"
        case Objection.CODE_UNKNOWN:
            meant = str(objected.evidence[0]).upper().replace("O", "0")
            if any(row.code == meant for row in current().codes.codes):
                return f"did you mean {meant}? Codes are in capitals, with the digit zero"
        case Objection.CODE_CLOSED:
            pass
        case Objection.CODE_UNVERIFIED:
            return "a person must verify it and the members must adopt a table that holds it"
        case Objection.ANCHOR_ABSENT:
            return "the date of the last glasses that periods are counted from"
        case _:
            return ""
    name = current().codes.name
    return f"the codes of the table {name} are V01 to V04, VU1 to VU7 and so on: depoli codes show"


def _unknown(code: str | int) -> str:
    text = str(code)
    shown = f"{text[:_SHOWN]} " if text.isascii() and text.isalnum() else ""
    return f"{shown}is no grouping code of optics"


_REASONS: Final[dict[Objection, Callable[..., str]]] = {
    Objection.NO_LENS: lambda: "there is no lens",
    Objection.CODE_UNKNOWN: _unknown,
    Objection.CODE_CLOSED: lambda code, day: f"the grouping code {code} was closed on {day}",
    Objection.CODE_ELSEWHERE: lambda code: f"{code} is not for glasses, or of another scheme",
    Objection.CODE_UNVERIFIED: lambda code: f"{code} is newer than this table, and not verified",
    Objection.CODE_MISPLACED: lambda code, found, wanted, label: (
        f"{code} is a {found}, not a {wanted}: {label}"
    ),
    Objection.SUPPLEMENTS_TOO_MANY: lambda most: f"more than {most}",
    Objection.SUPPLEMENT_REPEATED: lambda code, most, count: (
        f"{code} stands {count} times, at most {most} may"
    ),
    Objection.LENS_CLASS_ABSENT: lambda code, class_: (
        f"{code} goes with a lens of class {class_}, and there is none"
    ),
    Objection.FRAME_ABSENT: lambda code, frame, found: (
        f"{code} goes with the frame {frame}, not {found or 'without'}"
    ),
    Objection.WEARER_TOO_OLD: lambda code, age: f"{code} is for wearers below {age} years",
    Objection.CODE_NOT_OF_C2S: lambda code: (
        f"the complementary solidarity scheme (C2S) has no code {code}"
    ),
    Objection.AGE_OUT_OF_RANGE: lambda most: f"must be whole years, 0 to {most}",
    Objection.AMOUNT_OUT_OF_RANGE: lambda most: f"must be cents, 0 to {most}",
    Objection.CLAUSE_NOT_ONE: lambda count: f"{count} clauses of the table speak of it",
    Objection.ANCHOR_ABSENT: lambda: "is missing",
    Objection.DATE_BEFORE: lambda: "is before the day that it must follow",
}
