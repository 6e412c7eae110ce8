"""`depoli explain`: what happened to a thing, where it stands, and what may happen next."""

import re
import textwrap
from typing import Any, Final

import click
import msgspec

from node.cli.output import Verbs, emit, json_option, moment
from node.cli.person import Person, at_home, authorisation_id, claim_id, parse_id, run
from node.client import prescriptions, words
from node.client.explanations import ExplanationView, explanation
from node.client.records import AuthorisationRecord, ClaimRecord, find

_WIDTH: Final = 80
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC")


@click.group(cls=Verbs)
def explain() -> None:
    """Say what happened to a thing, where it stands, and who may do what next until when."""


@explain.command()
@click.argument("name", metavar="CLAIM")
@at_home
@json_option
@click.pass_context
def claim(context: click.Context, person: Person, name: str) -> None:
    """Explain CLAIM, named by its id or your reference."""
    with person.vault() as vault:
        id_ = claim_id(vault, name)
        found = find(vault, ClaimRecord, name)
    _explain(context, person, "claim", id_, found[1].reference if found else name)


@explain.command()
@click.argument("name", metavar="AUTHORISATION")
@at_home
@json_option
@click.pass_context
def authorisation(context: click.Context, person: Person, name: str) -> None:
    """Explain AUTHORISATION, named by its id or your reference."""
    with person.vault() as vault:
        id_ = authorisation_id(vault, name)
        found = find(vault, AuthorisationRecord, name)
    _explain(context, person, "authorisation", id_, found[1].reference if found else name)


@explain.command()
@click.argument("reference")
@at_home
@json_option
@click.pass_context
def prescription(context: click.Context, person: Person, reference: str) -> None:
    """Explain the prescription that you keep under REFERENCE."""
    with person.vault() as vault:
        id_ = prescriptions.load(vault, reference)[1].commitment
    _explain(context, person, "prescription", id_, reference)


@explain.command()
@click.argument("name", metavar="PROPOSAL")
@at_home
@json_option
@click.pass_context
def proposal(context: click.Context, person: Person, name: str) -> None:
    """Explain PROPOSAL, named by its id; every member may read it."""
    _explain(context, person, "proposal", parse_id(name), name)


@explain.command()
@click.argument("name", metavar="SETTLEMENT")
@at_home
@json_option
@click.pass_context
def settlement(context: click.Context, person: Person, name: str) -> None:
    """Explain SETTLEMENT, named by its id."""
    _explain(context, person, "settlement", parse_id(name), name)


@explain.command()
@click.argument("name", metavar="ERASURE")
@at_home
@json_option
@click.pass_context
def erasure(context: click.Context, person: Person, name: str) -> None:
    """Explain ERASURE, named by its id."""
    _explain(context, person, "erasure", parse_id(name), name)


def _explain(context: click.Context, person: Person, kind: str, id_: bytes, name: str) -> None:
    async def ask() -> ExplanationView:
        async with person.node() as node:
            return await explanation(node, kind, id_)

    view = run(ask())
    result: dict[str, Any] = msgspec.to_builtins(view)
    for named in (*result["history"], *result["steps"]):
        key = "sender" if "sender" in named else "member"
        member = named[key]
        named["label"] = member and person.members.label_of(bytes.fromhex(member))
    emit(context, result, lambda: _human(view, person, name))


def _human(view: ExplanationView, person: Person, name: str) -> str:
    told = words.tell(view, person.home.member, person.members.label_of, name)
    lines = [told.headline]
    if name != view.id:
        lines.append(f"id {view.id}")
    if told.marks:
        lines.append(told.marks)
    if told.past:
        lines += ["", "what happened"]
        for time, said in told.past:
            lines += _wrapped(f"  {moment(time)}  {said}")
    if view.pruned:
        lines += ["", "what happened before, this node keeps no more: ask one that keeps all"]
    if told.next:
        lines += ["", "what may happen next"]
        for each in told.next:
            lines += _wrapped(f"! {each.sentence}" if each.is_overdue else f"  {each.sentence}")
            lines += [f"      {command}" for command in each.commands]
    elif view.state is not None:
        lines += ["", "nothing more may happen to it"]
    return "\n".join(lines)


def _wrapped(sentence: str) -> list[str]:
    """Return the lines of a sentence; no line ends within a moment."""
    kept = _MOMENT.sub(lambda found: found[0].replace(" ", "\xa0"), sentence)
    lines = textwrap.wrap(kept, _WIDTH, subsequent_indent="    ", break_long_words=False)
    return [line.replace("\xa0", " ") for line in lines]
