"""The question about a prior agreement, and its answer, as files sealed to the other side.

Their commitments stand on the chain, and each is checked against its own: of the two questions one
was asked, and this is the answer to it, with the proof of what it says. Every such file has one
length, so that who carries it does not learn which question it is, nor whether it was answered.
"""

import base64
import binascii
import datetime as dt
import json
import re
import secrets
from dataclasses import dataclass
from typing import Final

from contracts.early import PER_THOUSAND
from contracts.errors import BadDocument
from contracts.questions import SALT_BYTES, Answer, Kind, Question, parse_answer, parse_question
from contracts.reimbursement import MAX_PROOF_BYTES, salt_of
from node.client.errors import NotReadable, NotVerified, Refused
from node.client.reading import parse_object

FORMAT: Final = "depoli/question/1"
_FIELDS: Final = {"format", "authorisation", "question", "answer", "proof", "control"}
CONTROL: Final = 50  # of 1,000 attestations, so many are looked into where a payer says nothing
FILE_BYTES: Final = 4 << 10  # the longest proof, of a claim's document, leaves a third of it
_EPOCH: Final = dt.date(1970, 1, 1)
UNPROVABLE: Final = "not-provable-here"
_HINT: Final = "was it given just now, your node may not have the block: try again in a moment"
_YES_NO: Final = {"yes": 1, "no": 0}


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about a prior agreement, with its answer once there is one."""

    authorisation: bytes
    question: Question
    answer: Answer | None = None
    proof: bytes | None = None  # of what the answer says
    control: int = CONTROL

    def to_json(self) -> bytes:
        """Return it as a file. It tells of a person's renewal: seal it."""
        proof = None if self.proof is None else base64.b64encode(self.proof).decode()
        value = {
            "format": FORMAT,
            "authorisation": self.authorisation.hex(),
            "question": self.question.encode().hex(),
            "answer": None if self.answer is None else self.answer.encode().hex(),
            "proof": proof,
            "control": self.control,
        }
        text = json.dumps(value, indent=2).encode()
        return text + b" " * (-(len(text) + 1) % FILE_BYTES) + b"\n"

    def verify(self, questions: tuple[str, ...], answers: tuple[str, ...]) -> None:
        """Raise `NotVerified` unless these are the commitments on the chain, in hexadecimal."""
        if self.question.commitment().hex() not in questions:
            raise NotVerified("question", "it is not one that was asked on the chain", hint=_HINT)
        if self.answer is None:
            return
        if self.answer.commitment().hex() not in answers:
            raise NotVerified("answer", "it is not the one that was given on the chain", hint=_HINT)
        if needs_proof(self.answer.kind, self.answer.value) and (
            self.proof is None or self.answer.salt != salt_of(self.proof)
        ):
            raise NotVerified("proof", "the answer on the chain was given with another, or none")


def new_question(authorisation: bytes, kind: Kind, control: int = CONTROL) -> Asked:
    """Return a question with a salt of its own."""
    salt = secrets.token_bytes(SALT_BYTES)
    return Asked(authorisation, Question(salt, kind), control=control)


def new_answer(asked: Asked, text: str, proof: bytes | None = None) -> Asked:
    """Return the question with the answer that a person typed; raise `Refused`.

    A day, and that a renewal qualifies, are said with a proof, for which the answer's salt stands
    on the chain too. That it does not, or cannot be proved, needs none.
    """
    question = asked.question
    value = parse_value(question.kind, text)
    needed = needs_proof(question.kind, value)
    if (proof is None) is needed:
        raise Refused(
            "answer",
            f"{text} is said with its proof" if needed else f"{text} has no proof",
            hint="depoli renewal answer and depoli renewal attest make one; where none can be had,"
            f" the answer is {UNPROVABLE}",
        )
    salt = secrets.token_bytes(SALT_BYTES) if proof is None else salt_of(proof)
    answer = Answer(question.commitment(), salt, question.kind, value)
    return Asked(asked.authorisation, question, answer, proof, asked.control)


def needs_proof(kind: Kind, value: int | None) -> bool:
    """Return whether this is said with a proof: a day, or that a renewal qualifies."""
    return bool(value) if kind is Kind.EARLY_RENEWAL_QUALIFIES else value is not None


def parse_kind(text: str) -> Kind:
    """Return the question of this name; raise `Refused`."""
    try:
        return Kind[text.upper().replace("-", "_")]
    except KeyError:
        known = " and ".join(name_of(kind) for kind in Kind)
        raise Refused("question", f"there are two: {known}") from None


def parse_value(kind: Kind, text: str) -> int | None:
    """Return what an answer says; None: it cannot be proved here. Raises `Refused`."""
    if text == UNPROVABLE:
        return None
    if kind is Kind.EARLY_RENEWAL_QUALIFIES:
        if text in _YES_NO:
            return _YES_NO[text]
        raise Refused("answer", f"must be yes, no or {UNPROVABLE}")
    try:
        days = (dt.date.fromisoformat(text) - _EPOCH).days
    except ValueError:
        days = -1
    if days < 0:
        raise Refused("answer", f"must be a day, YYYY-MM-DD, or {UNPROVABLE}")
    return days


def name_of(kind: Kind) -> str:
    """Return how a question is called at a terminal."""
    return kind.name.lower().replace("_", "-")


def name_of_record(asked: Asked) -> str:
    """Return under which name the vault keeps a question and its answer."""
    return f"{asked.authorisation.hex()} {asked.question.kind}"


def said(answer: Answer) -> str:
    """Return what an answer says, as it was typed."""
    if answer.value is None:
        return UNPROVABLE
    if answer.kind is Kind.EARLY_RENEWAL_QUALIFIES:
        return "yes" if answer.value else "no"
    return (_EPOCH + dt.timedelta(answer.value)).isoformat()


def parse_asked(data: bytes, name: str) -> Asked:
    """Return the question in a file, and its answer; raise `NotReadable`. `name` is the file's."""
    value = parse_object(data, name)
    if value.get("format") != FORMAT or value.keys() != _FIELDS:
        raise NotReadable(f"{name} is no question about a prior agreement")
    try:
        question = parse_question(_bytes(value["question"]))
        answer = (
            None if value["answer"] is None else parse_answer(question, _bytes(value["answer"]))
        )
        authorisation = _bytes(value["authorisation"])
        proof = None if value["proof"] is None else _proof(value["proof"])
        control = _control(value["control"])
    except BadDocument as error:
        raise NotReadable(f"{name}: {error}") from None
    return Asked(authorisation, question, answer, proof, control)


def _bytes(value: object) -> bytes:
    if isinstance(value, str) and re.fullmatch("([0-9a-f]{2}){1,64}", value):
        return bytes.fromhex(value)
    raise BadDocument("what is no hexadecimal text stands where one must")


def _proof(value: object) -> bytes:
    text = value if isinstance(value, str) and len(value) <= 2 * MAX_PROOF_BYTES else ""
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise BadDocument("the proof is not base64") from None


def _control(value: object) -> int:
    if type(value) is int and 0 <= value <= PER_THOUSAND:
        return value
    raise BadDocument(f"control must be 0 to {PER_THOUSAND}")
