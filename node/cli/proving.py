"""The proofs that a node is asked for, each verified before it is written."""

from pathlib import Path
from typing import Any

import click

from ledger import consistency as consistencies
from ledger import history as histories
from ledger.encoding import U63_MAX
from ledger.receipt import parse_json
from ledger.validators import EVERYONE
from node import files
from node.cli.output import emit, json_option
from node.cli.person import Person, at_home, claim_id, parse_id, run
from node.cli.proof import shown
from node.cli.proof import told as described
from node.cli.receipt import proved, told
from node.client.errors import NotFound
from node.errors import Usage, VerificationFailed

_output = click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="New file to write."
)


@click.command()
@click.argument("name", metavar="CLAIM", required=False)
@click.option("--transaction", help="Id of a transaction, for the receipt of another call.")
@click.option("--position", type=click.IntRange(0, 255), default=0, help="Number of the call.")
@_output
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
    result = proved(parse_json(_decoded(text)), person.members)
    files.create(output, text)
    emit(context, result | {"file": str(output)}, lambda: f"{told(result)}\nwrote {output}")


@click.command()
@click.argument("first", metavar="FROM", type=click.IntRange(1, U63_MAX))
@click.argument("last", metavar="[TO]", type=click.IntRange(1, U63_MAX), required=False)
@_output
@at_home
@json_option
@click.pass_context
def consistency(
    context: click.Context, person: Person, first: int, last: int | None, output: Path
) -> None:
    """Write the proof that the log of block FROM begins that of block TO, or of the last one."""

    async def ask() -> bytes:
        async with person.node() as node:
            return await node.consistency(first, last)

    text = run(ask())
    found = consistencies.parse_json(_decoded(text))
    result = shown(found, person.members)
    _require("height of the first block", first, found.first.header.height)
    _require("height of the second block", last, found.second.header.height)
    _write(context, output, text, result)


@click.command()
@click.option("--member", "name", help="Label or id of a member, where the token may; else ours.")
@click.option(
    "--from", "first", type=click.IntRange(0, U63_MAX), default=0, help="Above this block."
)
@click.option(
    "--to", "last", type=click.IntRange(1, U63_MAX), help="Up to this block, or the last."
)
@_output
@at_home
@json_option
@click.pass_context
def history(
    context: click.Context,
    person: Person,
    name: str | None,
    first: int,
    last: int | None,
    output: Path,
) -> None:
    """Write all entries that concern a member between two blocks, and proof that it is all."""
    member = person.home.member
    if name is not None:
        member = EVERYONE if name == "*" else person.members.id_of(name)

    async def ask() -> bytes:
        async with person.node() as node:
            return await node.history(member, first, last)

    text = run(ask())
    found = histories.parse_json(_decoded(text))
    result = shown(found, person.members)
    _require("member", member.hex(), found.member.hex())
    start = 0 if found.start is None else found.start.header.height
    _require("height of the beginning", first, start)
    _require("height of the end", last, found.end.header.height)
    _write(context, output, text, result)


def _require(field: str, asked: object, answered: object) -> None:
    """Raise `VerificationFailed` where a node proves something else than it was asked."""
    if asked is not None and asked != answered:
        raise VerificationFailed(
            f"the node answers something else: {field} {answered}, asked was {asked}"
        )


def _write(context: click.Context, output: Path, text: bytes, result: dict[str, Any]) -> None:
    files.create(output, text)
    result = {name: value for name, value in result.items() if name != "list"}
    result["file"] = str(output)
    emit(context, result, lambda: f"{described(result, with_list=False)}")


def _decoded(answer: bytes) -> str:
    try:
        return answer.decode()
    except UnicodeDecodeError:
        raise VerificationFailed("what the node answers is not text in UTF-8") from None
