"""`depoli post`: send what is to be sent until it is signed for, and take what comes."""

from collections import Counter
from typing import Any

import click

from node.cli.output import Verbs, emit, is_json, json_option, note, table
from node.cli.person import Person, at_home, run
from node.cli.showing import as_item
from node.client import disclosing, rounds
from node.client.committing import Commitments
from node.client.post import Collected
from node.client.records import AccessRecord, DeliveryRecord, Way


@click.group(cls=Verbs)
def post() -> None:
    """Send what is to be sent until it is signed for, and take what comes."""


@post.command("run")
@click.option("--once", is_flag=True, help="One round: send what is due, take what lies there.")
@at_home
@json_option
@click.pass_context
def run_(context: click.Context, person: Person, *, once: bool) -> None:
    """Send, take and acknowledge post until you stop it with Ctrl-C.

    What comes is verified against the chain before it is taken; what was taken or refused is told
    to the sender, signed. It may be stopped and killed at any moment.
    """
    all_: list[dict[str, Any]] = []

    def tell(collected: Collected) -> None:
        items = [_came(each, person) for each in (*collected.taken, *collected.refused)]
        items += [_answered(each, person) for each in collected.acknowledged]
        if once and is_json(context):
            all_.extend(items)
        else:
            for item in items:
                emit(context, item, str(item["what"]))
        if collected.left:
            note(f"{collected.left} cannot be judged before our node has more blocks")

    with person.vault() as vault:

        async def go() -> None:
            async with person.node() as node:
                at = person.post(vault, node)
                commit = rounds.commit_to_nothing
                if person.home.acknowledge_on_chain:
                    us = person.sender
                    commit = Commitments(vault, node, us, wait_s=person.wait_s, say=note).commit
                if once:
                    await rounds.once(at, tell, commit)
                else:
                    await rounds.keep_on(at, tell, note, commit)

        run(go())
    if once and is_json(context):
        emit(context, all_, "")


@post.command()
@at_home
@json_option
@click.pass_context
def status(context: click.Context, person: Person) -> None:
    """Show what was sent and is not acknowledged, and how much is."""
    with person.vault() as vault:
        log = disclosing.log(vault)
    sent = Counter(shown.state for shown in log if shown.direction == "sent")
    open_ = [shown for shown in log if shown.direction == "sent" and Way(shown.state).is_open]
    result = {
        "sent": dict(sent),
        "received": dict(Counter(shown.state for shown in log if shown.direction == "received")),
        "open": [as_item(shown, person) for shown in open_],
    }
    rows = [
        (direction, state, count)
        for direction in ("sent", "received")
        for state, count in sorted(result[direction].items())  # type: ignore[attr-defined]
    ]
    emit(context, result, lambda: table(("", "state", "count"), rows))


def _came(record: AccessRecord, person: Person) -> dict[str, Any]:
    sender = person.members.label_of(record.sender)
    subject = record.subject.hex()
    about = f"{record.purpose} of {subject}" if subject else "something"
    done = "took" if record.verdict == "taken" else f"refused ({record.verdict})"
    return {
        "what": f"{done} {about} from {sender}",
        "member": sender,
        "purpose": record.purpose or None,
        "subject": subject or None,
        "verdict": record.verdict,
    }


def _answered(record: DeliveryRecord, person: Person) -> dict[str, Any]:
    recipient = person.members.label_of(record.recipient)
    about = f"{record.purpose} of {record.subject.hex()}"
    is_taken = record.state is Way.ACKNOWLEDGED
    done = "signed for" if is_taken else f"refused ({record.reason})"
    return {
        "what": f"{recipient} {done} {about}",
        "member": recipient,
        "purpose": record.purpose,
        "subject": record.subject.hex(),
        "verdict": "taken" if is_taken else record.reason,
    }
