"""`depoli settlement`: pay accepted claims together, and confirm what was paid."""

from collections.abc import Awaitable, Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import click

from contracts.calls import Direction, Ground
from node.cli.handing import hand_over, require_way
from node.cli.output import Verbs, emit, fields, json_option, moment, table
from node.cli.person import (
    ID,
    Person,
    at_home,
    euros,
    parse_id,
    read_input,
    run,
    wait_option,
)
from node.client import inbox, sealing
from node.client.client import CallOutcome, NodeClient, SettlementView
from node.client.decisions import require_applied
from node.client.disclosing import letter_of_statement
from node.client.errors import NotVerified, Refused
from node.client.records import SettlementRecord
from node.client.screening import require_none
from node.client.settling import Order, Settlements
from node.client.statements import REFERENCE, SETTLEMENT, Statement, parse_statement
from node.client.told import statement_of
from node.client.vault import Vault
from node.errors import Usage

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
_GROUNDS = {ground.name.lower().replace("_", "-"): ground for ground in Ground}


@click.group(cls=Verbs, elsewhere={"reconcile": "node.cli.accounts"})
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
    type=click.Path(path_type=Path),
    help="New file for the beneficiary: what opens the sum. Left out, it goes by post.",
)


@settlement.command()
@click.option("--beneficiary", required=True, help="Label or id of the member that is paid.")
@_claims
@_all
@_payment
@click.option("--repayment", is_flag=True, help="Pay reversed claims back, to whom paid them.")
@click.option("--leave-open", is_flag=True, help="Do not announce it yet.")
@_output
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
    if output is not None and leave_open:
        raise Usage("--leave-open announces nothing: there is no sum to write")
    order = Order(
        person.members.find(beneficiary).id,
        Direction.REPAYMENT if repayment else Direction.PAYMENT,
        _listed(claims, take_all=take_all),
        _reference(payment),
        not leave_open,
    )

    async def go(ours: Settlements) -> SettlementRecord:
        return await ours.create(order)

    async def paid(_node: NodeClient) -> str:
        return order.beneficiary.hex()

    _build(context, person, go, output, tells=None if leave_open else paid)


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
    _build(context, person, lambda ours: ours.add(parse_id(name), listed))


@settlement.command()
@_claims
@wait_option
@_on
def remove(context: click.Context, person: Person, name: str, claims: Sequence[str]) -> None:
    """Take claims out of SETTLEMENT, which is open."""
    listed = _listed(claims, take_all=False) or ()
    _build(context, person, lambda ours: ours.remove(parse_id(name), listed))


@settlement.command()
@_payment
@_output
@wait_option
@_on
def announce(
    context: click.Context, person: Person, name: str, payment: str | None, output: Path | None
) -> None:
    """Seal SETTLEMENT, and tell the beneficiary what opens its sum."""
    reference = _reference(payment)
    doing = lambda ours: ours.announce(parse_id(name), reference)  # noqa: E731

    async def paid(node: NodeClient) -> str:
        return (await node.settlement(parse_id(name))).beneficiary

    _build(context, person, doing, output, tells=paid)


@settlement.command()
@_output
@_on
def statement(context: click.Context, person: Person, name: str, output: Path | None) -> None:
    """Tell what opens the sum of SETTLEMENT once more, until it is closed."""
    _require_new(output)

    async def go(ours: Settlements, vault: Vault, node: NodeClient) -> tuple[Statement, str]:
        return await _tell(person, ours, vault, node, parse_id(name), output)

    told, how = _with(person, go)
    result = {"settlement": name, "cents": told.opening.amount, "file": _name(output)}
    emit(context, result, lambda: f"{how}: {euros(told.opening.amount)}")


