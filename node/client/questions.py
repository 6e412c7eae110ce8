"""The question about a prior agreement, and its answer, as files sealed to the other side.

Their commitments stand on the chain, and each is checked against its own: of the two questions one
was asked, and this is the answer to it.
"""

import datetime as dt
import json
import re
import secrets
from dataclasses import dataclass
from typing import Final

from contracts.errors import BadDocument
from contracts.questions import SALT_BYTES, Answer, Kind, Question, parse_answer, parse_question
from node.client.errors import NotReadable, NotVerified, Refused
from node.client.reading import parse_object

FORMAT: Final = "depoli/question/1"
_FIELDS: Final = {"format", "authorisation", "question", "answer"}
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

    def to_json(self) -> bytes:
        """Return it as a file. It tells of a person's renewal: seal it."""
        value = {
            "format": FORMAT,
            "authorisation": self.authorisation.hex(),
            "question": self.question.encode().hex(),
            "answer": None if self.answer is None else self.answer.encode().hex(),
        }
        return json.dumps(value, indent=2).encode() + b"\n"

    def verify(self, questions: tuple[str, ...], answers: tuple[str, ...]) -> None:
        """Raise `NotVerified` unless these are the commitments on the chain, in hexadecimal."""
        if self.question.commitment().hex() not in questions:
            raise NotVerified("question", "it is not one that was asked on the chain", hint=_HINT)
        if self.answer is not None and self.answer.commitment().hex() not in answers:
            raise NotVerified("answer", "it is not the one that was given on the chain", hint=_HINT)


def new_question(authorisation: bytes, kind: Kind) -> Asked:
    """Return a question with a salt of its own."""
    return Asked(authorisation, Question(secrets.token_bytes(SALT_BYTES), kind))


def new_answer(asked: Asked, text: str) -> Asked:
    """Return the question with the answer that a person typed; raise `Refused`."""
    question = asked.question
    value = parse_value(question.kind, text)
    answer = Answer(question.commitment(), secrets.token_bytes(SALT_BYTES), question.kind, value)
    return Asked(asked.authorisation, question, answer)


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
    except BadDocument as error:
        raise NotReadable(f"{name}: {error}") from None
    return Asked(authorisation, question, answer)


def _bytes(value: object) -> bytes:
    if isinstance(value, str) and re.fullmatch("([0-9a-f]{2}){1,64}", value):
        return bytes.fromhex(value)
    raise BadDocument("what is no hexadecimal text stands where one must")
