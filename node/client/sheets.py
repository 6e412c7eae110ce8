"""A table of claims, or of prescriptions, as shops' programs export it: CSV, a row for each.

UTF-8, UTF-16 with its mark, or what Windows writes in France (cp1252); `;`, `,` or tab between
cells; decimal commas; days as JJ/MM/AAAA. Amounts are euros. Columns in any order
(`node.client.headings`); those that are not known are left out, and said to be.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from node.client import cells, headings, screening
from node.client.errors import NotReadable, Refused, SocialSecurityNumber
from node.client.faults import Faults
from node.client.parts import Part
from node.client.request import AUTHORISATION_FORMAT, FORMAT, PRESCRIPTION_FORMAT

MAX_ROWS: Final = 5_000
MAX_COLUMNS: Final = 200
MAX_CELL: Final = 1_000  # characters
_DELIMITERS: Final = ";,\t"
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
_EXCEL_MARK: Final = re.compile(r"sep=([;,\t])\r?\n")  # a line that Excel writes for itself
_SIDES: Final = ("right", "left")
# How our formats name what stands in the columns.
_LENS_FIELDS: Final = {
    f"{side}_{what}": f"{side} eye, {what}"
    for side in _SIDES
    for what in ("sphere", "cylinder", "axis", "add")
} | {
    f"{side}_{what}": f"{side} eye, prism 1, {name}"
    for side in _SIDES
    for what, name in (("prism", "amount"), ("base", "base"))
}
_PRESCRIBED: Final = {
    "written": "prescription.dateWritten",
    "prescriber": "prescription.prescriber.identifier.value",
    **_LENS_FIELDS,
}
_SHARED: Final = {
    "prescription": "prescription_reference",
    "agreement": "authorisation_reference",
    "right_code": "codes.right",
    "left_code": "codes.left",
    "frame": "codes.frame",
    "supplements": "codes.supplements",
    "lenses_amount": "amounts.lenses",
    "frame_amount": "amounts.frame",
    **_PRESCRIBED,
}
T = TypeVar("T")
_CLAIMED: Final = ("reference", "payer", "leg", "insured", "authorisation")


def read_claims(data: bytes, name: str, *, agreements: bool = False) -> Iterator[Part]:
    """Yield each row as a claim, or a request for a prior agreement; raise `NotReadable`."""
    key, date = ("authorisation", "quote_date") if agreements else ("claim", "invoice_date")
    names = _SHARED | {each: f"{key}.{each}" for each in _CLAIMED} | {"date": f"{key}.{date}"}
    table = _Table(data, name)
    table.require(("reference", "payer", "leg", "date"))
    for row in table.rows(names):
        document = row.prescribed() | {
            "format": AUTHORISATION_FORMAT if agreements else FORMAT,
            key: row.claimed(date),
        }
        yield table.part(row, document)


def read_prescriptions(data: bytes, name: str) -> Iterator[Part]:
    """Yield each row as a prescription with the shop's reference; raise `NotReadable`."""
    table = _Table(data, name)
    table.require(("prescription", "written", "prescriber"))
    for row in table.rows(_PRESCRIBED | {"prescription": "reference"}):
        found = row.prescribed()
        document = {
            "format": PRESCRIPTION_FORMAT,
            "reference": found.get("prescription_reference"),
            "prescription": found.get("prescription"),
        }
        yield table.part(row, document)


