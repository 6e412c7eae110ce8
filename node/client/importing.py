"""What a shop's software writes, whatever its form, as claims and prescriptions: told by content.

A file is one document of our own format, a FHIR resource or bundle, or a table (CSV) with a row for
each. Every entry is judged, so that a bad one hides neither the others nor its own other faults.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeVar

from node.client import fhir_claims, sheets
from node.client.errors import ManyRefused, NotReadable, Refused
from node.client.faults import faults_of
from node.client.parts import Part
from node.client.reading import MAX_FILE_BYTES, parse_object
from node.client.references import Resources
from node.client.request import (
    ClaimRequest,
    HandedPrescription,
    authorisation_of,
    claim_of,
    handed_of,
)

MAX_IMPORT_BYTES: Final = 4 << 20  # a thousand claims, with all that FHIR says beside them
# What people hand over by mistake, told by its first bytes.
_OTHERS: Final = (
    (b"PK\x03\x04", "a workbook or an archive", "save the sheet as CSV, and give that"),
    (b"\xd0\xcf\x11\xe0", "a workbook of an old Excel", "save the sheet as CSV, and give that"),
    (b"%PDF", "a PDF", "export the data themselves: JSON or CSV"),
    (b"\x1f\x8b", "compressed", "unpack it first"),
    (b"<", "XML", "have your software write FHIR as JSON"),
    (b"[", "a list of JSON", "give one document, or a FHIR Bundle of them"),
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """One claim or prescription of a file, or why it is refused: exactly one is None."""

    place: str  # the file, and where in it
    found: T | None
    fault: Refused | None
    left_out: tuple[str, ...] = ()  # names of what did not enter


def read_entries(
    data: bytes, name: str, *, today: str, agreements: bool = False, replacing: bool = False
) -> list[Entry[ClaimRequest]]:
    """Return every claim of a file, or request for a prior agreement; raise `NotReadable`.

    `name` is the file's. Of two with one reference the second is refused; so are claims that are to
    take the place of an earlier one, but where `replacing`.
    """

    def parse(document: dict[str, Any]) -> ClaimRequest:
        of = authorisation_of if agreements else claim_of
        return of(document, today=today)

    parts: Iterable[Part]
    if _is_json(data, name):
        document = parse_object(data, name, limit=MAX_IMPORT_BYTES)
        parts = _claims(document, name, len(data), agreements=agreements, replacing=replacing)
    else:
        parts = sheets.read_claims(data, name, agreements=agreements)
    entries = [_judge(part, parse, lambda request: request.left_out) for part in parts]
    return _require_apart(_require_some(entries, name), lambda request: request.reference)


def read_prescriptions(data: bytes, name: str, *, today: str) -> list[Entry[HandedPrescription]]:
    """Return every prescription of a file; raise `NotReadable`."""

    def parse(document: dict[str, Any]) -> HandedPrescription:
        return handed_of(document, today=today)

    parts: Iterable[Part]
    if _is_json(data, name):
        document = parse_object(data, name, limit=MAX_IMPORT_BYTES)
        parts = _prescriptions(document, name, len(data))
    else:
        parts = sheets.read_prescriptions(data, name)
    entries = [_judge(part, parse, lambda handed: handed.prescription.left_out) for part in parts]
    return _require_apart(_require_some(entries, name), lambda handed: handed.reference)


def read_requests(data: bytes, name: str, *, today: str) -> list[ClaimRequest]:
    """Return every claim of a file; raise `NotReadable`, or `Refused` with all faults of all."""
    return whole(read_entries(data, name, today=today))


def whole(entries: Sequence[Entry[T]]) -> list[T]:
    """Return what was found; raise `Refused` with all faults, each with its place, if any is."""
    many = len(entries) > 1
    faults = [
        placed(entry.place, fault) if many else fault
        for entry in entries
        for fault in _faults(entry)
    ]
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise ManyRefused(faults)
    return [entry.found for entry in entries if entry.found is not None]


def only(entries: Sequence[Entry[T]], name: str) -> Entry[T]:
    """Return the entry of a file that holds one; raise `NotReadable`, or `Refused` if it is bad."""
    if len(entries) > 1:
        raise NotReadable(
            f"{name} holds {len(entries)} documents, where one is wanted",
            hint="depoli lot submit takes many claims, depoli prescription import prescriptions",
        )
    whole(entries)
    return entries[0]


def placed(place: str, fault: Refused) -> Refused:
    """Return a fault that says where it is."""
    return Refused(f"{place}, {fault.field}", fault.reason, hint=fault.hint)


def _faults(entry: Entry[T]) -> tuple[Refused, ...]:
    return () if entry.fault is None else faults_of(entry.fault)


def _judge(
    part: Part,
    parse: Callable[[dict[str, Any]], T],
    left_of: Callable[[T], tuple[str, ...]],
) -> Entry[T]:
    try:
        found = part.judge(parse)
    except Refused as refused:
        return Entry(part.place, None, refused, part.left_out)
    left = (*part.left_out, *left_of(found))
    return Entry(part.place, found, None, tuple(dict.fromkeys(left)))


def _is_json(data: bytes, name: str) -> bool:
    """Return whether a file is JSON, and otherwise a table; raise `NotReadable` for others."""
    if len(data) > MAX_IMPORT_BYTES:
        raise NotReadable(f"{name} is longer than {MAX_IMPORT_BYTES} bytes: split it")
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start:
        raise NotReadable(f"{name} is empty")
    for mark, what, hint in _OTHERS:
        if start.startswith(mark):
            raise NotReadable(f"{name} is {what}, and is not read here", hint=hint)
    return start.startswith(b"{")


def _claims(
    document: dict[str, Any], name: str, size: int, *, agreements: bool, replacing: bool
) -> Iterable[Part]:
    if "resourceType" not in document:
        return [_own(document, name, size)]
    return fhir_claims.claim_parts(
        Resources(document, name), name, agreements=agreements, replacing=replacing
    )


def _own(document: dict[str, Any], name: str, size: int) -> Part:
    """Return a document of our own format, which is never as long as a bundle may be."""
    if size > MAX_FILE_BYTES:
        raise NotReadable(f"{name} is longer than {MAX_FILE_BYTES} bytes")
    return Part(name, document)


def _prescriptions(document: dict[str, Any], name: str, size: int) -> Iterable[Part]:
    if "resourceType" not in document:
        return [_own(document, name, size)]
    return fhir_claims.prescription_parts(Resources(document, name), name)


def _require_some(entries: list[Entry[T]], name: str) -> list[Entry[T]]:
    if not entries:
        raise NotReadable(
            f"{name} holds none: no claim where one is wanted, no prescription where that is",
            hint="depoli prescription import takes prescriptions, depoli claim submit claims",
        )
    return entries


def _require_apart(
    entries: list[Entry[T]], reference_of: Callable[[T], str | None]
) -> list[Entry[T]]:
    """Return the entries, refused where another one of the file has the same reference."""
    places: dict[str, str] = {}
    result = []
    for entry in entries:
        reference = None if entry.found is None else reference_of(entry.found)
        if reference is not None and reference in places:
            why = f"{reference} stands twice, first in {places[reference]}"
            entry = replace(entry, found=None, fault=Refused("reference", why))  # noqa: PLW2901
        elif reference is not None:
            places[reference] = entry.place
        result.append(entry)
    return result
