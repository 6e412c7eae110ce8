"""The proofs that a node is asked for, each verified before it is written."""

from pathlib import Path

import click

from ledger.receipt import parse_json
from node import files
from node.cli.output import emit, json_option
from node.cli.person import Person, at_home, claim_id, parse_id, run
from node.cli.receipt import proved, told
from node.client.errors import NotFound
from node.errors import Usage, VerificationFailed


@click.command()
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
    result = proved(parse_json(_decoded(text)), person.members)
    files.create(output, text)
    emit(context, result | {"file": str(output)}, lambda: f"{told(result)}\nwrote {output}")


def _decoded(answer: bytes) -> str:
    try:
        return answer.decode()
    except UnicodeDecodeError:
        raise VerificationFailed("what the node answers is not text in UTF-8") from None
