"""`depoli settlement`: pay accepted claims together, and confirm what was paid."""

from collections.abc import Awaitable, Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import click

from contracts.calls import Direction, Ground
from node.cli.output import Verbs, emit, fields, json_option, moment, table
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
from node.client.client import CallOutcome, NodeClient, SettlementView
from node.client.decisions import require_applied
from node.client.errors import NotVerified, Refused
from node.client.records import SettlementRecord
from node.client.screening import require_none
from node.client.settling import Order, Settlements
from node.client.statements import REFERENCE, SETTLEMENT, Statement, parse_statement
from node.errors import Usage

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
_GROUNDS = {ground.name.lower().replace("_", "-"): ground for ground in Ground}


@click.group(cls=Verbs)
def settlement() -> None:
    """Settle a batch of accepted claims, and confirm it."""


def _on(command: F) -> F:
    """Give a command the settlement that it is about, and what every command has."""
    wraps: tuple[Callable[[F], F], ...] = (
        click.pass_context,  # type: ignore[assignment] # innermost: it hands the context on
        json_option,
        at_home,
        click.argument("name", metavar="SETTLEMENT"),
    )
    return reduce(lambda wrapped, wrap: wrap(wrapped), wraps, command)


_claims = click.option(
    "--claims", "claims", multiple=True, help="Id of a claim; give it again for more."
)
_all = click.option("--all", "take_all", is_flag=True, help="Every claim that can be settled.")
_payment = click.option(
    "--payment", help="Reference of the payment: a salted commitment to it goes on the chain."
)
_output = click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="New file for the beneficiary: what opens the sum.",
)


@settlement.command()
@click.option("--beneficiary", required=True, help="Label or id of the member that is paid.")
@_claims
@_all
@_payment
@click.option("--repayment", is_flag=True, help="Pay reversed claims back, to whom paid them.")
@click.option("--leave-open", is_flag=True, help="Do not announce it yet.")
@click.option(
    "--output",
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
    payment: str | None,
    output: Path | None,
    *,
    take_all: bool,
    repayment: bool,
    leave_open: bool,
) -> None:
    """Settle claims of one member together; no total stands on the chain.

    Interrupted, it is run again: it goes on with the settlement that it began.
    """
    if (output is None) != leave_open:
        raise Usage("give --output FILE for what opens the sum, or --leave-open")
    order = Order(
        person.members.find(beneficiary).id,
        Direction.REPAYMENT if repayment else Direction.PAYMENT,
        _listed(claims, take_all=take_all),
        _reference(payment),
        not leave_open,
    )

    async def go(ours: Settlements) -> SettlementRecord:
        return await ours.create(order)

    _build(context, person, go, output)


@settlement.command()
@_claims
@_all
@wait_option
@_on
def add(
    context: click.Context, person: Person, name: str, claims: Sequence[str], *, take_all: bool
) -> None:
    """Put more claims into SETTLEMENT, which is open."""
    listed = _listed(claims, take_all=take_all)
    _build(context, person, lambda ours: ours.add(parse_id(name), listed), None)


@settlement.command()
@_claims
@wait_option
@_on
def remove(context: click.Context, person: Person, name: str, claims: Sequence[str]) -> None:
    """Take claims out of SETTLEMENT, which is open."""
    listed = _listed(claims, take_all=False) or ()
    _build(context, person, lambda ours: ours.remove(parse_id(name), listed), None)


@settlement.command()
@_payment
@_output
@wait_option
@_on
def announce(
    context: click.Context, person: Person, name: str, payment: str | None, output: Path
) -> None:
    """Seal SETTLEMENT, and write what opens its sum."""
    reference = _reference(payment)
    _build(context, person, lambda ours: ours.announce(parse_id(name), reference), output)


@settlement.command()
@_output
@_on
def statement(context: click.Context, person: Person, name: str, output: Path) -> None:
    """Write what opens the sum of SETTLEMENT once more, until it is closed."""
    _require_new(output)

    async def go(ours: Settlements, _node: NodeClient) -> Statement:
        return _write(person, ours, parse_id(name), output)

    told = _with(person, go)
    result = {"settlement": name, "cents": told.opening.amount, "file": str(output)}
    emit(context, result, lambda: f"wrote {output}: {euros(told.opening.amount)}")


