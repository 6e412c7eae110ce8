"""What a payer may ask before it agrees, and what it may be told: two questions, and no third.

Question and answer travel sealed, beside the chain, which holds a commitment to each. Both have one
length whatever is asked and answered, and a salt of 32 bytes, so that who does not hold them learns
from the chain that something was asked, and nothing else.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from contracts.errors import BadDocument
from ledger.hashing import Domain, Hash, hash_of

SALT_BYTES: Final = 32
DAYS_MAX: Final = (1 << 16) - 1  # since 1 January 1970: until 2149
_UNPROVABLE, _PROVED = 0, 1
_VALUE_BYTES: Final = 2
_QUESTION_BYTES: Final = SALT_BYTES + 1
_ANSWER_BYTES: Final = SALT_BYTES + 2 + _VALUE_BYTES


class Kind(IntEnum):
    """What may be asked; the numbers never change, and no third is ever added."""

    LAST_REIMBURSEMENT_DATE = 1
    EARLY_RENEWAL_QUALIFIES = 2


KINDS: Final = len(Kind)


@dataclass(frozen=True, slots=True)
class Question:
    """A question, as its salt and kind."""

    salt: bytes
    kind: Kind

    def __post_init__(self) -> None:
        _require_salt(self.salt)

    def encode(self) -> bytes:
        """Return what travels sealed: salt, kind."""
        return self.salt + bytes((self.kind,))

    def commitment(self) -> Hash:
        """Return what stands on the chain."""
        return hash_of(Domain.QUESTION, self.encode())


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to one question; `value` is None where it cannot be proved here."""

    question: Hash  # commitment of the question that it answers
    salt: bytes
    kind: Kind
    value: int | None  # days since 1 January 1970, or 1 and 0 for yes and no

    def __post_init__(self) -> None:
        _require_salt(self.salt)
        most = DAYS_MAX if self.kind is Kind.LAST_REIMBURSEMENT_DATE else 1
        if self.value is not None and not 0 <= self.value <= most:
            raise BadDocument("the value of the answer is out of range")

    def encode(self) -> bytes:
        """Return what travels sealed: salt, kind, whether it is proved, value."""
        proved = _UNPROVABLE if self.value is None else _PROVED
        return self.salt + bytes((self.kind, proved)) + (self.value or 0).to_bytes(_VALUE_BYTES)

    def commitment(self) -> Hash:
        """Return what stands on the chain; it serves for this question alone."""
        return hash_of(Domain.ANSWER, self.question, self.encode())


def parse_question(data: bytes) -> Question:
    """Return the question that `data` encodes, or raise `BadDocument`."""
    if len(data) != _QUESTION_BYTES:
        raise BadDocument(f"a question has {_QUESTION_BYTES} bytes, not {len(data)}")
    return Question(data[:SALT_BYTES], _kind(data[SALT_BYTES]))


def parse_answer(question: Question, data: bytes) -> Answer:
    """Return the answer to `question` that `data` encodes, or raise `BadDocument`."""
    if len(data) != _ANSWER_BYTES:
        raise BadDocument(f"an answer has {_ANSWER_BYTES} bytes, not {len(data)}")
    salt, (kind, proved), rest = data[:SALT_BYTES], data[SALT_BYTES:][:2], data[SALT_BYTES + 2 :]
    value = int.from_bytes(rest)
    if proved not in (_UNPROVABLE, _PROVED) or (proved == _UNPROVABLE and value):
        raise BadDocument("an answer is proved, or has no value")
    answer = Answer(question.commitment(), salt, _kind(kind), value if proved == _PROVED else None)
    if answer.kind is not question.kind:
        raise BadDocument("the answer is to the other question")
    return answer


def _kind(number: int) -> Kind:
    try:
        return Kind(number)
    except ValueError:
        raise BadDocument("there are two questions, and no third") from None


def _require_salt(salt: bytes) -> None:
    if len(salt) != SALT_BYTES:
        raise BadDocument(f"a salt has {SALT_BYTES} bytes, not {len(salt)}")
