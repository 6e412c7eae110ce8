"""What a payer learns of an answer, once every word of it is verified: a day, or one bit.

That it cannot be proved where it was asked is an answer, and never a refusal by itself.
"""

from dataclasses import dataclass

from contracts.questions import Kind, parse_question
from node.client import day_proofs, early, questions
from node.client.agreements import AuthorisationView, authorisation_of
from node.client.client import NodeClient
from node.client.errors import NotFound, NotVerified
from node.client.explanations import explanation
from node.client.questions import Asked
from node.client.records import ControlRecord, QuestionRecord, find, keep, update
from node.client.vault import Vault


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer that holds against the chain."""

    kind: Kind
    text: str  # a day, yes, no, or not-provable-here
    word_of: tuple[bytes, ...]  # members whose word it is; nobody's where nothing is proved


async def verify(
    asked: Asked, node: NodeClient, chain_id: bytes, *, now: int
) -> tuple[Answered, AuthorisationView]:
    """Return what an answer says, verified with its proof; raise `NotVerified`, `NotFound`."""
    view = await authorisation_of(node, asked.authorisation)
    asked.verify(view.questions, view.answers)
    answer = asked.answer
    if answer is None:
        raise NotVerified("answer", "there is none in it")
    text = questions.said(answer)
    if not questions.needs_proof(answer.kind, answer.value):
        return Answered(answer.kind, text, ()), view
    assert asked.proof is not None  # `Asked.verify` has looked
    if answer.kind is Kind.EARLY_RENEWAL_QUALIFIES:
        attestation = await early.verify(asked.proof, asked, view, node, chain_id, now)
        members = tuple(each.member for each in attestation.signatures())
        return Answered(answer.kind, text, members), view
    day, member = await day_proofs.verify(asked.proof, asked, view, node, chain_id, now)
    if day != text:
        raise NotVerified("day", "the proof states another day than the answer")
    return Answered(answer.kind, text, (member,)), view


async def take(
    vault: Vault, node: NodeClient, asked: Asked, chain_id: bytes, *, now: int
) -> Answered:
    """Return what the answer to a question of ours says, and keep it; raise as `verify`."""
    answered = (await verify(asked, node, chain_id, now=now))[0]
    with vault.changes():
        keep_answered(vault, asked)
    return answered


def asked_of_us(vault: Vault, authorisation: bytes, kind: Kind) -> Asked:
    """Return the question of this kind that came by post; raise `NotFound`."""
    found = find(vault, QuestionRecord, f"{authorisation.hex()} {kind}")
    if found is None:
        raise NotFound(
            "nobody asked that by post about this prior agreement",
            hint="depoli post run --once takes what lies there; name the file that was handed over"
            " with --question",
        )
    question = parse_question(found[1].question)
    return Asked(authorisation, question, control=found[1].control)


def keep_answered(vault: Vault, asked: Asked) -> None:
    """Keep an answer that was verified; inside `changes()`."""
    assert asked.answer is not None  # `verify` has looked
    label = questions.name_of_record(asked)
    found = find(vault, QuestionRecord, label)
    record = QuestionRecord(
        authorisation=asked.authorisation,
        question=asked.question.encode(),
        answer=asked.answer.encode(),
        proof=asked.proof,
        control=asked.control,
    )
    if found is None:
        keep(vault, record, label)
    else:
        update(vault, found[0], record)
    if asked.proof is not None and asked.question.kind is Kind.EARLY_RENEWAL_QUALIFIES:
        keep_for_control(vault, asked.authorisation.hex(), asked)


def keep_for_control(vault: Vault, authorisation: str, asked: Asked) -> None:
    """Keep which answer an attestation went with, ours or one given to us; inside `changes()`."""
    assert asked.answer is not None
    assert asked.proof is not None
    commitment = asked.answer.commitment()
    found = find(vault, ControlRecord, authorisation)
    if found is None:
        record = ControlRecord(
            authorisation=asked.authorisation, attestation=asked.proof, answer=commitment
        )
        keep(vault, record, authorisation)
    elif found[1].answer is None:
        found[1].answer = commitment
        update(vault, *found)


async def height_of(node: NodeClient, view: AuthorisationView, answer: bytes) -> int:
    """Return at which height an answer stands on the chain; raise `NotVerified`."""
    told = await explanation(node, "authorisation", bytes.fromhex(view.id))
    given = [
        each.height
        for each in told.history
        if each.call == "AuthorisationAnswer" and each.outcome.code == 0
    ]
    if answer.hex() not in view.answers or len(given) != len(view.answers):
        raise NotVerified("answer", "the node does not show when it was given")
    return given[view.answers.index(answer.hex())]
