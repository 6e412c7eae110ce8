"""`depoli inbox`: what shops disclose to us, decided by our policy and by our people."""

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from contracts.calls import Reason
from node import files
from node.cli.claim import parse_reason
from node.cli.handing import hand_over
from node.cli.output import Verbs, emit, fields, is_json, json_option, moment, note, table
from node.cli.person import Person, at_home, euros, parse_id, run, today, wait_option
from node.client import deliveries, disclosure, docket, rounds
from node.client import inbox as received
from node.client.clerk import Clerk, Source
from node.client.client import NodeClient
from node.client.deliveries import NoSealingKey
from node.client.disclosing import letter_of_statement
from node.client.docket import Unread
from node.client.errors import NotFound, Refused, Undecided, Unreachable, VaultLocked
from node.client.gathering import Gathering
from node.client.judging import ACCEPT, PART, REFUSE
from node.client.letters import Folder
from node.client.mandate import mandate_of
from node.client.policy import MAX_POLICY_BYTES, Policy, parse_policy
from node.client.post import Post
from node.client.records import ReceivedRecord, ReviewRecord, Standing, find
from node.client.sending import Desk, Event, Report, Sending
from node.client.statements import Statement
from node.client.vault import Vault
from node.errors import Usage

FOLDER: Final = "inbox"  # in the home
OUTBOX: Final = "outbox"
_SETTLE_S: Final = 60  # how often it is looked whether it is time to settle


@click.group(cls=Verbs, elsewhere={"export": "node.cli.accounts"})
def inbox() -> None:
    """Decide what shops disclose to us: by policy, and by people."""


@inbox.command("run")
@click.option(
    "--policy",
    "policy_path",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="TOML file that says what is decided by machine.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder into which disclosures are put.  [default: inbox, in the home]",
)
@click.option(
    "--outbox",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for what shops are to be told.  [default: it goes by post]",
)
@click.option(
    "--post", "by_post", is_flag=True, help="Collect what came by post too, as depoli post run."
)
@click.option("--once", is_flag=True, help="End when what is there now is done.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option(
    "--every",
    type=click.IntRange(1, 3600),
    default=2,
    show_default=True,
    help="Seconds between two looks into the folder.",
)
@wait_option
@at_home
@json_option
@click.pass_context
def run_(
    context: click.Context,
    person: Person,
    policy_path: Path,
    folder: Path | None,
    outbox: Path | None,
    *,
    by_post: bool,
    once: bool,
    dry_run: bool,
    every: int,
) -> None:
    """Verify what shops disclosed, and decide what the policy lets a machine decide.

    The rest waits for people. Ended anyhow, it is run again and goes on. With --json each event is
    one JSON value on a line of its own.
    """
    policy = _read_policy(policy_path, person)
    if folder is None:
        folder = person.home.vault.parent / FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
    source = Folder(folder)

    def tell(event: Event) -> None:
        click.echo(json.dumps(event, ensure_ascii=False) if is_json(context) else _line(event))

    report = Report(tell)

    async def go(vault: Vault) -> None:
        async with person.node() as node, person.node() as outgoing:
            await _require_mandate(person, node, policy)
            sources: list[Source] = [Unread(vault), source]
            desk = _desk(person, vault, node, outgoing, report, outbox)
            clerk = Clerk(desk, person.reader, policy)
            if dry_run:
                for each in sources:
                    await clerk.rehearse(each)
                return
            post = person.post(vault, node) if by_post else None
            await _work(clerk, sources, post, person, vault, outgoing, once=once, every=every)

    with person.vault() as vault:
        run(go(vault))
    summary: Event = {"event": "summary"} | dict(sorted(report.counts.items()))
    tell(summary)


@inbox.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@at_home
@json_option
@click.pass_context
def check(context: click.Context, person: Person, file: Path) -> None:
    """Read the policy in FILE, and say what it says, or what is wrong in which line."""
    policy = _read_policy(file, person)
    limits = policy.automatic
    shown: dict[str, Any] = {
        "policy": policy.digest,
        "mode": "decide" if policy.decides else "propose",
        "contract": policy.contract,
        "legs": sorted(leg.name.lower() for leg in policy.legs),
        "accept_up_to_cents": limits.accept_up_to_cents,
        "accept_per_day_cents": limits.accept_per_day_cents,
        "accept_per_shop_day_cents": limits.accept_per_shop_day_cents,
        "accept_per_day_count": limits.accept_per_day_count,
        "refuse_per_day_count": limits.refuse_per_day_count,
        "refuses": [each for each, action in policy.when.items() if action == "refuse"],
        "accepts_in_part": [each for each, action in policy.when.items() if action == "part"],
        "lets_pass": [each for each, action in policy.when.items() if action == "pass"],
        "shops": len(policy.shops),
        "settles": policy.settle is not None,
    }
    emit(context, shown, lambda: fields(shown))


