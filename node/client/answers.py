"""What a payer learns of an answer, once every word of it is verified: a day, or one bit.

That it cannot be proved where it was asked is an answer, and never a refusal by itself.
"""

from dataclasses import dataclass, replace

from contracts.questions import Kind
from node.client import day_proofs, early, questions
from node.client.acts import asked_of
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
    members = await verify_proof(asked, text, asked.proof, view, node, chain_id, now=now)
    return Answered(answer.kind, text, members), view


async def verify_proof(
    asked: Asked,
    text: str,
    proof: bytes,
    view: AuthorisationView,
    node: NodeClient,
    chain_id: bytes,
    *,
    now: int,
) -> tuple[bytes, ...]:
    """Return the members by whose word `text` answers a question; raise `NotVerified`.

    Who answers looks by this too, before it does: an answer is given once.
    """
    if asked.question.kind is Kind.EARLY_RENEWAL_QUALIFIES:
        attestation = await early.verify(proof, asked, view, node, chain_id, now)
        return tuple(each.member for each in attestation.signatures())
    day, member = await day_proofs.verify(proof, asked, view, node, chain_id, now)
    if day != text:
        raise NotVerified("day", "the proof states another day than the answer")
    return (member,)


def at_our_rate(vault: Vault, asked: Asked) -> Asked:
    """Return an answer with the rate of control that we asked at, whatever its file says of it.

    Raises `NotVerified` where a renewal is said to qualify, and this vault did not ask.
    """
    found = find(vault, QuestionRecord, questions.name_of_record(asked))
    if found is not None and found[1].question == asked.question.encode():
        return replace(asked, control=found[1].control)
    answer = asked.answer
    if (
        answer is not None
        and answer.kind is Kind.EARLY_RENEWAL_QUALIFIES
        and questions.needs_proof(answer.kind, answer.value)
    ):
        raise NotVerified(
            "question",
            "it was not asked from this vault, which so knows no rate of control",
            hint="read it with the home that asked: depoli authorisation answer FILE",
        )
    return asked


async def take(
    vault: Vault, node: NodeClient, asked: Asked, chain_id: bytes, *, now: int
) -> Answered:
    """Return what the answer to a question of ours says, and keep it; raise as `verify`."""
    asked = at_our_rate(vault, asked)
    answered = (await verify(asked, node, chain_id, now=now))[0]
    with vault.changes():
        keep_answered(vault, asked)
    return answered


def is_given(vault: Vault, asked: Asked) -> bool:
    """Return whether we answered that already: what was said then stays, whatever holds now."""
    found = find(vault, QuestionRecord, questions.name_of_record(asked))
    return found is not None and found[1].answer is not None


def kept(vault: Vault, authorisation: bytes, kind: Kind) -> Asked | None:
    """Return what was asked and answered of this kind, as far as it is kept here."""
    found = find(vault, QuestionRecord, f"{authorisation.hex()} {kind}")
    return None if found is None else asked_of(found[1])


def asked_of_us(vault: Vault, authorisation: bytes, kind: Kind) -> Asked:
    """Return the question of this kind that came by post; raise `NotFound`."""
    asked = kept(vault, authorisation, kind)
    if asked is None:
        raise NotFound(
            "nobody asked that by post about this prior agreement",
            hint="depoli post run --once takes what lies there; name the file that was handed over"
            " with --question",
        )
    return replace(asked, answer=None, proof=None)


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
