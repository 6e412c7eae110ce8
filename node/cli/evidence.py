"""`depoli evidence`: what convicts a validator of contradicting itself, for whoever must know."""

import asyncio
from pathlib import Path
from typing import Final

import click
import msgspec

from contracts.genesis import Genesis, SignedGenesis
from ledger.receipt import MAX_JSON_LENGTH
from node.audit import recorded
from node.audit.conviction import Verified, to_json, verify_json
from node.audit.errors import BadStream, NoEvidence
from node.audit.report import when
from node.audit.words import Deed, deed_of
from node.cli.auditor import FILE, Meter, load_genesis, read_bearer
from node.cli.output import Verbs, emit, fields, json_option, table
from node.errors import Usage
from node.files import create, read_public

_ID_DIGITS: Final = 64
_SHOWN_DIGITS: Final = 16


@click.group(cls=Verbs)
def evidence() -> None:
    """List, export and verify what convicts a validator of contradicting itself."""


_url = click.option("--node", "url", metavar="URL", help="A running node's API.")
_token = click.option("--token-file", type=FILE, help="A token that may read the whole chain.")
_export = click.option("--export", type=FILE, help="An export, which is verified on the way.")
_genesis = click.option(
    "--genesis", required=True, type=FILE, help="The signed genesis that you hold yourself."
)


@evidence.command("list")
@_url
@_token
@_export
@_genesis
@json_option
@click.pass_context
def list_(
    context: click.Context,
    url: str | None,
    token_file: Path | None,
    export: Path | None,
    genesis: Path,
) -> None:
    """Show who was convicted of what, and since which block it is on the chain."""
    shown = _listed(url, token_file, export, load_genesis(genesis))
    emit(context, {"evidence": msgspec.to_builtins(shown)}, lambda: _table(shown))


@evidence.command("export")
@click.argument("id", metavar="ID")
@_url
@_token
@_export
@_genesis
@click.option("-o", "--output", required=True, type=FILE, help="New file to write.")
@json_option
@click.pass_context
def export_(
    context: click.Context,
    id: str,  # noqa: A002 - what the person types
    url: str | None,
    token_file: Path | None,
    export: Path | None,
    genesis: Path,
    output: Path,
) -> None:
    """Write one file that convicts whoever did it, verified before it is written.

    ID may be its first digits, as many as tell it from the others.
    """
    signed = load_genesis(genesis)
    id_ = _parse_id(id, [deed.id for deed in _listed(url, token_file, export, signed)])
    if url is not None:
        text = asyncio.run(_fetch_conviction(url.rstrip("/"), read_bearer(token_file), id_))
    else:
        assert export is not None  # `_listed` demands one of the two
        meter = Meter("verified")
        text = to_json(recorded.conviction_in(export, signed, id_, show=meter), signed.genesis)
        meter.end()
    found = verify_json(text, signed.genesis)
    if found.id != id_:
        raise BadStream("it sent other evidence than was asked for")
    create(output, text.encode())
    deed = _deed(found, signed.genesis)
    result = msgspec.to_builtins(deed) | {"file": str(output)}
    emit(context, result, lambda: f"{_human(deed)}\nwrote {output}")


@evidence.command()
@click.argument("file", type=FILE)
@_genesis
@json_option
@click.pass_context
def verify(context: click.Context, file: Path, genesis: Path) -> None:
    """Verify the evidence in FILE, with nothing but the genesis document."""
    data = read_public(file, limit=MAX_JSON_LENGTH, hint="name a file of evidence that is there")
    signed = load_genesis(genesis)
    deed = _deed(verify_json(data.decode(errors="replace"), signed.genesis), signed.genesis)
    emit(context, msgspec.to_builtins(deed), lambda: f"{_human(deed)}\nverified")


def _listed(
    url: str | None, token_file: Path | None, export: Path | None, genesis: SignedGenesis
) -> list[Deed]:
    """Return what there is at a node or in an export, as both are shown."""
    if (url is None) == (export is None):
        raise Usage("name one source", hint="--node URL --token-file FILE, or --export FILE")
    if url is not None:
        return asyncio.run(_fetch_list(url.rstrip("/"), read_bearer(token_file)))
    assert export is not None  # one of the two was given
    meter = Meter("verified")
    found = recorded.evidence_in(export, genesis, show=meter)
    meter.end()
    return [deed_of(each.evidence, each.member, genesis.genesis, each.header) for each in found]


async def _fetch_list(url: str, token: str) -> list[Deed]:
    from node.audit.fetch import fetch_evidence, open_session  # noqa: PLC0415

    async with open_session(token) as session:
        return await fetch_evidence(session, url)


async def _fetch_conviction(url: str, token: str, id_: bytes) -> str:
    from node.audit.fetch import fetch_conviction, open_session  # noqa: PLC0415

    async with open_session(token) as session:
        return (await fetch_conviction(session, url, id_)).decode(errors="replace")


def _parse_id(text: str, known: list[str]) -> bytes:
    if len(text) > _ID_DIGITS or not text or set(text) - set("0123456789abcdef"):
        raise Usage(f"'{text}' is no id of evidence", hint="hexadecimal digits in lower case")
    matching = [each for each in known if each.startswith(text)]
    if len(matching) > 1:
        raise Usage(f"{len(matching)} ids begin with {text}", hint="give more digits")
    if not matching:
        raise NoEvidence(text)
    return bytes.fromhex(matching[0])


def _deed(found: Verified, genesis: Genesis) -> Deed:
    return deed_of(found.evidence, found.member, genesis, found.recorded)


def _place(deed: Deed) -> str:
    block = deed.recorded
    return "not on this chain" if block is None else f"block {block.height}, {when(block.time)}"


def _human(deed: Deed) -> str:
    shown = {"evidence": deed.id, "member": deed.member, "on the chain": _place(deed)}
    return f"{deed.says}\n{fields(shown)}"


def _table(found: list[Deed]) -> str:
    if not found:
        return "nobody was convicted of anything"
    rows = [(deed.id[:_SHOWN_DIGITS], deed.says, _place(deed)) for deed in found]
    return table(("evidence", "who did what", "on the chain"), rows)
