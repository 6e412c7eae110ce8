"""`depoli claim check`, and what a shop's software wrote, read for every command that takes it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from node.cli.output import emit, json_option, note, table
from node.cli.person import euros, read_input, today
from node.client import importing
from node.client.doubts import doubts
from node.client.errors import ClientError, Refused
from node.client.faults import faults_of
from node.client.importing import MAX_IMPORT_BYTES, Entry
from node.client.request import ClaimRequest, HandedPrescription
from node.errors import NodeError

T = TypeVar("T")
FILES: Final = click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False)
)


@click.command()
@FILES
@click.option("--authorisation", is_flag=True, help="They are requests for prior agreements.")
@json_option
@click.pass_context
def check(context: click.Context, files: Sequence[Path], *, authorisation: bool) -> None:
    """Judge the claims in FILEs, of any form; nothing is kept or sent.

    Says all that is wrong, and what only looks wrong. Needs no home, no vault and no node.
    """

    def read(path: Path) -> list[Entry[ClaimRequest]]:
        return importing.read_entries(
            read_given(path), path.name, today=today(), agreements=authorisation
        )

    def shown(request: ClaimRequest) -> dict[str, Any]:
        held = request.prescribed
        return {
            "reference": request.reference,
            "payer": request.payer,
            "amount_cents": request.amount_cents,
            "doubts": [] if held is None else doubts(request, held.prescription),
        }

    report(context, files, read, shown)


def read_given(path: Path) -> bytes:
    """Return the bytes of a file that may hold many documents."""
    return read_input(path, limit=MAX_IMPORT_BYTES)


def the_claim(path: Path, *, agreements: bool = False, replacing: bool = False) -> ClaimRequest:
    """Return the only claim of a file, or request for a prior agreement; say what is left out."""
    entries = importing.read_entries(
        read_given(path), path.name, today=today(), agreements=agreements, replacing=replacing
    )
    return _only(entries, path)


def the_prescription(path: Path) -> HandedPrescription:
    """Return the only prescription of a file; say what is left out."""
    return _only(read_prescriptions(path), path)


def _only(entries: Sequence[Entry[T]], path: Path) -> T:
    entry = importing.only(entries, path.name)
    tell_left_out(entry)
    assert entry.found is not None  # `only` raises otherwise
    return entry.found


def read_prescriptions(path: Path) -> list[Entry[HandedPrescription]]:
    """Return the prescriptions of a file, each judged."""
    return importing.read_prescriptions(read_given(path), path.name, today=today())


def tell_left_out(entry: Entry[T]) -> None:
    """Say which fields of a document do not enter."""
    if entry.left_out:
        note(f"{entry.place}: left out, and not kept: {', '.join(entry.left_out)}")


def report(
    context: click.Context,
    files: Sequence[Path],
    read: Callable[[Path], list[Entry[T]]],
    show: Callable[[T], dict[str, Any]],
) -> None:
    """Print what each entry is, or what is wrong with it; end as refused if any is."""
    rows: list[dict[str, Any]] = []
    for path in files:
        try:
            entries = read(path)
        except (ClientError, NodeError) as error:
            rows.append({"place": path.name, "faults": [str(error)]})
            continue
        for entry in entries:
            faults = [] if entry.fault is None else [str(each) for each in faults_of(entry.fault)]
            row: dict[str, Any] = {"place": entry.place, "faults": faults}
            if entry.found is not None:
                row |= show(entry.found)
            rows.append(row | {"left_out": list(entry.left_out)})
    emit(context, rows, lambda: "\n".join(_lines(rows)))
    if bad := sum(bool(row["faults"]) for row in rows):
        raise Refused("check", f"{bad} of {len(rows)} are refused; what is wrong stands above")


def _lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    held = [
        (row["place"], row.get("reference"), row.get("payer"), euros(row.get("amount_cents")))
        for row in rows
        if not row["faults"]
    ]
    lines = [table(("holds", "reference", "payer", "amount"), held)] if held else []
    for row in rows:
        lines += [f"{row['place']}: {fault}" for fault in row["faults"]]
        lines += [f"{row['place']}: look again: {doubt}" for doubt in row.get("doubts", ())]
    return lines
