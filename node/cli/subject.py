"""`depoli vault subject`: what a patient may ask for, the right of access."""

import json
import time
from pathlib import Path
from typing import Any

import click

from node.cli.output import Verbs, emit, fields, json_option, note
from node.cli.person import Person, at_home, run, write_private
from node.cli.showing import as_item
from node.cli.subject_page import About, page
from node.client import subject as subjects
from node.client.doomed import Selection
from node.client.subject import Subject
from node.client.words import what_happened
from node.errors import Usage


@click.group(cls=Verbs)
def subject() -> None:
    """Answer a person who asks what is kept about him, and who saw it."""


@subject.command()
@click.argument("references", nargs=-1, metavar="[REFERENCE...]")
@click.option(
    "--insured", help="Instead: all of one person, by the payer's own reference, or its number."
)
@click.option("--payer", help="Whose reference that is, by its label or id.")
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="New files: NAME.json, and NAME.html beside it, which a patient can read.",
)
@click.option("--offline", is_flag=True, help="Do not ask the node what happened.")
@at_home
@json_option
@click.pass_context
def export(
    context: click.Context,
    person: Person,
    references: tuple[str, ...],
    insured: str | None,
    payer: str | None,
    output: Path,
    *,
    offline: bool,
) -> None:
    """Write all that the vault holds about a person, and all that was shown of it to whom and when.

    REFERENCE is your own of a prescription; all that rests on it is written too: claims, prior
    agreements, questions, decisions. A payer names the insured.
    """
    if bool(references) == (insured is not None):
        raise Usage("name prescriptions by your references, or a person by --insured")
    if payer is not None and insured is None:
        raise Usage("--payer goes with --insured")
    whose = None if payer is None else person.members.id_of(payer)
    data, paper = output.with_suffix(".json"), output.with_suffix(".html")
    for path in (data, paper):
        if path.exists():
            raise Usage(f"{path} exists and is not overwritten", hint="name another file")
    with person.vault() as vault:
        found = subjects.find(vault, Selection(references, insured, payer=whose))
    if not offline:

        async def ask() -> Subject:
            async with person.node() as node:
                return await subjects.with_history(found, node, note)

        found = run(ask())
    about = About(
        asked=", ".join(references) or str(insured),
        holder=person.home.label,
        network=person.members.genesis.network.decode("ascii"),
        made=int(time.time()),
        label_of=person.members.label_of,
    )
    value = _as_json(about, found, person)
    text = json.dumps(value, indent=2, ensure_ascii=False, default=_plain)
    markup = page(about, found)  # nothing is left behind where this fails
    write_private(data, text.encode() + b"\n")
    write_private(paper, markup.encode())
    counts = {section: len(items) for section, items in found.held.items()}
    result = {"file": str(data), "page": str(paper)} | counts | {"shown": len(found.shown)}
    after = "\nthese are health data: hand them to nobody else, and delete them here afterwards"
    emit(context, result, lambda: fields(result) + after)


def _as_json(about: About, found: Subject, person: Person) -> dict[str, Any]:
    return {
        "format": subjects.FORMAT,
        "about": about.asked,
        "held_by": about.holder,
        "network": about.network,
        "made": about.made,
        "members": {each.id.hex(): each.label for each in person.members.known},
        **found.held,
        "who_saw_what": [as_item(shown, person) for shown in found.shown],
        "what_happened": [
            {
                "time": each.entry.time,
                "height": each.entry.height,
                "kind": each.kind,
                "id": each.id.hex(),
                "by": about.label_of(bytes.fromhex(each.entry.sender)),
                "call": each.entry.call,
                "outcome": each.entry.outcome.name,
                "words": what_happened(each.entry, b"", about.label_of),
            }
            for each in found.history
        ],
        "history_is_whole": found.is_whole,
    }


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(type(value).__name__)  # tidy: what json.dumps expects of a default
