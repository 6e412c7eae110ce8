"""`depoli erase`: erase a prescription, a person or what is old, and see who erased it too."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from node.cli.output import Verbs, emit, is_json, json_option, moment, note, table
from node.cli.person import (
    Person,
    at_home,
    read_input,
    run,
    today,
    wait_option,
    write_private,
)
from node.client import answering, sealing
from node.client.doomed import Open, Plan, Selection
from node.client.erasing import NOT_ASKED
from node.client.erasures import message
from node.client.reading import as_date, as_reference
from node.client.records import AskedRecord, ErasureRecord, every
from node.client.vault import Vault
from node.errors import Usage

_WHOLE: Final = "records"


class _Verbs(Verbs):
    """`depoli erase ORD-17` is `depoli erase records ORD-17`: no reference is a verb."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.list_commands(ctx) and args[0] not in ctx.help_option_names:
            args = [_WHOLE, *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Verbs)
def erase() -> None:
    """Erase a prescription and all that rests on it, and ask who was shown it to do the same.

    Without a verb it is `records`.
    """


@erase.command()
@click.argument("references", nargs=-1, metavar="REFERENCE...")
@click.option("--insured", metavar="REF", help="All of who has this reference at the payer.")
@click.option("--payer", help="Whose reference that is, by its label or id.")
@click.option("--before", metavar="DAY", help="All that was written, and last invoiced, before.")
@click.option("--earlier", is_flag=True, help="Only the documents that were rectified since.")
@click.option("--even-open", is_flag=True, help="Though a claim is not decided, or not paid.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask again.")
@wait_option
@at_home
@json_option
@click.pass_context
def records(
    context: click.Context,
    person: Person,
    references: Sequence[str],
    insured: str | None,
    payer: str | None,
    before: str | None,
    *,
    earlier: bool,
    even_open: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Erase prescriptions with their claims and prior agreements, and ask their payers to.

    REFERENCE is that of a prescription in the vault. What is erased nobody brings back. Run it
    again where it was interrupted: it goes on.
    """
    selection = _selection(references, insured, before, earlier=earlier)
    if payer is not None:
        if insured is None:
            raise Usage("--payer goes with --insured")
        selection = replace(selection, payer=person.members.id_of(payer))

    async def go(vault: Vault) -> dict[str, Any]:
        async with person.node() as node:
            eraser = person.eraser(vault, node)
            if dry_run:
                return _shown(*await eraser.plan(selection), person)

            def confirm(plan: Plan, open_: Sequence[Open]) -> None:
                if not yes:
                    _confirm(context, _shown(plan, open_, person))

            count = await eraser.run(selection, today(), even_open=even_open, confirm=confirm)
            return {"erased": count, "erasures": _erasures(vault, person)}

    with person.vault() as vault:
        result = run(go(vault))
    emit(context, result, lambda: _human_plan(result) if dry_run else _human(result))


@erase.command()
@wait_option
@at_home
@json_option
@click.pass_context
def status(context: click.Context, person: Person) -> None:
    """Say who was asked to erase it too, what he answered and when; goes on where it stopped."""

    async def go(vault: Vault) -> None:
        async with person.node() as node:
            await person.eraser(vault, node).go_on()

    with person.vault() as vault:
        run(go(vault))
        result = _erasures(vault, person)
    emit(context, result, lambda: _human_erasures(result))


@erase.command()
@click.option("--folder", required=True, type=click.Path(path_type=Path), help="Folder for them.")
@at_home
@json_option
@click.pass_context
def letters(context: click.Context, person: Person, folder: Path) -> None:
    """Write what says what is to be erased to files, for whom our post does not reach.

    They are sealed to who has a sealing key. Hand them over: `depoli erase answer FILE` reads them.
    """
    result = []
    with person.vault() as vault:
        waiting = [
            each
            for _, record in every(vault, ErasureRecord)
            for each in record.requests
            if each.wanted is not None and each.erasure is not None
        ]
        for each in waiting:
            assert each.wanted is not None
            assert each.erasure is not None
            path = folder / f"erase-{each.erasure.hex()}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_private(
                path, run(person.sealed(message(each.erasure, each.wanted), each.recipient))
            )
            label = person.members.label_of(each.recipient)
            result.append({"recipient": label, "file": str(path)})
    said = "\n".join(f"wrote {each['file']}; hand it to {each['recipient']}" for each in result)
    emit(context, result, said or "nothing is to be handed over")


@erase.command()
@click.argument("paths", nargs=-1, metavar="FILE...", type=click.Path(path_type=Path))
@wait_option
@at_home
@json_option
@click.pass_context
def answer(context: click.Context, person: Person, paths: Sequence[Path]) -> None:
    """Erase what others asked us to erase, and state so on the chain; FILEs are requests, by hand.

    What is not settled waits. What `keep_days` of client.toml has us keep is stated as held by law,
    and erased when that is over: run it every day.
    """

    async def go(vault: Vault) -> None:
        async with person.node() as node:
            for path in paths:
                plain = sealing.unseal(read_input(path), path.name, person.sealing_seed)
                asked = await answering.check(node, person.home.member, plain, path.name)
                with vault.changes():
                    answering.keep_asked(vault, asked)
            await person.answerer(vault, node).go_on(today())

    with person.vault() as vault:
        run(go(vault))
        result = _asked(vault, person)
    emit(context, result, lambda: _human_asked(result))


@erase.command()
@at_home
@json_option
@click.pass_context
def requests(context: click.Context, person: Person) -> None:
    """List what others asked us to erase, and what we stated of it."""
    with person.vault() as vault:
        result = _asked(vault, person)
    emit(context, result, lambda: _human_asked(result))


def _selection(
    references: Sequence[str], insured: str | None, before: str | None, *, earlier: bool
) -> Selection:
    if sum(map(bool, (references, insured, before))) != 1:
        raise Usage("name references, or --insured REF, or --before DAY: one of the three")
    if earlier and not references:
        raise Usage("--earlier goes with references of prescriptions")
    return Selection(
        tuple(as_reference(each, "reference") for each in references),
        None if insured is None else as_reference(insured, "insured"),
        None if before is None else as_date(before, "before"),
        earlier,
    )


def _confirm(context: click.Context, shown: dict[str, Any]) -> None:
    if is_json(context) or not sys.stdin.isatty():
        raise Usage("what is erased nobody brings back", hint="--dry-run shows it, --yes does it")
    note(_human_plan(shown))
    click.confirm("erase it, for ever?", abort=True, err=True)


def _shown(plan: Plan, open_: Sequence[Open], person: Person) -> dict[str, Any]:
    recipients = sorted({person.members.label_of(member) for member, _, _ in plan.told})
    return {
        "prescriptions": plan.prescriptions,
        "claims": plan.claims,
        "received": plan.received,
        "records": plan.count,
        "asked": recipients,
        "open": [{"kind": each.what, "name": each.name, "state": each.state} for each in open_],
    }


def _erasures(vault: Vault, person: Person) -> list[dict[str, Any]]:
    return [_erasure(record, person) for _, record in every(vault, ErasureRecord)]


def _erasure(record: ErasureRecord, person: Person) -> dict[str, Any]:
    return {
        "day": record.day,
        "records": record.count,
        "over": record.is_over,
        "requests": [
            {
                "recipient": person.members.label_of(each.recipient),
                "erasure": None if each.erasure is None else each.erasure.hex(),
                "told": each.wanted is None and each.outcome != NOT_ASKED,
                "outcome": None if each.outcome is None else each.outcome.lower(),
                "since": each.since,
            }
            for each in record.requests
        ],
    }


def _asked(vault: Vault, person: Person) -> list[dict[str, Any]]:
    return [
        {
            "erasure": record.erasure.hex(),
            "requester": person.members.label_of(record.requester),
            "outcome": answering.said(record),
            "until": record.until,
            "stated": record.is_stated,
        }
        for _, record in every(vault, AskedRecord)
    ]


def _human_plan(shown: dict[str, Any]) -> str:
    lines = [f"{shown['records']} records are erased"]
    lines += [
        f"{what}: {', '.join(shown[what])}"
        for what in ("prescriptions", "claims", "received")
        if shown[what]
    ]
    if shown["asked"]:
        lines.append(f"asked to erase it too: {', '.join(shown['asked'])}")
    lines += [f"! {each['kind']} {each['name']} is {each['state']}" for each in shown["open"]]
    return "\n".join(lines)


def _human(result: dict[str, Any]) -> str:
    return f"{result['erased']} records erased\n{_human_erasures(result['erasures'])}"


def _human_erasures(erasures: Sequence[dict[str, Any]]) -> str:
    rows = [
        (each["day"], asked["recipient"], _state(asked), asked["erasure"])
        for each in erasures
        for asked in each["requests"]
    ]
    waits = sum(not each["over"] for each in erasures)
    head = f"{len(erasures)} erasures, of which {waits} wait for answers"
    if not rows:
        return head
    return f"{head}\n{table(('erased on', 'asked', 'what it says', 'erasure'), rows)}"


def _state(asked: dict[str, Any]) -> str:
    if asked["outcome"] == NOT_ASKED.lower():
        return "no member now: nobody to ask"
    if asked["outcome"] is not None:
        said: str = asked["outcome"].replace("_", " ")
        since = "" if asked["since"] is None else f" ({moment(asked['since'])})"
        return said + since
    return "no answer yet" if asked["told"] else "not reached yet"


def _human_asked(asked: Sequence[dict[str, Any]]) -> str:
    if not asked:
        return "nobody asked us to erase anything"
    rows = [
        (
            each["requester"],
            each["outcome"].replace("_", " "),
            each["until"],
            each["stated"],
            each["erasure"],
        )
        for each in asked
    ]
    return table(("asked by", "what became of it", "kept until", "stated", "erasure"), rows)
