"""`depoli inbox export` and `depoli settlement reconcile`: what accountants ask for."""

import contextlib
import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from node import files
from node.cli.output import emit, json_option, note, table
from node.cli.person import Person, at_home, euros, run
from node.client import accounts
from node.client.accounts import Row
from node.client.reconciling import (
    MAX_BANK_BYTES,
    Columns,
    Found,
    Match,
    parse_bank,
    tally,
)
from node.client.reconciling import (
    reconcile as compare,
)
from node.client.records import SettlementRecord, every
from node.errors import Exit, Usage

_WRITERS: Final = {"csv": accounts.write_csv, "parquet": accounts.write_parquet}
_EVERY: Final = 10_000  # rows between two words on how far it is


@click.command()
@click.option(
    "--format", "form", type=click.Choice(tuple(_WRITERS)), default="csv", show_default=True
)
@click.option(
    "--from", "first", required=True, metavar="DAY", help="First day, such as 2026-11-01."
)
@click.option("--to", "last", required=True, metavar="DAY", help="Last day, which is in it.")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="New file.")
@at_home
@json_option
@click.pass_context
def export(
    context: click.Context, person: Person, form: str, first: str, last: str, output: Path
) -> None:
    """Write what was decided between two days, as CSV or Parquet for the accounts."""
    days = _day(first), _day(last)
    if days[0] > days[1]:
        raise Usage(f"{last} is before {first}")
    with person.vault() as vault, _new(output) as file:
        found = _counted(accounts.rows(vault, *days, person.members.label_of))
        count = _WRITERS[form](found, file)
    result = {"file": str(output), "format": form, "from": first, "to": last, "claims": count}
    emit(context, result, lambda: f"wrote {output}: {count} claims")


@click.command()
@click.argument("file", metavar="BANK.csv", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--date", default="date", show_default=True, help="Column with the day.")
@click.option("--amount", default="amount", show_default=True, help="Column with what was paid.")
@click.option(
    "--reference", default="reference", show_default=True, help="Column with its reference."
)
@click.option("--prefix", default="", help="Look only at lines whose reference begins so.")
@at_home
@json_option
@click.pass_context
def reconcile(
    context: click.Context,
    person: Person,
    file: Path,
    date: str,
    amount: str,
    reference: str,
    prefix: str,
) -> None:
    """Hold what we settled against the bank's file; end with code 1 where something is amiss."""
    data = files.read_public(file, limit=MAX_BANK_BYTES + 1, hint="")
    lines = parse_bank(data, file.name, Columns(date, amount, reference))

    async def states() -> dict[str, str]:
        async with person.node() as node:
            return {view.id: view.state async for view in node.settlements()}

    known = run(states())
    with person.vault() as vault:
        ours = [
            (record, known.get(record.id.hex(), "cancelled"))
            for _, record in every(vault, SettlementRecord)
            if record.is_ours and known.get(record.id.hex()) != "open"
        ]
    found = compare(ours, lines, prefix=prefix)
    counts = tally(found)
    amiss = len(found) - counts[Match.MATCHED]
    rows = [
        (
            each.match.value,
            each.reference,
            euros(each.settled_cents),
            ", ".join(str(euros(line.cents)) for line in each.lines) or None,
            ", ".join(str(line.number) for line in each.lines) or None,
            None if each.settlement is None else each.settlement.hex(),
        )
        for each in found
    ]
    heads = ("", "reference", "settled", "paid", "line", "settlement")
    result = {"counts": counts, "settlements": [_shown(each) for each in found]}
    emit(context, result, lambda: table(heads, rows))
    if amiss:
        note(f"{amiss} of {len(found)} do not match")
        context.exit(Exit.FAILED)


def _shown(each: Found) -> dict[str, Any]:
    return {
        "match": each.match.value,
        "reference": each.reference,
        "settlement": None if each.settlement is None else each.settlement.hex(),
        "settled_cents": each.settled_cents,
        "lines": [
            {"line": line.number, "date": line.date, "cents": line.cents} for line in each.lines
        ],
    }


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise Usage(f"{text[:40]} is no day", hint="write it as 2026-11-30") from None


def _counted(found: Iterator[Row]) -> Iterator[Row]:
    for number, row in enumerate(found, 1):
        if number % _EVERY == 0:
            note(f"{number} claims")
        yield row


@contextlib.contextmanager
def _new(path: Path) -> Iterator[BinaryIO]:
    """Give a new file that only we read; where something fails nothing is left of it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise files.AlreadyThere(path) from None
    try:
        with files.naming(path), os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