@inbox.command("list")
@click.option("--all", "take_all", is_flag=True, help="Also what is under way, or to be settled.")
@at_home
@json_option
@click.pass_context
def list_(context: click.Context, person: Person, *, take_all: bool) -> None:
    """List the claims that wait for a person, the oldest first, and what the policy proposes."""
    with person.vault() as vault:
        result = [
            _shown(record, person)
            for record in docket.pending(vault)
            if take_all or record.standing in {Standing.NEW, Standing.REVIEW}
        ]
    names = ("standing", "submitter", "cents", "proposal", "findings", "claim")
    rows = [tuple(item[name] for name in names) for item in result]
    emit(context, result, lambda: table(names, rows))


@inbox.command()
@click.argument("claim", metavar="CLAIM")
@at_home
@json_option
@click.pass_context
def show(context: click.Context, person: Person, claim: str) -> None:
    """Show a CLAIM that waits: what was disclosed of it, and why the policy stopped."""
    id_ = parse_id(claim)
    with person.vault() as vault:
        record = _waiting(vault, id_)
        result = _shown(record, person) | _disclosed(vault, id_)
    shown = {
        name.removesuffix("_cents"): euros(value) if name.endswith("cents") else value
        for name, value in result.items()
        if value is not None
    }
    emit(context, result, lambda: fields(shown))


@inbox.command()
@click.argument("claims", nargs=-1, required=True, metavar="CLAIM...")
@click.option("--accept", "action", flag_value=ACCEPT, help="Accept what is claimed.")
@click.option("--amount", type=click.IntRange(min=1), help="Accept so many cents of one claim.")
@click.option("--reject", "reason", metavar="REASON", help="One of the closed list.")
@click.option("--as-proposed", is_flag=True, help="Do what the policy proposes.")
@click.option(
    "--outbox",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for what shops are to be told.  [default: it goes by post]",
)
@wait_option
@at_home
@json_option
@click.pass_context
def decide(
    context: click.Context,
    person: Person,
    claims: Sequence[str],
    action: str | None,
    amount: int | None,
    reason: str | None,
    outbox: Path | None,
    *,
    as_proposed: bool,
) -> None:
    """Decide CLAIMs that wait for a person. A person looked: it is not marked as automatic."""
    ids = [parse_id(text) for text in claims]
    if sum((action is not None, amount is not None, reason is not None, as_proposed)) != 1:
        raise Usage("give one of --accept, --amount CENTS, --reject REASON, --as-proposed")
    if amount is not None and len(ids) != 1:
        raise Usage("--amount is for one claim")
    why = None if reason is None else parse_reason(reason)
    events: list[Event] = []
    report = Report(events.append)

    async def go(vault: Vault) -> None:
        async with person.node() as node, person.node() as outgoing:
            await mandate_of(node, person.sender)
            desk = _desk(person, vault, node, outgoing, report, outbox)
            await Sending(desk).resume()

    with person.vault() as vault:
        choices = [_choice(vault, id_, action, amount, why, as_proposed=as_proposed) for id_ in ids]
        for id_, (chosen, cents, ground) in zip(ids, choices, strict=True):
            _choose(vault, id_, chosen, cents, ground)
        run(go(vault))
    rows = [(each.get("claim"), each["event"], each.get("why")) for each in events]
    emit(context, events, lambda: table(("claim", "outcome", "why"), rows))


async def _work(
    clerk: Clerk,
    sources: Sequence[Source],
    post: Post | None,
    person: Person,
    vault: Vault,
    outgoing: NodeClient,
    *,
    once: bool,
    every: int,
) -> None:
    """Take up what was left, then what comes, until it is ended."""
    settlements = Gathering(vault, outgoing, person.sender, wait_s=person.wait_s, say=note)
    settled = -float(_SETTLE_S)
    is_new = True
    while True:
        try:
            if is_new:
                await clerk.resume()
            is_new = False
            if post is not None:
                await rounds.once(post, lambda _: None)  # what it says is in the post's own log
            for source in sources:
                await clerk.work(source)
            if once or time.monotonic() - settled >= _SETTLE_S:
                await clerk.settle(settlements)
                await person.answerer(vault, outgoing).go_on(today())
                settled = time.monotonic()
        except (Unreachable, Undecided, VaultLocked) as error:
            if once:
                raise
            is_new = True  # what was chosen and not signed by then is taken up again
            note(f"{error}; trying again")
        if once:
            return
        await asyncio.sleep(every)  # nothing tells when a file is put into a folder


async def _require_mandate(person: Person, node: NodeClient, policy: Policy) -> None:
    mandate = await mandate_of(node, person.sender)
    if mandate.delegate is None or mandate.until is None:
        return
    if policy.settle is not None:
        raise Refused(
            "settle",
            "who acts for another member settles nothing in its name",
            hint="take [settle] out of the policy; the member's own people settle",
        )
    delegate = person.members.label_of(mandate.delegate)
    note(f"{delegate} acts for {person.home.label} until {moment(mandate.until)}")