@settlement.command()
@click.argument("file", metavar="STATEMENT", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--sum-only", is_flag=True, help="Check the sum alone, where this vault lacks claims in it."
)
@wait_option
@at_home
@json_option
@click.pass_context
def confirm(context: click.Context, person: Person, file: Path, *, sum_only: bool) -> None:
    """Confirm the settlement that STATEMENT opens, once it holds against the chain.

    Its sum must be that of the claims in it as this vault knows their amounts.
    """
    plain = sealing.unseal(read_input(file), file.name, person.sealing_seed)
    told = parse_statement(plain, file.name)
    if told.format != SETTLEMENT:
        raise Usage(f"{file.name} is of one claim; depoli disclosure verify reads it")
    if told.beneficiary != person.home.member:
        raise NotVerified("beneficiary", "this statement is for another member, not for you")

    async def go(ours: Settlements, _node: NodeClient) -> None:
        require_applied(await ours.confirm(told, sum_only=sum_only))

    _with(person, go)
    result = {
        "settlement": told.id.hex(),
        "payer": person.members.label_of(told.payer),
        "cents": told.opening.amount,
        "payment": None if told.payment is None else told.payment.reference,
        "state": "confirmed",
    }
    shown = {name: value for name, value in result.items() if value is not None}
    emit(context, result, lambda: f"{fields(shown)}\nconfirmed: {euros(told.opening.amount)}")


@settlement.command()
@click.option("--ground", required=True, help="Why, of a closed list; a wrong one prints it.")
@wait_option
@_on
def dispute(context: click.Context, person: Person, name: str, ground: str) -> None:
    """Dispute SETTLEMENT, which was announced to you."""
    found = _GROUNDS.get(ground.lower())
    if found is None:
        raise Usage(f"a ground is one of: {', '.join(_GROUNDS)}")
    _decide(context, person, name, lambda ours: ours.dispute(parse_id(name), found))


@settlement.command()
@wait_option
@_on
def withdraw(context: click.Context, person: Person, name: str) -> None:
    """Take the dispute of SETTLEMENT back; then confirm it, or dispute it anew."""
    _decide(context, person, name, lambda ours: ours.withdraw(parse_id(name)))


@settlement.command()
@wait_option
@_on
def insist(context: click.Context, person: Person, name: str) -> None:
    """Answer a dispute: SETTLEMENT stands as announced."""
    _decide(context, person, name, lambda ours: ours.insist(parse_id(name)))


@settlement.command()
@wait_option
@_on
def cancel(context: click.Context, person: Person, name: str) -> None:
    """Give SETTLEMENT up; its claims can be settled anew."""
    _decide(context, person, name, lambda ours: ours.cancel(parse_id(name)))


@settlement.command()
@_on
def show(context: click.Context, person: Person, name: str) -> None:
    """Show SETTLEMENT as it stands on the chain, and its total if you know it."""
    id_ = parse_id(name)

    async def go(ours: Settlements, node: NodeClient) -> dict[str, Any]:
        view = await node.settlement(id_)
        claims = [each.id async for each in node.settlement_claims(id_)]
        return _shown(person, view, ours.known(view)) | {"claims": claims}

    result = _with(person, go)
    emit(context, result, lambda: fields(_human(result | {"claims": None})))


@settlement.command("list")
@click.option("--state", help="Only those in this state.")
@at_home
@json_option
@click.pass_context
def list_(context: click.Context, person: Person, state: str | None) -> None:
    """List the settlements that you pay or are paid, the oldest first."""

    async def go(ours: Settlements, node: NodeClient) -> list[dict[str, Any]]:
        return [_shown(person, view, ours.known(view)) async for view in node.settlements(state)]

    result = _with(person, go)
    headings = (
        "settlement",
        "state",
        "direction",
        "payer",
        "beneficiary",
        "claims",
        "total",
        "due",
    )
    rows = [
        (
            *(each[name] for name in headings[:5]),
            each["count"],
            euros(each["cents"]),
            None if each["due"] is None else moment(each["due"]),
        )
        for each in result
    ]
    emit(context, result, lambda: table(headings, rows))


