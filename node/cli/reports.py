"""`depoli audit report` and `check-report`: what an auditor signs, and what others read of it."""

import json
import time
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from ledger.errors import Malformed
from node.audit.account import account
from node.audit.errors import BadReport, FalseFact, UnknownRules
from node.audit.printed import LANGUAGES, page
from node.audit.statement import MAX_BYTES, Made, Statement, read, write
from node.cli.auditor import FILE, GENESIS, JOBS, Meter, load_genesis
from node.cli.output import emit, fields, is_json, json_option, note
from node.errors import Exit, Usage
from node.files import read_public, replace
from node.keystore import read_signer


@click.command()
@click.argument("file", type=FILE)
@GENESIS
@click.option("-o", "--output", required=True, type=FILE, help="The file of the report.")
@click.option("--html", type=FILE, help="The same for people, to be printed.")
@click.option(
    "--language", type=click.Choice(LANGUAGES), default="en", show_default=True, help="Of --html."
)
@click.option("--key", type=FILE, help="The auditor's key, as depoli keys new makes one.")
@click.option("--auditor", default="", metavar="NAME", help="Who makes the report, for people.")
@JOBS
@json_option
@click.pass_context
def report(
    context: click.Context,
    file: Path,
    genesis: Path,
    output: Path,
    html: Path | None,
    language: str,
    key: Path | None,
    auditor: str,
    jobs: int | None,
) -> int:
    """Verify the chain in FILE, and write and sign what it holds and what looks odd."""
    signer = None if key is None else read_signer(key)
    software = f"depoli {metadata.version('depoli')}"
    try:
        made = Made(auditor, int(time.time()), software)
    except Malformed as error:
        raise Usage("--auditor is no name", hint=error.reason) from None
    for path in filter(None, (output, html)):
        if not path.parent.is_dir():
            raise Usage(f"there is no folder {path.parent}", hint="make it first")
    if html is not None and html.resolve() == output.resolve():
        raise Usage("one file cannot be both", hint="give --html another name than --output")
    show = Meter("verified")
    try:
        value = account(file, load_genesis(genesis), workers=jobs, show=show)
    except (FalseFact, UnknownRules) as fact:
        show.end()
        if not is_json(context):
            raise
        emit(context, fact.to_json(), "")
        return fact.exit_code
    show.end()
    text = write(value, made, signer)
    statement = read(text)
    replace(output, text.encode())
    if html is not None:
        replace(html, page(statement, language).encode())
    if signer is None:
        note("this report is not signed: sign it with --key, or let its readers make it again")
    emit(context, _told(statement) | {"file": str(output)}, lambda: _human(statement))
    return Exit.OK


@click.command("check-report")
@click.argument("file", type=FILE)
@click.option("--signer", metavar="HEX", help="The auditor's public key, as you know it.")
@click.option("--export", type=FILE, help="The export, to make the report again.")
@click.option("--genesis", type=FILE, help="With --export: the signed genesis that you hold.")
@JOBS
@json_option
@click.pass_context
def check_report(
    context: click.Context,
    file: Path,
    signer: str | None,
    export: Path | None,
    genesis: Path | None,
    jobs: int | None,
) -> int:
    """Verify who signed the report in FILE, and with --export that it says what is so."""
    if (export is None) is not (genesis is None):
        raise Usage("name both or none", hint="--export FILE --genesis FILE")
    wanted = None if signer is None else _parse_key(signer)
    try:
        statement = _judge(file, wanted, export, genesis, jobs)
    except (BadReport, FalseFact, UnknownRules) as fault:
        if not is_json(context):
            raise
        emit(context, fault.to_json(), "")
        return fault.exit_code
    emit(context, _told(statement) | {"made_again": export is not None}, lambda: _human(statement))
    return Exit.OK


def _judge(
    file: Path, signer: bytes | None, export: Path | None, genesis: Path | None, jobs: int | None
) -> Statement:
    """Return a report that is signed as it should be, and says what is so."""
    hint = "an auditor writes it with depoli audit report"
    text = read_public(file, limit=MAX_BYTES, hint=hint).decode("utf-8", "replace")
    statement = read(text)
    if signer is not None and statement.signer != signer:
        found = "nobody" if statement.signer is None else statement.signer.hex()
        raise BadReport("signer", signer, found)
    if statement.signer is None and export is None:
        raise BadReport("signature", "an auditor's", "none")
    if export is not None and genesis is not None:
        show = Meter("verified")
        try:
            again = account(export, load_genesis(genesis), workers=jobs, show=show)
        finally:
            show.end()
        _require_same(again, statement.report, "report")
    return statement


def _require_same(expected: Any, found: Any, path: str) -> None:  # noqa: ANN401 - what JSON holds
    """Raise `BadReport` at the first value that is not as it should be."""
    if isinstance(expected, dict) and isinstance(found, dict) and expected.keys() == found.keys():
        for name in expected:
            _require_same(expected[name], found[name], f"{path}.{name}")
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for number, (one, other) in enumerate(zip(expected, found, strict=True)):
            _require_same(one, other, f"{path}[{number}]")
    elif type(expected) is not type(found) or expected != found:
        raise BadReport(path, _brief(expected), _brief(found))


def _brief(value: object) -> str:
    if isinstance(value, dict):
        return f"an object of {', '.join(map(_brief, sorted(value)))}"
    return f"a list of {len(value)}" if isinstance(value, list) else json.dumps(value)


def _parse_key(text: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) not in (32, 33):
        raise Usage(f"'{text}' is no public key", hint="64 hexadecimal digits, or 66 of P-256")
    return value


def _told(statement: Statement) -> dict[str, Any]:
    signer = None if statement.signer is None else statement.signer.hex()
    return {"signer": signer, "digest": statement.digest, "made": asdict(statement.made)}


def _human(statement: Statement) -> str:
    signer = "nobody: anybody could have written this file"
    return fields(
        {
            "signed by": signer if statement.signer is None else statement.signer.hex(),
            "made by": statement.made.auditor or "–",
            "digest": statement.digest,
        }
    )