@settlement.command()
@click.argument("name", metavar="STATEMENT")
@click.option(
    "--sum-only", is_flag=True, help="Check the sum alone, where this vault lacks claims in it."
)
@wait_option
@at_home
@json_option
@click.pass_context
def confirm(context: click.Context, person: Person, name: str, *, sum_only: bool) -> None:
    """Confirm the settlement that STATEMENT opens, once it holds against the chain.

    STATEMENT is the payer's file, or the id of the settlement where it came by post. Its sum must
    be that of the claims in it as this vault knows their amounts.
    """

    async def go(ours: Settlements, vault: Vault, _node: NodeClient) -> Statement:
        told = _told(person, vault, name)
        require_applied(await ours.confirm(told, sum_only=sum_only))
        return told

    told = _with(person, go)
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

    async def go(ours: Settlements, _vault: Vault, node: NodeClient) -> dict[str, Any]:
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

    async def go(ours: Settlements, _vault: Vault, node: NodeClient) -> list[dict[str, Any]]:
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


def _with(person: Person, doing: Callable[[Settlements, Vault, NodeClient], Awaitable[T]]) -> T:
    with person.vault() as vault:

        async def go() -> T:
            async with person.node() as node:
                return await doing(person.settlements(vault, node), vault, node)

        return run(go())


def _build(
    context: click.Context,
    person: Person,
    doing: Callable[[Settlements], Awaitable[SettlementRecord]],
    output: Path | None = None,
    *,
    tells: Callable[[NodeClient], Awaitable[str]] | None = None,
) -> None:
    """Let the payer take a step, tell whom `tells` names what opens the sum, and say so."""
    _require_new(output)

    async def go(
        ours: Settlements, vault: Vault, node: NodeClient
    ) -> tuple[SettlementRecord, str | None]:
        if tells is not None:
            await require_way(person, vault, node, bytes.fromhex(await tells(node)), output)
        record = await doing(ours)
        if tells is None:
            return record, None
        return record, (await _tell(person, ours, vault, node, record.id, output))[1]

    record, how = _with(person, go)
    result = {
        "settlement": record.id.hex(),
        "beneficiary": person.members.label_of(record.counterpart),
        "claims": record.count,
        "cents": record.cents,
        "file": _name(output),
    }
    last = (
        f"open: depoli settlement announce {record.id.hex()} seals it"
        if how is None
        else f"{how}: {euros(record.cents)}"
    )
    emit(context, result, lambda: f"{fields(_human(result))}\n{last}")


def _told(person: Person, vault: Vault, name: str) -> Statement:
    """Return the statement in a file of ours, or that came by post, of this settlement."""
    path = Path(name)
    if ID.fullmatch(name) and not path.exists():
        return statement_of(vault, parse_id(name), person.home.member)
    plain = sealing.unseal(read_input(path), path.name, person.sealing_seed)
    told = parse_statement(plain, path.name)
    if told.format != SETTLEMENT:
        raise Usage(f"{path.name} is of one claim; depoli disclosure verify reads it")
    if told.beneficiary != person.home.member:
        raise NotVerified("beneficiary", "this statement is for another member, not for you")
    return told


async def _tell(
    person: Person,
    ours: Settlements,
    vault: Vault,
    node: NodeClient,
    id_: bytes,
    output: Path | None,
) -> tuple[Statement, str]:
    """Tell the beneficiary what opens the sum; return that, and how it gets there."""
    told = ours.statement(id_)
    letter = letter_of_statement(told, inbox.SETTLED)
    how = await hand_over(person, vault, node, letter, output)
    ours.told(id_)
    return told, how


def _decide(
    context: click.Context,
    person: Person,
    name: str,
    doing: Callable[[Settlements], Awaitable[CallOutcome]],
) -> None:
    async def go(ours: Settlements, _vault: Vault, node: NodeClient) -> dict[str, Any]:
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


def _name(output: Path | None) -> str | None:
    return None if output is None else str(output)


def _require_new(output: Path | None) -> None:
    if output is None:
        return
    if output.exists():
        raise Usage(f"{output} exists and is not overwritten", hint="name another file")
    if not output.parent.is_dir():
        raise Usage(f"there is no folder {output.parent}", hint="make it, or name another file")
