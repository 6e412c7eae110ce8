"""`depoli events`: what concerns our member on the chain, entry by entry, as it comes."""

import json
from functools import partial
from typing import Any

import click
import msgspec

from node.cli.output import emit, is_json, json_option, moment, note, visible
from node.cli.person import Person, at_home, run
from node.client.events import EVERYONE, EntryView, PrunedView, entries, follow
from node.client.words import tell_entry


@click.command()
@click.option("--follow", "follows", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option(
    "--after",
    type=click.IntRange(0, (1 << 62) - 1),
    default=0,
    metavar="N",
    help="Begin after our Nth entry: the number that each line begins with.",
)
@click.option("--everyone", is_flag=True, help="Of what concerns everyone, not only us.")
@click.option("--member", help="Of another member, for who may read all: its label or id.")
@at_home
@json_option
@click.pass_context
def events(
    context: click.Context,
    person: Person,
    *,
    follows: bool,
    after: int,
    everyone: bool,
    member: str | None,
) -> None:
    """Show what concerns us on the chain, the oldest first; with --follow what comes, too.

    With --follow and --json each line is a JSON value; its `count` is what --after takes. When the
    node restarts, the command connects again and goes on where it was.
    """
    if everyone and member is not None:
        raise click.UsageError("--everyone and --member are two different things", context)
    of = person.home.member if member is None else person.members.id_of(member)
    whose = EVERYONE if everyone else of.hex()
    if follows:
        gone = partial(note, f"no node answers at {person.home.node}; connecting again")
        for each in follow(person.node(), whose, after, gone):
            _show(context, person, each)
        return

    async def ask() -> list[EntryView]:
        async with person.node() as node:
            return [entry async for entry in entries(node, whose, after)]

    found = run(ask())
    emit(
        context,
        {"member": whose, "entries": [_described(person, each) for each in found]},
        lambda: "\n".join(_line(person, each) for each in found) or "nothing yet",
    )


def _show(context: click.Context, person: Person, what: EntryView | PrunedView) -> None:
    """Print one entry as it comes."""
    if isinstance(what, PrunedView):
        note(f"up to {what.after} this node keeps no more of them: ask one that keeps all")
    elif is_json(context):
        click.echo(json.dumps(_described(person, what), ensure_ascii=False))
    else:
        click.echo(_line(person, what))


def _described(person: Person, entry: EntryView) -> dict[str, Any]:
    label = person.members.label_of(bytes.fromhex(entry.sender))
    return {**msgspec.to_builtins(entry), "label": label}


def _line(person: Person, entry: EntryView) -> str:
    said = tell_entry(entry, person.home.member, person.members.label_of)
    return visible(f"{entry.count:>6}  {moment(entry.time)}  {said}")  # a node's words
