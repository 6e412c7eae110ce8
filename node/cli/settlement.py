"""`depoli settlement`: pay accepted claims together, and confirm what was paid."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from contracts.commitment import Opening
from ledger.encoding import decode
from node.cli.output import Verbs, emit, fields, json_option
from node.cli.person import (
    Person,
    at_home,
    euros,
    parse_id,
    read_input,
    run,
    wait_option,
    write_private,
)
from node.client import sealing
from node.client.client import ClaimView, SettlementView
from node.client.decisions import require_applied
from node.client.errors import NotVerified
from node.client.records import SettlementRecord, find
from node.client.statements import SETTLEMENT, parse_statement
from node.errors import Usage


@click.group(cls=Verbs)
def settlement() -> None:
    """Settle a batch of accepted claims, and confirm it."""


@settlement.command()
@click.option("--beneficiary", required=True, help="The shop's label or id.")
@click.option(
    "--claims", "claims", multiple=True, help="Id of an accepted claim; give it again for more."
)
@click.option("--all", "take_all", is_flag=True, help="Every accepted claim of the beneficiary.")
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="New file for the beneficiary: what opens the sum.",
)
@wait_option
@at_home
@json_option
@click.pass_context
def create(
    context: click.Context,
    person: Person,
    beneficiary: str,
    claims: Sequence[str],
    output: Path,
    *,
    take_all: bool,
) -> None:
    """Settle accepted claims of one shop together; no total stands on the chain."""
    if bool(claims) == take_all:
        raise Usage("give --claims ID, once for each, or --all")
    if output.exists():
        raise Usage(f"{output} exists and is not overwritten", hint="name another file")
    shop = person.members.find(beneficiary)
    ids = [parse_id(text) for item in claims for text in item.split(",")]
    with person.vault() as vault:

        async def go() -> SettlementRecord:
            async with person.node() as node:
                if take_all:
                    views = [
                        view
                        for state in ("accepted", "accepted_in_part")
                        async for view in node.claims(state)
                    ]
                    ids.extend(bytes.fromhex(view.id) for view in _owed(views, person, shop.id))
                office = person.office(vault, node)
                record = await office.settle(shop.id, ids)
                statement = office.settlement_statement(record.id)
                write_private(output, sealing.seal(statement.to_json(), shop))
                return record

        record = run(go())
    total = decode(record.opening, Opening).amount
    result = {
        "settlement": record.id.hex(),
        "beneficiary": shop.label,
        "claims": len(record.claims),
        "cents": total,
        "file": str(output),
    }
    emit(
        context,
        result,
        lambda: f"{fields(result)}\nhand {output} to {shop.label}: {euros(total)}",
    )


@settlement.command()
@click.argument("file", metavar="STATEMENT", type=click.Path(path_type=Path, dir_okay=False))
@wait_option
@at_home
@json_option
@click.pass_context
def confirm(context: click.Context, person: Person, file: Path) -> None:
    """Confirm the settlement that STATEMENT opens, once its sum holds against the chain."""
    plain = sealing.unseal(read_input(file), file.name, person.sealing_seed)
    statement = parse_statement(plain, file.name)
    if statement.format != SETTLEMENT:
        raise Usage(f"{file.name} is of one claim; depoli disclosure verify reads it")
    if statement.beneficiary != person.home.member:
        raise NotVerified("beneficiary", "this statement is for another member, not for you")
    with person.vault() as vault:

        async def go() -> None:
            async with person.node() as node:
                require_applied(await person.office(vault, node).confirm(statement))

        run(go())
    result = {
        "settlement": statement.id.hex(),
        "payer": person.members.label_of(statement.payer),
        "cents": statement.opening.amount,
        "state": "settled",
    }
    emit(context, result, lambda: f"{fields(result)}\nconfirmed: {euros(statement.opening.amount)}")


@settlement.command()
@click.argument("name", metavar="SETTLEMENT")
@at_home
@json_option
@click.pass_context
def show(context: click.Context, person: Person, name: str) -> None:
    """Show SETTLEMENT as it stands on the chain, and its total if you know it."""
    id_ = parse_id(name)

    async def ask() -> SettlementView:
        async with person.node() as node:
            return await node.settlement(id_)

    view = run(ask())
    with person.vault() as vault:
        found = find(vault, SettlementRecord, name)
    result: dict[str, Any] = {
        "settlement": view.id,
        "state": view.state,
        "payer": person.members.label_of(bytes.fromhex(view.payer)),
        "beneficiary": person.members.label_of(bytes.fromhex(view.beneficiary)),
        "claims": list(view.claims),
        "cents": decode(found[1].opening, Opening).amount if found else None,
        "height": view.height,
        "transaction": view.transaction,
        "position": view.position,
    }
    shown = result | {"claims": len(view.claims), "cents": None, "total": euros(result["cents"])}
    emit(context, result, lambda: fields({k: v for k, v in shown.items() if v is not None}))


def _owed(views: Sequence[ClaimView], person: Person, shop: bytes) -> list[ClaimView]:
    return [
        view
        for view in views
        if view.payer == person.home.member.hex() and view.submitter == shop.hex()
    ]
