"""`depoli receipt`: the proof that an entry is on the chain, for whoever asks later."""

from enum import IntEnum
from pathlib import Path
from typing import Any

import click
import msgspec

from contracts.calls import parse_call
from contracts.errors import Refusal
from ledger.receipt import MAX_JSON_LENGTH, Receipt, parse_json
from node import files
from node.cli.home import MAX_GENESIS_BYTES
from node.cli.output import Verbs, emit, fields, json_option
from node.cli.person import Person, at_home, claim_id, parse_id, run
from node.client.errors import NotFound
from node.client.members import Members, parse_members
from node.errors import Usage, VerificationFailed


@click.group(cls=Verbs)
def receipt() -> None:
    """Export and verify the proof that an entry is on the chain."""


@receipt.command()
@click.argument("name", metavar="CLAIM", required=False)
@click.option("--transaction", help="Id of a transaction, for the receipt of another call.")
@click.option("--position", type=click.IntRange(0, 255), default=0, help="Number of the call.")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="New file to write.")
@at_home
@json_option
@click.pass_context
def export(
    context: click.Context,
    person: Person,
    name: str | None,
    transaction: str | None,
    position: int,
    output: Path,
) -> None:
    """Write the receipt of CLAIM (its id or your reference), verified before it is written."""
    if (name is None) == (transaction is None):
        raise Usage("name a claim, or give --transaction ID")
    with person.vault() as vault:
        id_ = claim_id(vault, name) if name is not None else None

    async def ask() -> bytes:
        async with person.node() as node:
            if transaction is not None:
                return await node.receipt(parse_id(transaction), position)
            assert id_ is not None  # one of the two was given
            view = await node.claim(id_)
            if view.transaction is None or view.position is None:
                raise NotFound("the node does not say which transaction made this claim")
            return await node.receipt(bytes.fromhex(view.transaction), view.position)

    text = run(ask())
    result = _verify(text, person.members)
    files.create(output, text)
    emit(context, result | {"file": str(output)}, lambda: f"{_human(result)}\nwrote {output}")


@receipt.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--genesis",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The genesis document that you hold; not one that came with the receipt.",
)
@json_option
@click.pass_context
def verify(context: click.Context, file: Path, genesis: Path) -> None:
    """Verify the receipt in FILE, with nothing but the genesis document."""
    text = files.read_public(file, limit=MAX_JSON_LENGTH, hint="name a receipt that is there")
    document = files.read_public(genesis, limit=MAX_GENESIS_BYTES, hint="name the genesis document")
    result = _verify(text, parse_members(document))
    emit(context, result, lambda: f"{_human(result)}\nverified")


def _verify(text: bytes, members: Members) -> dict[str, Any]:
    """Return what a receipt proves; raise `VerificationFailed` or `LedgerError`."""
    try:
        found: Receipt = parse_json(text.decode())
    except UnicodeDecodeError:
        raise VerificationFailed("the receipt is not text in UTF-8") from None
    found.verify(members.genesis.chain_id, members.genesis.validator_set)
    entry = found.entry
    call = parse_call(entry.call)
    outcome = "applied" if entry.outcome.code == 0 else Refusal(entry.outcome.code).name
    return {
        "call": type(call).__name__,
        "outcome": outcome,
        "sender": members.label_of(entry.sender),
        "height": entry.height,
        "time": entry.time,
        "transaction": entry.transaction.hex(),
        "position": entry.position,
        "entry": found.log_index,
        "log_size": found.header.log_size,
        "header": found.header.hash.hex(),
        "fields": {name: _plain(getattr(call, name)) for name in msgspec.structs.asdict(call)},
    }


def _human(result: dict[str, Any]) -> str:
    call = {f"call: {name}": value for name, value in result["fields"].items()}
    shown = {name: value for name, value in result.items() if name != "fields"} | call
    return fields({name: value for name, value in shown.items() if value is not None})


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, msgspec.Struct):
        return {name: _plain(item) for name, item in msgspec.structs.asdict(value).items()}
    if isinstance(value, IntEnum):
        return value.name.lower()
    return value.hex() if isinstance(value, bytes) else value