def decode(data: bytes, name: str) -> str:
    """Return the text of a table in whichever of the usual encodings; raise `NotReadable`."""
    try:
        text = data.decode("utf-16" if data.startswith(_UTF16) else "utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    if "\0" in text:
        raise NotReadable(f"{name} is neither JSON nor a table of text")
    return text


class _Row:
    """The cells of one row, by what stands in them."""

    def __init__(self, number: int, values: Mapping[str, str], names: Mapping[str, str]) -> None:
        self.number = number
        self.faults = Faults()
        self._values = values
        self.names = names

    def claimed(self, date: str) -> dict[str, Any]:
        """Return what stands under "claim" in our format."""
        codes = {
            "right": self._text("right_code", cells.as_name),
            "left": self._text("left_code", cells.as_name),
            "frame": self._text("frame", cells.as_name),
            "supplements": cells.as_codes(self._values.get("supplements", "")),
        }
        amounts = {"lenses": self._lenses(), "frame": self._read("frame_amount", cells.as_cents)}
        found = {
            "reference": self._text("reference", cells.as_name),
            "payer": self._text("payer", str.strip),
            "leg": self._read("leg", cells.as_leg),
            "codes": codes,
            "amounts": {part: cents for part, cents in amounts.items() if cents is not None},
            date: self._read("date", cells.as_day),
            "insured": self._text("insured", cells.as_name),
            "authorisation": self._text("authorisation", cells.as_name),
        }
        return {name: value for name, value in found.items() if value is not None}

    def prescribed(self) -> dict[str, Any]:
        """Return the prescription and the references, those that there are."""
        found = {
            "prescription_reference": self._text("prescription", cells.as_name),
            "authorisation_reference": self._text("agreement", cells.as_name),
            "prescription": self._resource(),
        }
        return {name: value for name, value in found.items() if value is not None}

    def _resource(self) -> dict[str, Any] | None:
        if not any(self._values.get(each) for each in _PRESCRIBED):
            return None
        lenses = [lens for side in _SIDES if (lens := self._lens(side))]
        return {
            "resourceType": "VisionPrescription",
            "status": "active",
            "dateWritten": self._read("written", cells.as_day),
            "prescriber": {"identifier": {"value": self._text("prescriber", cells.as_number)}},
            "lensSpecification": lenses,
        }

    def _lens(self, side: str) -> dict[str, Any] | None:
        if not any(self._values.get(each) for each in _LENS_FIELDS if each.startswith(side)):
            return None
        found = {
            what: self._read(f"{side}_{what}", cells.as_dioptres)
            for what in ("sphere", "cylinder", "add")
        }
        axis = self._read(f"{side}_axis", cells.as_degrees)
        if axis == 0 and not self._values.get(f"{side}_cylinder"):
            axis = None  # how some programs write that there is none
        if found["add"] == 0:
            found["add"] = None
        product = {"coding": [{"code": "lens"}]}
        lens: dict[str, Any] = {"product": product, "eye": side, "axis": axis, **found}
        amount = self._read(f"{side}_prism", cells.as_dioptres)
        if amount or self._values.get(f"{side}_base"):
            base = self._read(f"{side}_base", cells.as_base)
            lens["prism"] = [{"amount": amount, "base": base}]
        return lens

    def _lenses(self) -> int | None:
        """Return what the lenses cost: one amount for both, or one for each."""
        together = self._read("lenses_amount", cells.as_cents)
        each = [self._read(f"{side}_amount", cells.as_cents) for side in _SIDES]
        if together is None:
            return sum(cents or 0 for cents in each) if each != [None, None] else None
        if any(cents is not None for cents in each):
            why = "the lenses have an amount for both, and amounts for each"
            self.faults.add(Refused("amounts.lenses", why, hint="fill the one or the others"))
        return together

    def _text(self, what: str, parse: Callable[[str], str]) -> str | None:
        return parse(self._values[what]) if self._values.get(what) else None

    def _read(self, what: str, parse: Callable[[str, str], T]) -> T | None:
        text = self._values.get(what)
        if not text:
            return None
        return self.faults.take(None, parse, text, self.names.get(what, what))


class _Table:
    """The rows of a file."""

    def __init__(self, data: bytes, name: str) -> None:
        self._name = name
        text = decode(data, name)
        mark = _EXCEL_MARK.match(text)
        self._before = 1 if mark else 0  # rows above the first that is read
        body = text[mark.end() :] if mark else text
        first = body.partition("\n")[0]
        delimiter = mark[1] if mark else max(_DELIMITERS, key=first.count)
        self._reader = csv.reader(io.StringIO(body, newline=""), delimiter=delimiter, strict=True)
        heads = self._next() or []
        if len(heads) > MAX_COLUMNS:
            raise NotReadable(f"{name} has {len(heads)} columns, at most {MAX_COLUMNS} are read")
        self._heads = heads
        self._whats = [headings.FIELDS.get(headings.plain(head)) for head in heads]
        known = [what for what in self._whats if what is not None]
        if not known:
            raise NotReadable(
                f"{name} is neither JSON nor a table with columns that are known here",
                hint="docs/shop.md lists the columns, such as: N° facture; Payeur; Date facture",
            )
        for what in known:
            if known.count(what) > 1:
                where = headings.shown(heads[self._whats.index(what)])
                raise NotReadable(f"{name} has two columns for one thing, the first is {where}")

    def require(self, whats: Sequence[str]) -> None:
        """Raise `NotReadable` naming every column that is missing of those that must be there."""
        missing = [f'"{headings.EXAMPLES[what]}"' for what in whats if what not in self._whats]
        if missing:
            raise NotReadable(
                f"{self._name} has no column {', and none '.join(missing)}",
                hint="docs/shop.md lists how each column may be called",
            )

    def rows(self, names: Mapping[str, str]) -> Iterator[_Row]:
        """Yield each row that holds something; raise `NotReadable` before any is judged."""
        held: list[tuple[int, list[str]]] = []
        number = 1 + self._before
        while (row := self._next()) is not None:
            number += 1
            if not any(cell.strip() for cell in row):
                continue
            if len(held) == MAX_ROWS:
                raise NotReadable(f"{self._name} has more than {MAX_ROWS} rows: split it")
            if any(cell.strip() for cell in row[len(self._heads) :]):
                raise NotReadable(
                    f"{self._name}, row {number}: there are more cells than headings",
                    hint="a cell that holds the sign between cells stands in quotation marks",
                )
            held.append((number, row))
        for number, row in held:
            yield self._row(number, row, names)

    def part(self, row: _Row, document: dict[str, Any]) -> Part:
        """Return a row as a part of the file."""
        columns = {
            name: headings.shown(head)
            for head, what in zip(self._heads, self._whats, strict=True)
            if what is not None and (name := row.names.get(what)) is not None
        }
        left_out = tuple(
            headings.shown(head)
            for head, what in zip(self._heads, self._whats, strict=True)
            if what is None and head.strip()
        )
        place = f"{self._name}, row {row.number}"
        return Part(place, document, tuple(row.faults.found), columns, left_out)

    def _row(self, number: int, cells_: Sequence[str], names: Mapping[str, str]) -> _Row:
        """Return a row; whether a cell holds what must not enter is judged before all else."""
        values = {}
        faults = []
        for head, what, cell in zip(self._heads, self._whats, cells_, strict=False):
            if len(cell) > MAX_CELL:
                faults.append(Refused(headings.shown(head), f"has more than {MAX_CELL} characters"))
            elif what is None and headings.is_of_a_person(head):
                continue
            elif screening.holds_number(cell):
                faults.append(SocialSecurityNumber(headings.shown(head)))
            elif what is not None:
                values[what] = cell.strip()
        row = _Row(number, values, names)
        for fault in faults:
            row.faults.add(fault)
        return row

    def _next(self) -> list[str] | None:
        try:
            return next(self._reader, None)
        except csv.Error as error:
            where = f"{self._name}, line {self._reader.line_num + self._before}"
            raise NotReadable(f"{where}: not a table: {error}") from None