def _with(person: Person, doing: Callable[[Settlements, NodeClient], Awaitable[T]]) -> T:
    with person.vault() as vault:

        async def go() -> T:
            async with person.node() as node:
                return await doing(person.settlements(vault, node), node)

        return run(go())


def _build(
    context: click.Context,
    person: Person,
    doing: Callable[[Settlements], Awaitable[SettlementRecord]],
    output: Path | None,
) -> None:
    """Let the payer take a step, write the statement where it is announced, and say so."""
    if output is not None:
        _require_new(output)

    async def go(ours: Settlements, _node: NodeClient) -> SettlementRecord:
        record = await doing(ours)
        if output is not None:
            _write(person, ours, record.id, output)
        return record

    record = _with(person, go)
    label = person.members.label_of(record.counterpart)
    result = {
        "settlement": record.id.hex(),
        "beneficiary": label,
        "claims": record.count,
        "cents": record.cents,
        "file": None if output is None else str(output),
    }
    last = (
        f"open: depoli settlement announce {record.id.hex()} --output FILE seals it"
        if output is None
        else f"hand {output} to {label}: {euros(record.cents)}"
    )
    emit(context, result, lambda: f"{fields(_human(result))}\n{last}")


def _write(person: Person, ours: Settlements, id_: bytes, output: Path) -> Statement:
    told = ours.statement(id_)
    beneficiary = person.members.find(told.beneficiary.hex())
    write_private(output, sealing.seal(told.to_json(), beneficiary))
    ours.told(id_)
    return told


def _decide(
    context: click.Context,
    person: Person,
    name: str,
    doing: Callable[[Settlements], Awaitable[CallOutcome]],
) -> None:
    async def go(ours: Settlements, node: NodeClient) -> dict[str, Any]:
        require_applied(await doing(ours))
        view = await node.settlement(parse_id(name))
        return _shown(person, view, ours.known(view))

    result = _with(person, go)
    emit(context, result, lambda: fields(_human(result)))


def _shown(person: Person, view: SettlementView, record: SettlementRecord | None) -> dict[str, Any]:
    return {
        "settlement": view.id,
        "state": view.state,
        "direction": view.direction,
        "payer": person.members.label_of(bytes.fromhex(view.payer)),
        "beneficiary": person.members.label_of(bytes.fromhex(view.beneficiary)),
        "count": view.count,
        "cents": None if record is None else record.cents,
        "payment": None if record is None else record.reference,
        "ground": view.ground,
        "due": view.due,
        "height": view.height,
        "transaction": view.transaction,
        "position": view.position,
    }


def _human(result: dict[str, Any]) -> dict[str, Any]:
    shown = dict(result)
    if "count" in shown:
        shown["claims"] = shown.pop("count")
    shown["total"] = euros(shown.pop("cents"))
    if shown.get("due") is not None:
        shown["due"] = moment(shown["due"])
    return {name: value for name, value in shown.items() if value is not None}


def _listed(claims: Sequence[str], *, take_all: bool) -> tuple[bytes, ...] | None:
    if bool(claims) == take_all:
        raise Usage("give --claims ID, once for each, or --all")
    ids = tuple(parse_id(text) for item in claims for text in item.split(","))
    return None if take_all else ids


def _reference(payment: str | None) -> str | None:
    if payment is None:
        return None
    require_none(payment, "payment")
    if not REFERENCE.fullmatch(payment):
        raise Refused("payment", "1 to 35 letters, digits and /-?:().,'+ as banks hand on")
    return payment


def _require_new(output: Path) -> None:
    if output.exists():
        raise Usage(f"{output} exists and is not overwritten", hint="name another file")
    if not output.parent.is_dir():
        raise Usage(f"there is no folder {output.parent}", hint="make it, or name another file")
