"""`depoli receipt`: the proof that an entry is on the chain, for whoever asks later."""

import sys
from enum import IntEnum
from pathlib import Path
from typing import Any

import click
import msgspec

from contracts.calls import parse_call
from contracts.errors import Refusal
from contracts.genesis_json import MAX_BYTES
from ledger.errors import Malformed, OtherVoters
from ledger.plain import load_json, parse_plain
from ledger.receipt import MAX_JSON_LENGTH, Change, Receipt, parse_json
from ledger.short_receipt import PREFIX, parse_text
from node import files
from node.cli.output import Verbs, emit, fields, json_option
from node.client.members import Members, parse_members
from node.errors import Usage, VerificationFailed

FILE = click.Path(path_type=Path, dir_okay=False)
genesis_option = click.option(
    "--genesis",
    required=True,
    type=FILE,
    help="The genesis document that you hold; not one that came with the file.",
)


@click.group(
    cls=Verbs,
    elsewhere={
        "export": "node.cli.proving",
        "print": "node.cli.printing",
        "qr": "node.cli.qr",
    },
)
def receipt() -> None:
    """Export and verify the proof that an entry is on the chain."""


@receipt.command()
@click.argument(
    "file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True), metavar="FILE"
)
@genesis_option
@click.option(
    "--changes",
    type=FILE,
    help="A later receipt or proof of the chain, for a short form from after validators changed.",
)
@json_option
@click.pass_context
def verify(context: click.Context, file: Path, genesis: Path, changes: Path | None) -> None:
    """Verify the receipt in FILE, with nothing but the genesis document.

    FILE is the JSON file, or the text that was read from a QR code; - is standard input.
    """
    members = load_members(genesis)
    text = read_text(file, "receipt")
    if text.lstrip().startswith(PREFIX):
        known = () if changes is None else parse_changes(read_text(changes, "file with --changes"))
        found = _expanded(text, members, known)
    elif changes is not None:
        raise Usage(f"a receipt in JSON has its changes itself: leave out --changes {changes}")
    else:
        found = parse_json(text)
    result = proved(found, members)
    emit(context, result, lambda: f"{told(result)}\nverified")


def load_members(genesis: Path) -> Members:
    """Return the members in the genesis document, which is verified; raise `BadGenesis`."""
    hint = "name the genesis document"
    return parse_members(files.read_public(genesis, limit=MAX_BYTES, hint=hint))


def read_text(file: Path, what: str) -> str:
    """Return the text in a file, - being standard input; raise as `read_public`."""
    if str(file) == "-":
        content = sys.stdin.buffer.read(MAX_JSON_LENGTH + 1)  # what is too long is refused as such
    else:
        content = files.read_public(
            file, limit=MAX_JSON_LENGTH, hint=f"name a {what} that is there"
        )
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise VerificationFailed(f"the {what} is not text in UTF-8") from None


def parse_changes(text: str) -> tuple[Change, ...]:
    """Return the changes of validators in any document of the chain; raise `Malformed`."""
    found = load_json(text, kind="file", max_length=MAX_JSON_LENGTH)
    changes = found.get("changes") if isinstance(found, dict) else None
    if not isinstance(changes, list):
        raise Malformed("file", "it has no changes of validators")
    return tuple(parse_plain(each, Change) for each in changes)


def proved(found: Receipt, members: Members) -> dict[str, Any]:
    """Return what a receipt proves; raise `VerificationFailed` or `LedgerError`."""
    found.verify(members.genesis.chain_id, members.genesis.validator_set)
    entry = found.entry
    try:
        call = parse_call(entry.call)
        outcome = "applied" if entry.outcome.code == 0 else Refusal(entry.outcome.code).name
    except (Malformed, ValueError):  # a quorum executed it, so there are rules by which it is one
        raise VerificationFailed(
            "the receipt holds, but what it is of is not known to this software:"
            f" it is of version {found.header.version} of the rules",
            hint="install a newer release",
        ) from None
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


def told(result: dict[str, Any]) -> str:
    """Return what is proved, for people."""
    call = {f"call: {name}": value for name, value in result["fields"].items()}
    shown = {name: value for name, value in result.items() if name != "fields"} | call
    return fields({name: value for name, value in shown.items() if value is not None})


def _expanded(text: str, members: Members, changes: tuple[Change, ...]) -> Receipt:
    short, genesis = parse_text(text), members.genesis
    try:
        return short.expand(genesis.chain_id, genesis.validator_set, changes)
    except OtherVoters as error:
        raise VerificationFailed(
            str(error), hint="name any later receipt, proof or decided block: --changes FILE"
        ) from None


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, msgspec.Struct):
        return {name: _plain(item) for name, item in msgspec.structs.asdict(value).items()}
    if isinstance(value, IntEnum):
        return value.name.lower()
    return value.hex() if isinstance(value, bytes) else value
