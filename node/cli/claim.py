"""`depoli claim`: one claim at a time, from the shop that makes it or the payer that decides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from contracts.calls import Leg, Reason
from node.cli.deeds import VERBS
from node.cli.given import the_claim
from node.cli.handing import hand_over, require_way
from node.cli.output import Verbs, emit, fields, json_option, note, table
from node.cli.person import (
    Person,
    at_home,
    claim_id,
    euros,
    parse_id,
    read_input,
    run,
    wait_option,
)
from node.client import inbox, lots
from node.client.client import CallOutcome, ClaimView
from node.client.disclosing import letter_of_statement
from node.client.records import ClaimRecord, Progress, every, find
from node.client.refusals import refusal, told
from node.errors import Usage

_ON_CHAIN = frozenset((Progress.SUBMITTED, Progress.COMMITTED, Progress.CANCELLED, Progress.ENDED))


_FILES = {"check": "node.cli.given", "export": "node.cli.exporting"}


@click.group(cls=Verbs, elsewhere=_FILES)
def claim() -> None:
    """Submit, decide, dispute, reverse and show claims."""


for _verb in VERBS:
    claim.add_command(_verb)


@claim.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@wait_option
@at_home
@json_option
@click.pass_context
def submit(context: click.Context, person: Person, file: Path) -> None:
    """Submit the claim in FILE: prescription, grouping codes, amounts.

    FILE is of our own format, a FHIR Claim or Bundle, or a table of one row (CSV). It leaves at
    once, and so tells when: depoli lot queue tells a window only. Everything is judged before
    anything leaves. Run again after a failure, it goes on.
    """
    request = the_claim(file)
    with person.vault() as vault:
        sender = person.sender
        with vault.changes():
            lots.prepare(vault, sender, request, person.members.id_of)
        for doubt in lots.doubts_of(vault, request):
            note(f"look again: {doubt}")

        async def go() -> list[ClaimRecord]:
            async with person.node() as node:
                return await lots.submit(
                    vault, node, sender, [request.reference], wait_s=person.wait_s, say=note
                )

        (record,) = run(go())
    result = own_view(record, person)
    shown = {key: value for key, value in result.items() if value is not None}
    after = f"\nshow the payer what it may see: depoli disclosure send {record.reference}"
    is_there = record.progress is Progress.COMMITTED
    emit(context, result, lambda: fields(shown) + (after if is_there else ""))
    if not is_there:
        raise told(str(record.refusal), str(record.refusal_text), record.reference)


@claim.command()
@click.argument("name", metavar="CLAIM")
@at_home
@json_option
@click.pass_context
def show(context: click.Context, person: Person, name: str) -> None:
    """Show CLAIM, named by its id or your reference: what you know, and what the chain says."""
    with person.vault() as vault:
        found = find(vault, ClaimRecord, name)
        if found is not None and found[1].progress not in _ON_CHAIN:
            result = own_view(found[1], person) | {"chain": None}
            emit(context, result, lambda: _human(result))
            return
        id_ = claim_id(vault, name)
        own = own_view(found[1], person) if found else inbox.known(vault, id_)

    async def ask() -> ClaimView:
        async with person.node() as node:
            return await node.claim(id_)

    result = own | {"chain": _chain_view(run(ask()), person)}
    emit(context, result, lambda: _human(result))


@claim.command("list")
@click.option("--state", help="Only those of this state, such as submitted or accepted.")
@at_home
@json_option
@click.pass_context
def list_(context: click.Context, person: Person, state: str | None) -> None:
    """List the claims on the chain that concern you, and those in the vault that are not there."""

    async def ask() -> list[ClaimView]:
        async with person.node() as node:
            return [view async for view in node.claims(state)]

    views = run(ask())
    with person.vault() as vault:
        references = {}
        waiting = []
        for _, record in every(vault, ClaimRecord):
            if record.claim is not None:
                references[record.claim.hex()] = record.reference
            if record.progress is not Progress.COMMITTED and state is None:
                waiting.append(own_view(record, person))
    result = [{"reference": references.get(view.id)} | _chain_view(view, person) for view in views]
    rows = [
        (item["reference"], item["state"], item["submitter"], item["payer"], item["id"])
        for item in result
    ]
    rows += [(w["reference"], w["progress"], person.home.label, w["payer"], None) for w in waiting]
    headings = ("reference", "state", "submitter", "payer", "id")
    emit(context, {"claims": result, "unsent": waiting}, lambda: table(headings, rows))


@claim.command()
@click.argument("claims", nargs=-1, required=True, metavar="CLAIM...")
@click.option(
    "--disclosure",
    "disclosures",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="What the shop handed over of it; verified first. Not needed if it was verified before.",
)
@click.option(
    "--amount", type=click.IntRange(min=0), help="Accept only so many cents of one claim."
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="New file for the shop: what --amount opens. Left out, the shop is told by post.",
)
@wait_option
@at_home
@json_option
@click.pass_context
def accept(
    context: click.Context,
    person: Person,
    claims: Sequence[str],
    disclosures: Sequence[Path],
    amount: int | None,
    output: Path | None,
) -> None:
    """Accept CLAIMs whose disclosures hold against the chain."""
    ids = [parse_id(text) for text in claims]
    if amount is not None and len(ids) != 1:
        raise Usage("--amount is for one claim", hint="depoli claim accept CLAIM --amount 4200")
    with person.vault() as vault:

        async def go() -> list[CallOutcome]:
            async with person.node() as node:
                for path in disclosures:
                    await inbox.take(
                        vault,
                        node,
                        person.reader,
                        read_input(path),
                        path.name,
                    )
                office = person.office(vault, node)
                if amount is not None:
                    shop = bytes.fromhex((await node.claim(ids[0])).submitter)
                    await require_way(person, vault, node, shop, output)
                outcomes = await office.accept(ids, amount)
                if amount is not None and outcomes[0].code == 0:
                    letter = letter_of_statement(office.acceptance(ids[0]), inbox.ACCEPTED)
                    note(await hand_over(person, vault, node, letter, output))
                return outcomes

        _tell(context, ids, run(go()), "accepted")


@claim.command()
@click.argument("claims", nargs=-1, required=True, metavar="CLAIM...")
@click.option("--reason", required=True, help="One of the closed list, such as rights-closed.")
@click.option("--automatic", is_flag=True, help="A machine decided, and no person looked.")
@wait_option
@at_home
@json_option
@click.pass_context
def reject(
    context: click.Context, person: Person, claims: Sequence[str], reason: str, *, automatic: bool
) -> None:
    """Reject CLAIMs for a reason of the closed list."""
    ids = [parse_id(text) for text in claims]
    why = parse_reason(reason)
    with person.vault() as vault:

        async def go() -> list[CallOutcome]:
            async with person.node() as node:
                return await person.office(vault, node).reject(ids, why, automatic=automatic)

        _tell(context, ids, run(go()), "rejected")


@claim.command()
@click.argument("name", metavar="CLAIM")
@wait_option
@at_home
@json_option
@click.pass_context
def cancel(context: click.Context, person: Person, name: str) -> None:
    """Take CLAIM back, named by its id or your reference; its marks are free again."""
    with person.vault() as vault:
        id_ = claim_id(vault, name)

        async def go() -> list[CallOutcome]:
            async with person.node() as node:
                return [await person.office(vault, node).cancel(id_)]

        _tell(context, [id_], run(go()), "cancelled")


def own_view(record: ClaimRecord, person: Person) -> dict[str, Any]:
    """Return what our vault knows of a claim, as it is shown."""
    return {
        "reference": record.reference,
        "progress": record.progress.value,
        "payer": person.members.label_of(record.payer),
        "leg": Leg(record.leg).name.lower(),
        "amount_cents": record.amount_cents,
        "claim": None if record.claim is None else record.claim.hex(),
        "transaction": None if record.transaction is None else record.transaction.hex(),
        "position": record.position,
        "height": record.height,
        "refusal": record.refusal,
        "refusal_text": record.refusal_text,
    }


def _chain_view(view: ClaimView, person: Person) -> dict[str, Any]:
    return {
        "id": view.id,
        "state": view.state,
        "submitter": person.members.label_of(bytes.fromhex(view.submitter)),
        "payer": person.members.label_of(bytes.fromhex(view.payer)),
        "leg": view.leg,
        "reason": view.reason,
        "accepted_in_part": view.accepted_amount is not None,
        "settlement": view.settlement,
        "height": view.height,
        "time": view.time,
        "transaction": view.transaction,
        "position": view.position,
        "commitments": {
            "prescription": view.prescription,
            "document": view.document,
            "amount": view.amount,
            "accepted_amount": view.accepted_amount,
        },
    }


def _human(result: dict[str, Any]) -> str:
    chain = result.get("chain") or {}
    shown = {name: value for name, value in result.items() if name != "chain"}
    if "amount_cents" in shown:
        shown["amount"] = euros(shown.pop("amount_cents"))
    shown |= {
        f"chain: {name}": value for name, value in chain.items() if not isinstance(value, dict)
    }
    return fields({name: value for name, value in shown.items() if value is not None})


def _tell(
    context: click.Context, ids: Sequence[bytes], outcomes: Sequence[CallOutcome], done: str
) -> None:
    """Print what became of each, and end as refused if any was."""
    result = [
        {"claim": id_.hex(), "outcome": done if outcome.code == 0 else outcome.name}
        for id_, outcome in zip(ids, outcomes, strict=True)
    ]
    rows = [tuple(item.values()) for item in result]
    emit(context, result, lambda: table(("claim", "outcome"), rows))
    for id_, outcome in zip(ids, outcomes, strict=True):
        if outcome.code:
            raise refusal(outcome, id_.hex() if len(ids) > 1 else "")


def parse_reason(text: str) -> Reason:
    """Return the reason that a person typed; raise `Usage` with the closed list."""
    try:
        return Reason[text.upper().replace("-", "_")]
    except KeyError:
        known = ", ".join(reason.name.lower().replace("_", "-") for reason in Reason)
        raise Usage(f"{text[:40]} is no reason", hint=f"reasons: {known}") from None
