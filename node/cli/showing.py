"""`depoli disclosure send` and `list`: show payers what they may see; and who saw what, when."""

import time
from collections.abc import Sequence
from typing import Any

import click

from node.cli.output import emit, json_option, moment, note, table
from node.cli.person import Person, at_home, run
from node.client import disclosing, lots
from node.client.client import NodeClient
from node.client.deliveries import NoSealingKey
from node.client.disclosing import Shown
from node.client.errors import Undecided
from node.client.post import Post
from node.client.records import AuthorisationRecord, ClaimRecord, Way
from node.client.vault import Vault
from node.errors import Usage

_MANY = 50  # letters that are sealed and kept in one go; so often it is said how far it is

_STATES = (*(each.value for each in Way), "taken")  # the last of what came


@click.command()
@click.argument("claims", nargs=-1, metavar="[CLAIM...]")
@click.option(
    "--all", "is_all", is_flag=True, help="All that stand on the chain and were not shown yet."
)
@click.option(
    "--authorisation", is_flag=True, help="They are prior agreements that you ask for, not claims."
)
@at_home
@json_option
@click.pass_context
def send(
    context: click.Context,
    person: Person,
    claims: Sequence[str],
    *,
    is_all: bool,
    authorisation: bool,
) -> None:
    """Show each CLAIM to its payer by post: sealed, and sent until the payer signed for it.

    Run again, it sends again and shows nothing twice.
    """
    if bool(claims) == is_all:
        raise Usage("name claims, or give --all")
    type_ = AuthorisationRecord if authorisation else ClaimRecord
    result: list[dict[str, Any]] = []
    without: dict[bytes, NoSealingKey] = {}

    async def go(vault: Vault, node: NodeClient) -> None:
        if is_all:
            records = list(disclosing.unshown(vault, type_))
        else:
            records = [lots.load(vault, name, type_)[1] for name in claims]
        post = person.post(vault, node)
        without.update(await _without_key(post, records))
        result.extend(_left(record, person) for record in records if record.payer in without)
        records = [record for record in records if record.payer not in without]
        for start in range(0, len(records), _MANY):
            part = records[start : start + _MANY]
            letters = [disclosing.letter_of(vault, each, now=int(time.time())) for each in part]
            sent = await post.send(letters)
            result.extend(
                {
                    "reference": record.reference,
                    "claim": record.claim.hex() if record.claim is not None else None,
                    "payer": person.members.label_of(record.payer),
                    "state": delivery.state.value,
                    "envelope": delivery.id.hex(),
                    "tries": delivery.attempts,
                    "reason": delivery.reason,
                }
                for record, delivery in zip(part, sent, strict=True)
            )
            if len(records) > _MANY:
                note(f"{len(result)} of {len(records)}")

    with person.vault() as vault:

        async def with_node() -> None:
            async with person.node() as node:
                await go(vault, node)

        run(with_node())
    headings = ("reference", "payer", "state", "reason")
    rows = [[item[name] for name in headings] for item in result]
    emit(context, result, lambda: table(headings, rows) if rows else "nothing is left to be shown")
    for error in without.values():
        raise error
    _require_sent(result)


async def _without_key(post: Post, records: Sequence[ClaimRecord]) -> dict[bytes, NoSealingKey]:
    """Return which payers cannot be written to, each with why; raise it where we cannot be."""
    found = {}
    for payer in {record.payer for record in records}:
        try:
            await post.require_key(payer)
        except NoSealingKey as error:
            if error.is_ours:
                raise
            found[payer] = error
    return found


def _left(record: ClaimRecord, person: Person) -> dict[str, Any]:
    """Return the line of a claim whose payer cannot be written to."""
    return {
        "reference": record.reference,
        "claim": record.claim.hex() if record.claim is not None else None,
        "payer": person.members.label_of(record.payer),
        "state": "not sent",
        "envelope": None,
        "tries": 0,
        "reason": "the payer has no sealing key",
    }


def _require_sent(result: Sequence[dict[str, Any]]) -> None:
    """Raise `Undecided` where something did not get to our node, or was not taken there."""
    kept = [item for item in result if item["state"] == Way.WAITING.value and not item["tries"]]
    if kept:
        raise Undecided(
            f"{len(kept)} of {len(result)} are kept, and our node has not got them yet",
            hint="depoli post run sends them as soon as the node is there",
        )


@click.command("list")
@click.option("--claim", help="Only of this one, by its id or your reference.")
@click.option("--prescription", help="Only of claims on the prescription of this reference.")
@click.option("--member", help="Only to and from this member, by its label or id.")
@click.option("--state", type=click.Choice(_STATES), help="Only those in this state.")
@at_home
@json_option
@click.pass_context
def list_(
    context: click.Context,
    person: Person,
    claim: str | None,
    prescription: str | None,
    member: str | None,
    state: str | None,
) -> None:
    """List who was shown what and when: what you sent, what came, and whether it was signed for."""
    counterpart = None if member is None else person.members.id_of(member)
    with person.vault() as vault:
        about = _about(vault, claim, prescription)
        found = [
            shown
            for shown in disclosing.log(vault)
            if (about is None or shown.subject in about)
            and counterpart in {None, shown.counterpart}
            and state in {None, shown.state}
        ]
    result = [as_item(shown, person) for shown in found]
    headings = ("when", "", "member", "purpose", "of", "state", "reason", "acknowledged")
    rows = [
        (
            moment(shown.time),
            "to" if shown.direction == "sent" else "from",
            person.members.label_of(shown.counterpart),
            shown.purpose or "?",
            shown.reference or f"{shown.subject.hex()[:16]}…" if shown.subject else "?",
            shown.state,
            shown.reason,
            None if shown.acknowledged is None else moment(shown.acknowledged),
        )
        for shown in found
    ]
    emit(context, result, lambda: table(headings, rows) if rows else "nothing of that was shown")


def as_item(shown: Shown, person: Person) -> dict[str, Any]:
    """Return a line of the log for JSON; times are unix seconds."""
    return {
        "direction": shown.direction,
        "time": shown.time,
        "member": person.members.label_of(shown.counterpart),
        "member_id": shown.counterpart.hex(),
        "purpose": shown.purpose or None,
        "subject": shown.subject.hex() or None,
        "reference": shown.reference,
        "state": shown.state,
        "reason": shown.reason,
        "acknowledged": shown.acknowledged,
        "expires": shown.expires,
        "envelope": shown.envelope.hex(),
    }


def _about(vault: Vault, claim: str | None, prescription: str | None) -> set[bytes] | None:
    """Return the ids of what is asked for, None for everything."""
    if claim is None and prescription is None:
        return None
    wanted: set[bytes] = set()
    if claim is not None:
        wanted |= disclosing.ids_named(vault, claim)
    if prescription is not None:
        wanted |= disclosing.ids_on(vault, prescription)
    return wanted
