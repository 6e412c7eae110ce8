"""A reference table as a file: strict, bounded, with one encoding, and a source for every fact."""

from typing import Annotated, ClassVar, Final, Literal, TypeVar

import msgspec

from contracts import strict_json
from contracts.calendar import Day, parse_day
from contracts.errors import BadDay, BadTable
from contracts.nomenclature.errors import Objected, Objection
from contracts.reference import MAX_TABLE_BYTES, TableKind

FORMAT: Final = "depoli/table/1"
MAX_AGE: Final = 150  # years
MAX_CENTS: Final = 10_000_00  # more than any pair of glasses costs
_HEADER: Final = frozenset(("format", "kind", "name", "facts"))

Text = Annotated[str, msgspec.Meta(pattern=r"^[ -~]{1,300}\Z")]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,40}\Z")]
GroupingCode = Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9]{3}\Z")]
Date = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")]
Cents = Annotated[int, msgspec.Meta(ge=0, le=MAX_CENTS)]
Dioptres = Annotated[int, msgspec.Meta(ge=-100_00, le=100_00)]  # hundredths
Age = Annotated[int, msgspec.Meta(ge=0, le=MAX_AGE)]
Months = Annotated[int, msgspec.Meta(ge=0, le=1_200)]
LensClass = Literal["A", "B"]
LensKind = Literal["a", "c", "f"]  # simple, complex, very complex (R. 871-2 CSS)
Design = Literal["unifocal", "multifocal"]


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of a table; what has its default is not written."""


class Source(Row, frozen=True):
    """Where a fact comes from, and how far it may be believed.

    S: read in the primary source. S2: at second hand. M: from memory. I: inferred, the inference
    is said. U: not known, and switched off.
    """

    mark: Literal["S", "S2", "M", "I", "U"]
    source: Text


class Table(Row, frozen=True, kw_only=True):
    """The head of every table. `facts` names each field, or a part of one after a dot."""

    KIND: ClassVar[TableKind]

    format: Literal["depoli/table/1"]
    kind: Annotated[int, msgspec.Meta(ge=1)]
    name: Name
    valid_from: Date
    facts: Annotated[dict[Name, Source], msgspec.Meta(max_length=64)]

    def require_sound(self) -> None:
        """Raise `BadTable` where its parts contradict each other."""


T = TypeVar("T", bound=Table)
Aged = TypeVar("Aged", bound="FromAge")


class FromAge(Row, frozen=True, kw_only=True):
    """A row for wearers of this age and above, up to the next row."""

    from_age: Age


def parse_table(data: bytes, table: type[T]) -> T:
    """Return the table in a file's bytes; raise `BadTable`."""
    value = strict_json.parse(data, BadTable, limit=MAX_TABLE_BYTES)
    try:
        found = msgspec.convert(value, type=table, strict=True)
    except msgspec.ValidationError as error:
        raise BadTable(str(error)) from None
    if found.kind != table.KIND:
        raise BadTable(f"it is a table of kind {found.kind}, not {table.KIND.value}")
    fields = {field.encode_name for field in msgspec.structs.fields(table)} - _HEADER
    if missing := sorted(fields - found.facts.keys()):
        raise BadTable(f"no source is named for {missing[0]}")
    if beyond := sorted(fact for fact in found.facts if fact.partition(".")[0] not in fields):
        raise BadTable(f"a source is named for {beyond[0]}, which it does not hold")
    valid_from(found)
    found.require_sound()
    if encode_table(found) != data:
        raise BadTable("it is not in canonical form: names sorted, two blanks, nothing left over")
    return found


def encode_table(table: Table) -> bytes:
    """Return the file of a table, which `parse_table` reads."""
    return strict_json.canonical(msgspec.to_builtins(table))


def valid_from(table: Table) -> Day:
    """Return the first day on which a table says how things are; raise `BadTable`."""
    return require_day(table.valid_from)


def require_day(date: str) -> Day:
    """Return the day of a date in a table; raise `BadTable`."""
    try:
        return parse_day(date)
    except BadDay as error:
        raise BadTable(str(error)) from None


def require_ages(rows: tuple[Aged, ...]) -> None:
    """Raise `BadTable` unless there is exactly one row for each age."""
    ages = [row.from_age for row in rows]
    if ages != sorted(set(ages)) or ages[:1] != [0]:
        raise BadTable("rows by age begin at 0 and rise")


def row_of_age(rows: tuple[Aged, ...], age: int) -> Aged:
    """Return the row for wearers of this age, in whole years; raise `Objected`."""
    require_age(age)
    return [row for row in rows if row.from_age <= age][-1]


def require_age(age: int) -> None:
    """Raise `Objected` unless people reach this age."""
    if not 0 <= age <= MAX_AGE:
        raise Objected(Objection.AGE_OUT_OF_RANGE, "age", MAX_AGE)