def _desk(
    person: Person,
    vault: Vault,
    node: NodeClient,
    outgoing: NodeClient,
    report: Report,
    outbox: Path | None,
) -> Desk:
    async def tell_shop(statement: Statement) -> None:
        letter = letter_of_statement(statement, received.ACCEPTED)
        folder = outbox
        if folder is None:
            try:
                note(await hand_over(person, vault, outgoing, letter, None))
            except NoSealingKey as error:
                note(str(error))
                folder = person.home.vault.parent / OUTBOX
        if folder is not None:
            sealed = await person.sealed(letter.plain, letter.recipient)
            _write(person, folder, statement, sealed)
            with vault.changes():
                deliveries.written(vault, letter, sealed, now=int(time.time()))

    sender, wait_s = person.sender, person.wait_s
    return Desk(vault, node, outgoing, sender, wait_s, note, report, tell_shop)


def _write(person: Person, folder: Path, statement: Statement, sealed: bytes) -> None:
    """Write what a shop is to be told into a folder; again writes it anew."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    label = person.members.label_of(statement.beneficiary)
    path = folder / f"{label}-{statement.id.hex()}.json"
    files.replace(path, sealed, secret=True)
    note(f"wrote {path}; hand it to {label}")


def _read_policy(path: Path, person: Person) -> Policy:
    data = files.read_public(path, limit=MAX_POLICY_BYTES + 1, hint="docs/payer.md has an example")
    return parse_policy(data, path.name, person.members)


def _waiting(vault: Vault, claim: bytes) -> ReviewRecord:
    found = find(vault, ReviewRecord, claim.hex())
    if found is None:
        raise NotFound(
            f"{claim.hex()} is not in the inbox", hint="depoli inbox list shows what waits"
        )
    return found[1]


def _choice(
    vault: Vault,
    claim: bytes,
    action: str | None,
    amount: int | None,
    reason: Reason | None,
    *,
    as_proposed: bool,
) -> tuple[str, int | None, Reason | None]:
    """Return what is chosen of a claim that waits, with how many cents or why; raise `Refused`."""
    record = _waiting(vault, claim)
    if as_proposed:
        if not record.action:
            raise Refused(
                "proposal",
                f"the policy has not weighed {claim.hex()} yet",
                hint="depoli inbox run --policy … --once, or say --accept, --amount or --reject",
            )
        if record.action == PART and not record.part_cents:
            raise Refused("amount", "nothing is left to pay of it", hint="--reject says why")
        proposed = None if record.reason is None else Reason(record.reason)
        return record.action, record.part_cents, proposed
    if amount is not None:
        if amount >= record.cents:
            raise Refused("amount", f"must be less than what is claimed, {record.cents} cents")
        return PART, amount, None
    return (REFUSE if action is None else action), None, reason


def _choose(
    vault: Vault, claim: bytes, action: str, cents: int | None, reason: Reason | None
) -> None:
    """Choose that; say where another has decided meanwhile."""
    if docket.choose(vault, claim, action, cents=cents, reason=reason) is None:
        found = find(vault, ReviewRecord, claim.hex())
        state = "done with" if found is None else found[1].standing.value
        note(f"{claim.hex()}: it was decided already, and is {state}")


def _shown(record: ReviewRecord, person: Person) -> dict[str, Any]:
    reason = None if record.reason is None else Reason(record.reason)
    return {
        "claim": record.claim.hex(),
        "submitter": person.members.label_of(record.submitter),
        "standing": record.standing.value,
        "cents": record.cents,
        "proposal": record.action,
        "part_cents": record.part_cents,
        "reason": None if reason is None else reason.name.lower().replace("_", "-"),
        "findings": record.findings,
        "received": moment(record.received),
        "policy": record.policy,
    }


def _disclosed(vault: Vault, claim: bytes) -> dict[str, Any]:
    found = find(vault, ReceivedRecord, claim.hex())
    return {} if found is None else disclosure.told(found[1].disclosure)


def _line(event: Event) -> str:
    """Return an event as people read it."""
    if event["event"] == "summary":
        counts = [f"{count} {name}" for name, count in event.items() if name != "event"]
        return ", ".join(counts) or "nothing came"
    parts = [event["event"], event.get("file", ""), event.get("claim", "")]
    if event["event"] in {"review", "would-review"}:
        parts.append(f"proposed: {event['proposal']}")
    if "cents" in event:
        parts.append(str(euros(event["cents"])))
    parts += [str(event[name]) for name in ("reason", "words", "settlement") if name in event]
    if event.get("why"):
        parts.append(f"({', '.join(event['why'])})")
    return " ".join(part for part in parts if part)
