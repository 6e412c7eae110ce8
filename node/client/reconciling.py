"""What was settled, held against what the bank paid: line by line, by the payment's reference.

A bank's file is CSV as banks write it: separated by semicolons, commas or tabs, amounts with a
comma or a point, in UTF-8 or in the older encoding of Windows. An amount that could be read in two
ways is refused with its line. Where some amounts have a minus, those were paid, and the others came
in.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from node.client.errors import NotReadable
from node.client.records import SettlementRecord

MAX_BANK_BYTES: Final = 64 << 20
MAX_FIELD: Final = 4_096
_AMOUNT: Final = re.compile(r"([+-]?)(\d{1,3}(?:[ .,' ]\d{3})+|\d{1,15})(?:[.,](\d{2}))?")
_SEPARATORS: Final = (";", "\t", ",")


class Match(StrEnum):
    """How a settlement and the bank's lines go together."""

    MATCHED = "matched"
    MISSING = "missing"  # announced, and the bank has no line of it
    DIFFERING = "differing"  # another amount
    DOUBLE = "double"  # more than one line
    CANCELLED = "cancelled"  # paid, and the settlement was given up
    UNKNOWN = "unknown"  # paid, and no settlement has this reference
    UNTIED = "untied"  # two have one reference, or it has none: which was paid nobody can tell


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the bank's file."""

    number: int
    date: str
    cents: int  # paid; below zero, what came in
    reference: str


@dataclass(frozen=True, slots=True)
class Columns:
    """What the columns of the bank's file are called."""

    date: str = "date"
    amount: str = "amount"
    reference: str = "reference"


@dataclass(frozen=True, slots=True)
class Found:
    """One settlement, or one line that none has, and how it goes."""

    match: Match
    reference: str
    settlement: bytes | None = None
    settled_cents: int | None = None
    lines: tuple[Line, ...] = ()


def parse_bank(data: bytes, name: str, columns: Columns) -> list[Line]:
    """Return the lines of a bank's file; raise `NotReadable` naming the line."""
    if len(data) > MAX_BANK_BYTES:
        raise NotReadable(f"{name} is longer than {MAX_BANK_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    heading, _, _ = text.partition("\n")
    separator = max(_SEPARATORS, key=heading.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        names = [each.strip() for each in next(reader, [])]
        at = [
            _column(names, wanted, name)
            for wanted in (columns.date, columns.amount, columns.reference)
        ]
        lines = []
        for row in reader:
            if not any(row):
                continue
            if len(row) <= max(at) or any(len(each) > MAX_FIELD for each in row):
                raise NotReadable(
                    f"{name}, line {reader.line_num}: it has other columns than the first"
                )
            date, amount, reference = (row[index].strip() for index in at)
            if amount:  # a bank writes debits and credits in two columns, one of them empty
                cents = _cents(amount, f"{name}, line {reader.line_num}")
                lines.append(Line(reader.line_num, date, cents, reference))
    except csv.Error as error:
        raise NotReadable(f"{name}, line {reader.line_num}: no CSV: {error}") from None
    if any(line.cents < 0 for line in lines):  # it signs what was paid, and not what came in
        return [replace(line, cents=-line.cents) for line in lines]
    return lines


def reconcile(
    settlements: Iterable[tuple[SettlementRecord, str]], lines: Iterable[Line], *, prefix: str = ""
) -> list[Found]:
    """Return how settlements of ours, each with its state on the chain, and lines go together.

    Lines whose reference does not begin with `prefix` are of no concern.
    """
    by_reference: dict[str, list[Line]] = {}
    for line in lines:
        if _key(line.reference).startswith(_key(prefix)):
            by_reference.setdefault(_key(line.reference), []).append(line)
    ours: dict[str, list[tuple[SettlementRecord, str]]] = {}
    found = []
    for record, state in settlements:
        if record.cents is None:
            continue  # it has no total yet
        if record.reference is not None:
            ours.setdefault(_key(record.reference), []).append((record, state))
        elif state != "cancelled":
            found.append(Found(Match.UNTIED, "", record.id, record.cents))
    for key, group in ours.items():
        paid = tuple(by_reference.pop(key, ()))
        live = [each for each in group if each[1] != "cancelled"]
        for record, state in live or group:
            if state == "cancelled" and not paid:
                continue
            match = Match.UNTIED if len(live) > 1 else _match(record, state, paid)
            reference = str(record.reference)
            found.append(Found(match, reference, record.id, record.cents, paid))
    for left in by_reference.values():
        found += [Found(Match.UNKNOWN, line.reference, lines=(line,)) for line in left]
    return found


def tally(found: Sequence[Found]) -> Mapping[str, int]:
    """Return how many there are of each."""
    return {each.value: sum(one.match is each for one in found) for each in Match}


def _match(record: SettlementRecord, state: str, paid: Sequence[Line]) -> Match:
    if not paid:
        return Match.MISSING
    if state == "cancelled":
        return Match.CANCELLED
    if len(paid) > 1:
        return Match.DOUBLE
    return Match.MATCHED if paid[0].cents == record.cents else Match.DIFFERING


def _key(reference: str) -> str:
    """Return a reference as banks leave it: capitals, and one space where there were more."""
    return " ".join(reference.split()).upper()


def _column(names: Sequence[str], wanted: str, file: str) -> int:
    if wanted not in names:
        shown = ", ".join(each[:40] for each in names[:20])
        raise NotReadable(
            f"{file} has no column {wanted}",
            hint=f"it has: {shown}; name them: --date, --amount, --reference",
        )
    return names.index(wanted)


def _cents(text: str, where: str) -> int:
    plain = text.replace("€", "").replace("EUR", "").replace(" ", " ").replace(" ", " ").strip()
    found = _AMOUNT.fullmatch(plain)
    if found is None or (found[3] is None and re.search(r"[.,]", found[2])):
        raise NotReadable(
            f"{where}: {text[:40]} is no amount that can be read in one way only",
            hint="write cents always: 1234,50 or 1,234.50",
        )
    cents = int(re.sub(r"\D", "", found[2])) * 100 + int(found[3] or 0)
    return -cents if found[1] == "-" else cents
