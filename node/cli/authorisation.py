"""`depoli authorisation`: prior agreements (*prises en charge*), asked for before one claims."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from contracts.calls import AuthorisationCancel, AuthorisationRefuse, AuthorisationReview, Reason
from contracts.early import PER_THOUSAND
from contracts.questions import Kind
from node.cli.claim import own_view
from node.cli.deeds import acted, human_option, parse_choice, sent
from node.cli.given import the_claim
from node.cli.handing import Telling
from node.cli.output import Verbs, emit, fields, json_option, moment, table
from node.cli.person import (
    Person,
    at_home,
    authorisation_id,
    read_input,
    run,
    wait_option,
)
from node.client import answers, inbox, lots, questions, queue, sealing
from node.client.acts import Acts
from node.client.agreements import AuthorisationView, authorisation_of, authorisations_of
from node.client.answers import Answered
from node.client.client import CallOutcome, NodeClient
from node.client.deliveries import Letter
from node.client.disclosing import letter_of_question, letter_of_statement
from node.client.questions import Asked
from node.client.records import AuthorisationRecord, Progress, find
from node.client.refusals import told
from node.client.vault import Vault
from node.errors import Usage

DAY_S: Final = 86_400
_acted: Final = partial(acted, kind="authorisation")
_KINDS: Final = ", ".join(questions.name_of(kind) for kind in Kind)


@click.group(cls=Verbs)
def authorisation() -> None:
    """Ask a payer to agree before you claim, and answer what is asked."""


@authorisation.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@wait_option
@at_home
@json_option
@click.pass_context
def request(context: click.Context, person: Person, file: Path) -> None:
    """Ask for the prior agreement in FILE, which is like a claim's; it holds its marks.

    FILE is of our own format, a FHIR Claim of the use preauthorization, or a table (CSV).

    Run again after a failure, it goes on.
    """
    asked = the_claim(file, agreements=True)
    with person.vault() as vault:
        with vault.changes():
            payer_of = person.members.id_of
            lots.prepare(vault, person.sender, asked, payer_of, AuthorisationRecord)
        record = sent(vault, person, asked.reference, AuthorisationRecord)
    result = own_view(record, person)
    result["authorisation"] = result.pop("claim")
    shown = {name: value for name, value in result.items() if value is not None}
    emit(
        context,
        result,
        lambda: (
            f"{fields(shown)}\nshow the payer what it may see: depoli disclosure send"
            f" {record.reference} --authorisation"
        ),
    )
    if record.progress is not Progress.COMMITTED:
        raise told(str(record.refusal), str(record.refusal_text), record.reference)


@authorisation.command()
@click.argument("name", metavar="AUTHORISATION")
@click.option("--question", required=True, help=f"One of the two that there are: {_KINDS}.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="New file for the shop. Left out, it goes by post.",
)
@click.option(
    "--control",
    type=click.IntRange(0, PER_THOUSAND),
    default=questions.CONTROL,
    show_default=True,
    help="Of a thousand renewals that shops attest, so many are looked into.",
)
@wait_option
@at_home
@json_option
@click.pass_context
def ask(
    context: click.Context,
    person: Person,
    name: str,
    question: str,
    output: Path | None,
    control: int,
) -> None:
    """Ask the shop one of the two questions that may be asked; it travels sealed."""
    kind = questions.parse_kind(question)
    put: list[Asked] = []

    async def do(acts: Acts, id_: bytes) -> CallOutcome:
        outcome, asked = await acts.ask(id_, kind, control)
        put.append(asked)
        return outcome

    def letter(_acts: Acts, _id: bytes, shop: bytes) -> Letter:
        return letter_of_question(put[0], shop)

    _acted(context, person, name, "asked", do, telling=Telling(output, _shop, letter))


@authorisation.command()
@click.argument("file", metavar="QUESTION", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--answer",
    "text",
    help="not-provable-here, or no; depoli renewal proves the others. Left out, it is only shown.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="New file for the payer. Left out, an answer goes by post.",
)
@wait_option
@at_home
@json_option
@click.pass_context
def answer(
    context: click.Context, person: Person, file: Path, text: str | None, output: Path | None
) -> None:
    """Answer the QUESTION that a payer handed over, or read the answer that a shop did.

    That it cannot be proved here is an answer too: not-provable-here. What a payer reads is
    verified, with its proof, and kept.
    """
    plain = sealing.unseal(read_input(file), file.name, person.sealing_seed)
    asked = questions.parse_asked(plain, file.name)
    if text is None and output is not None:
        raise Usage("--output is for an answer: give it with --answer")

    async def view() -> AuthorisationView:
        async with person.node() as node:
            return await authorisation_of(node, asked.authorisation)

    seen = run(view())
    asked.verify(seen.questions, seen.answers)
    name = asked.authorisation.hex()
    if text is None:
        shown: dict[str, Any] = {
            "authorisation": name,
            "question": questions.name_of(asked.question.kind),
            "answer": None if asked.answer is None else questions.said(asked.answer),
        }
        is_ours = asked.answer is not None and seen.payer == person.home.member.hex()
        if is_ours and (by := _taken(person, asked).word_of):
            shown["by"] = ", ".join(map(person.members.label_of, by))
        emit(context, shown, lambda: f"{fields(shown)}\nholds against the chain")
        return

    given: list[Asked] = []

    async def do(acts: Acts, _id: bytes) -> CallOutcome:
        outcome, answered = await acts.answer(asked, text)
        given.append(answered)
        return outcome

    async def payer(_node: NodeClient, _id: bytes) -> str:
        return seen.payer

    def letter(_acts: Acts, _id: bytes, payer: bytes) -> Letter:
        return letter_of_question(given[0], payer)

    _acted(context, person, name, "answered", do, telling=Telling(output, payer, letter))


@authorisation.command()
@click.argument("name", metavar="AUTHORISATION")
@click.option(
    "--days", type=click.IntRange(1, 3650), default=60, show_default=True, help="Valid so long."
)
@click.option("--amount", type=click.IntRange(min=0), help="Agree to so many cents only.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="New file for the shop: what --amount opens. Left out, the shop is told by post.",
)
@human_option
@wait_option
@at_home
@json_option
@click.pass_context
def grant(
    context: click.Context,
    person: Person,
    name: str,
    days: int,
    amount: int | None,
    output: Path | None,
    *,
    human: bool,
) -> None:
    """Agree to AUTHORISATION, whose disclosure you verified: as asked, or in part."""
    if amount is None and output is not None:
        raise Usage("--output is for what --amount opens")
    until = int(time.time()) + days * DAY_S

    def letter(acts: Acts, id_: bytes, _shop: bytes) -> Letter:
        return letter_of_statement(acts.statement(id_, of_claim=False), inbox.AGREED)

    telling = None if amount is None else Telling(output, _shop, letter)
    do = lambda acts, id_: acts.grant(id_, amount, until)  # noqa: E731
    _acted(context, person, name, "granted", do, human=human, telling=telling)


@authorisation.command()
@click.argument("name", metavar="AUTHORISATION")
@click.option("--reason", required=True, help="One of the closed list, such as rights-closed.")
@click.option("--automatic", is_flag=True, help="A machine decided, and no person looked.")
@human_option
@wait_option
@at_home
@json_option
@click.pass_context
def refuse(
    context: click.Context, person: Person, name: str, reason: str, *, automatic: bool, human: bool
) -> None:
    """Refuse AUTHORISATION for a reason of the closed list."""
    why = parse_choice(Reason, reason, "reason")
    call = lambda acts, id_: acts.make(AuthorisationRefuse(id_, why, automatic))  # noqa: E731
    _acted(context, person, name, "refused", call, human=human)


@authorisation.command()
@click.argument("name", metavar="AUTHORISATION")
@wait_option
@at_home
@json_option
@click.pass_context
def cancel(context: click.Context, person: Person, name: str) -> None:
    """Take AUTHORISATION back, which you need no more; its marks are free again."""
    call = lambda acts, id_: acts.give_up(AuthorisationCancel(id_))  # noqa: E731
    _acted(context, person, name, "cancelled", call)


@authorisation.command()
@click.argument("name", metavar="AUTHORISATION")
@wait_option
@at_home
@json_option
@click.pass_context
def review(context: click.Context, person: Person, name: str) -> None:
    """Ask that a person decides on AUTHORISATION, which a machine refused."""
    call = lambda acts, id_: acts.make(AuthorisationReview(id_))  # noqa: E731
    _acted(context, person, name, "under review", call)


@authorisation.command()
@click.argument("name", metavar="AUTHORISATION")
@at_home
@json_option
@click.pass_context
def show(context: click.Context, person: Person, name: str) -> None:
    """Show AUTHORISATION, named by its id or your reference."""
    with person.vault() as vault:
        id_ = authorisation_id(vault, name)
        found = find(vault, AuthorisationRecord, name)
        own = own_view(found[1], person) if found else inbox.known(vault, id_)
        own.pop("claim", None)
        asked = _asked(vault, id_)

        async def view() -> AuthorisationView:
            async with person.node() as node:
                return await authorisation_of(node, id_)

        seen = run(view())
        queue.note_end(vault, seen)
    chain = _chain_view(seen, person)
    shown = own | {f"chain: {key}": value for key, value in chain.items()}
    human = {key: value for key, value in shown.items() if value is not None}
    human |= {key: "not answered yet" if said is None else said for key, said in asked.items()}
    emit(context, own | {"asked": asked, "chain": chain}, lambda: fields(human))


@authorisation.command("list")
@click.option("--state", help="Only those of this state, such as requested or granted.")
@at_home
@json_option
@click.pass_context
def list_(context: click.Context, person: Person, state: str | None) -> None:
    """List the prior agreements on the chain that concern you."""

    async def views() -> list[AuthorisationView]:
        async with person.node() as node:
            return [view async for view in authorisations_of(node, state)]

    result: list[dict[str, Any]] = []
    found = run(views())
    with person.vault() as vault:
        for view in found:
            queue.note_end(vault, view)
            kept = find(vault, AuthorisationRecord, view.id)
            reference = None if kept is None else kept[1].reference
            result.append({"reference": reference} | _chain_view(view, person))
    headings = ("reference", "state", "optician", "payer", "id")
    rows: Sequence[Sequence[object]] = [[item[key] for key in headings] for item in result]
    emit(context, result, lambda: table(headings, rows))


async def _shop(node: NodeClient, id_: bytes) -> str:
    return (await authorisation_of(node, id_)).optician


def _asked(vault: Vault, id_: bytes) -> dict[str, str | None]:
    """Return what was asked about a prior agreement, and each answer that was verified here."""
    found = {}
    for kind in Kind:
        if (record := answers.kept(vault, id_, kind)) is not None:
            answer = record.answer
            found[questions.name_of(kind)] = None if answer is None else questions.said(answer)
    return found


def _taken(person: Person, asked: Asked) -> Answered:
    """Return what a shop answered us, verified and kept."""
    chain_id = person.members.genesis.chain_id

    async def take(vault: Vault) -> Answered:
        async with person.node() as node:
            return await answers.take(vault, node, asked, chain_id, now=int(time.time()))

    with person.vault() as vault:
        return run(take(vault))


def _chain_view(view: AuthorisationView, person: Person) -> dict[str, Any]:
    return {
        "id": view.id,
        "state": view.state,
        "optician": person.members.label_of(bytes.fromhex(view.optician)),
        "payer": person.members.label_of(bytes.fromhex(view.payer)),
        "leg": view.leg,
        "reason": view.reason,
        "questions": len(view.questions),
        "answers": len(view.answers),
        "valid_until": None if view.until is None else moment(view.until),
        "claim": view.claim,
    }
