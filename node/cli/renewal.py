"""`depoli renewal`: the two proofs that a payer may ask for, and what a patient carries of them."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from contracts import early as attestations
from contracts.early import parse_attestation
from contracts.errors import BadDocument
from contracts.questions import Kind
from ledger.encoding import encode
from node.cli import reimbursement_page
from node.cli.deeds import acted
from node.cli.handing import Telling
from node.cli.opened import shown_opening
from node.cli.output import Verbs, emit, fields, json_option
from node.cli.person import (
    Person,
    at_home,
    authorisation_id,
    claim_id,
    read_input,
    run,
    today,
    wait_option,
    write_private,
)
from node.client import answers, controls, day_proofs, early, questions, sealing
from node.client.acts import Acts
from node.client.agreements import AuthorisationView, authorisation_of
from node.client.client import CallOutcome, NodeClient
from node.client.day_proofs import Carried
from node.client.deliveries import Letter
from node.client.disclosing import letter_of_question
from node.client.errors import NotReadable
from node.client.members import Members
from node.client.questions import Asked
from node.client.reading import as_reference, parse_object
from node.client.records import Facts
from node.client.vault import Vault
from node.errors import Usage

SIGNED: Final = "depoli/attestation/1"
_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_question: Final = click.option(
    "--question", type=_FILE, help="The payer's file. Left out, the question that came by post."
)
_output: Final = click.option(
    "--output", type=_FILE, help="New file for the payer. Left out, the answer goes by post."
)


@click.group(cls=Verbs)
def renewal() -> None:
    """Prove the day of the last reimbursement, or that an early renewal qualifies."""


@renewal.command()
@click.argument("claim", metavar="CLAIM")
@click.option(
    "--output",
    required=True,
    type=_FILE,
    help="New file for the patient: NAME.html, a page with a QR code; NAME.txt, its text; or JSON.",
)
@at_home
@json_option
@click.pass_context
def prove(context: click.Context, person: Person, claim: str, output: Path) -> None:
    """State to its patient on which day CLAIM was, which you accepted: the day, and nothing else.

    Who has the page or the file may show it to any payer of this network.
    """
    with person.vault() as vault:
        id_ = claim_id(vault, claim)

        async def view() -> Carried:
            async with person.node() as node:
                await day_proofs.require_key(node, person.sender)
                return day_proofs.prove(vault, person.sender, await node.claim(id_))

        carried = run(view())
    write_private(output, _written(carried, output, person.members))
    result = {"day": carried.day, "file": str(output)}
    emit(context, result, lambda: f"{fields(result)}\nhand it to the patient, and to nobody else")


@renewal.command("import")
@click.argument("file", type=_FILE)
@click.option("--reference", required=True, help="Your reference of it: A-Z, 0-9 and -.")
@at_home
@json_option
@click.pass_context
def import_(context: click.Context, person: Person, file: Path, reference: str) -> None:
    """Keep the proof of a day that a patient brought: JSON, or the text of its QR code.

    It is verified by the key that its payer has on the chain now.
    """
    name = as_reference(reference, "reference")
    carried = day_proofs.parse_carried(read_input(file), file.name)
    with person.vault() as vault:

        async def take() -> str:
            async with person.node() as node:
                return (await day_proofs.take(vault, node, carried, name)).day

        day = run(take())
    by = person.members.label_of(carried.issuer)
    result = {"reference": name, "day": day, "by": by}
    emit(context, result, lambda: fields(result))


@renewal.command()
@click.argument("name", metavar="AUTHORISATION")
@click.option("--proof", help="Your reference of the proof that the patient brought.")
@click.option("--claim", help="An earlier claim of yours, where the same payer asks.")
@_question
@_output
@wait_option
@at_home
@json_option
@click.pass_context
def answer(
    context: click.Context,
    person: Person,
    name: str,
    proof: str | None,
    claim: str | None,
    question: Path | None,
    output: Path | None,
) -> None:
    """Answer with the day of the last reimbursement, proved to who asked and to nobody else.

    Where no proof can be had: depoli authorisation answer FILE --answer not-provable-here.
    """
    if (proof is None) == (claim is None):
        raise Usage("give --proof or --claim, one of the two")

    def made(vault: Vault, asked: Asked, view: AuthorisationView) -> tuple[str, bytes]:
        sender, now = person.sender, int(time.time())
        if claim is not None:
            return day_proofs.show_claim(vault, claim, asked, view, sender, now)
        carried = day_proofs.carried_of(vault, str(proof))
        return carried.day, day_proofs.show(carried, asked, view, sender, now)

    _answered(context, person, name, Kind.LAST_REIMBURSEMENT_DATE, question, output, made)


@renewal.command()
@click.argument("name", metavar="AUTHORISATION")
@click.option("--before", required=True, help="Your reference of the earlier prescription.")
@click.option("--last", required=True, metavar="DAY", help="The invoice of the last glasses.")
@click.option("--on", metavar="DAY", help="The day of the new ones.  [default: today]")
@click.option("--age", required=True, type=click.IntRange(0, 130), help="Of the wearer, in years.")
@click.option("--frame", "has_frame", is_flag=True, help="A frame is claimed too.")
@click.option("--ophthalmologist", is_flag=True, help="An ophthalmologist prescribed.")
@click.option("--degraded", is_flag=True, help="The prescriber found the sight degraded.")
@click.option(
    "--listed-situation", is_flag=True, help="One that the decree lists; never say which."
)
@click.option("--prescriber", metavar="MEMBER", help="Who is to sign too: writes --output for it.")
@click.option("--signed", type=_FILE, help="What that prescriber signed.")
@_question
@_output
@wait_option
@at_home
@json_option
@click.pass_context
def attest(
    context: click.Context,
    person: Person,
    name: str,
    before: str,
    last: str,
    on: str | None,
    age: int,
    *,
    has_frame: bool,
    ophthalmologist: bool,
    degraded: bool,
    listed_situation: bool,
    prescriber: str | None,
    signed: Path | None,
    question: Path | None,
    output: Path | None,
) -> None:
    """Attest that an early renewal qualifies: yes, signed, and neither why nor by which rule.

    The vault judges by both prescriptions and what you type, all of which stays in it. A later
    block may draw it; then a health professional looks at both in your shop: depoli control.
    """
    facts = Facts(last, on or today(), age, has_frame, ophthalmologist, degraded, listed_situation)

    def made(vault: Vault, asked: Asked, view: AuthorisationView) -> tuple[str, bytes]:
        now = int(time.time())
        attestation = early.attest(vault, person.sender, asked, view, before, facts, now=now)
        if signed is not None and len(attestation.signatures()) == 1:
            plain = sealing.unseal(read_input(signed), signed.name, person.sealing_seed)
            attestation = _parse_signed(plain, signed.name)
            early.replace(vault, attestation)
        return "yes", encode(attestation)

    kind = Kind.EARLY_RENEWAL_QUALIFIES
    if prescriber is None:
        _answered(context, person, name, kind, question, output, made)
        return
    if output is None:
        raise Usage("--prescriber needs --output, for what the prescriber is shown")
    member = person.members.id_of(prescriber)

    async def draft(vault: Vault, id_: bytes) -> bytes:
        async with person.node() as node:
            if (await node.member(member)).family != "prescriber":
                raise Usage(f"{prescriber} is no prescriber: nobody else is shown prescriptions")
            await person.post(vault, node).require_key(member)
            asked, view = await _question_of(vault, node, id_, kind, question, person)
            made(vault, asked, view)
        record = controls.load(vault, id_)[1]
        opening = controls.open_to(vault, record, member, now=int(time.time()))
        return await person.sealed(opening.to_json(), member)

    with person.vault() as vault:
        write_private(output, run(draft(vault, authorisation_id(vault, name))))
    result = {"file": str(output), "for": person.members.label_of(member)}
    emit(context, result, lambda: f"{fields(result)}\nnothing was answered yet")


@renewal.command()
@click.argument("file", type=_FILE)
@click.option("--output", type=_FILE, help="New file for the shop. Left out, it is only shown.")
@at_home
@json_option
@click.pass_context
def countersign(context: click.Context, person: Person, file: Path, output: Path | None) -> None:
    """Sign, as the prescriber, what a shop attests; or look at both prescriptions in FILE."""
    plain = sealing.unseal(read_input(file), file.name, person.sealing_seed)
    opening = controls.parse_opening(plain, file.name)
    result = shown_opening(opening, person.members, now=int(time.time()))
    if output is not None:
        says = opening.attestation.says
        sender = person.sender
        mine = attestations.sign(says.message(), sender.member, sender.key, sender.role)
        both = early.countersign(opening.attestation, mine)
        value = {"format": SIGNED, "attestation": encode(both).hex()}
        content = json.dumps(value, indent=2).encode() + b"\n"
        write_private(output, run(person.sealed(content, says.optician)))
        result |= {"file": str(output)}
    emit(context, result, lambda: fields(result))


Made = Callable[[Vault, Asked, AuthorisationView], tuple[str, bytes]]


def _answered(
    context: click.Context,
    person: Person,
    name: str,
    kind: Kind,
    question: Path | None,
    output: Path | None,
    made: Made,
) -> None:
    """Answer a question with what `made` proves, and tell the payer."""
    given: list[Asked] = []

    async def do(acts: Acts, id_: bytes) -> CallOutcome:
        async with person.node() as node:
            asked, view = await _question_of(acts.vault, node, id_, kind, question, person)
            text, proof = made(acts.vault, asked, view)
            if not answers.is_given(acts.vault, asked):
                chain_id, now = person.sender.chain_id, int(time.time())
                await answers.verify_proof(asked, text, proof, view, node, chain_id, now=now)
        outcome, answered = await acts.answer(asked, text, proof)
        if outcome.code == 0:
            given.append(answered)
            with acts.vault.changes():
                answers.keep_answered(acts.vault, answered)
        return outcome

    async def payer(node: NodeClient, id_: bytes) -> str:
        return (await authorisation_of(node, id_)).payer

    def letter(_acts: Acts, _id: bytes, recipient: bytes) -> Letter:
        return letter_of_question(given[0], recipient)

    telling = Telling(output, payer, letter)
    acted(context, person, name, "answered", do, kind="authorisation", telling=telling)


async def _question_of(
    vault: Vault,
    node: NodeClient,
    id_: bytes,
    kind: Kind,
    file: Path | None,
    person: Person,
) -> tuple[Asked, AuthorisationView]:
    """Return what is asked of us, by post or in a file, as it stands on the chain."""
    if file is None:
        asked = answers.asked_of_us(vault, id_, kind)
    else:
        plain = sealing.unseal(read_input(file), file.name, person.sealing_seed)
        asked = questions.parse_asked(plain, file.name)
        if (asked.authorisation, asked.question.kind) != (id_, kind):
            raise Usage(f"{file} asks something else, or about another prior agreement")
    view = await authorisation_of(node, id_)
    asked.verify(view.questions, view.answers)
    return asked, view


def _written(carried: Carried, output: Path, members: Members) -> bytes:
    match output.suffix.lower():
        case ".html" | ".htm":
            return reimbursement_page.page(carried, members).encode()
        case ".txt":
            return carried.to_text().encode() + b"\n"
        case _:
            return carried.to_json()


def _parse_signed(data: bytes, name: str) -> attestations.Attestation:
    value: dict[str, Any] = parse_object(data, name)
    text = value.get("attestation")
    if value.get("format") == SIGNED and isinstance(text, str) and len(text) < 1 << 16:
        try:
            return parse_attestation(bytes.fromhex(text))
        except (ValueError, BadDocument):
            pass
    raise NotReadable(f"{name} is nothing that a prescriber signed")
