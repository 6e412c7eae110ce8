"""Questions: two kinds and no third, and a chain that shows the same whatever is asked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import BadDocument
from contracts.questions import DAYS_MAX, Answer, Kind, Question, parse_answer, parse_question
from ledger.hashing import Domain, hash_of

SALT, OTHER_SALT = bytes(range(32)), bytes(range(1, 33))
salts = st.binary(min_size=32, max_size=32)
questions = st.builds(Question, salts, st.sampled_from(Kind))


@st.composite
def answers(draw: st.DrawFn) -> tuple[Question, Answer]:
    question = draw(questions)
    most = DAYS_MAX if question.kind is Kind.LAST_REIMBURSEMENT_DATE else 1
    value = draw(st.none() | st.integers(0, most))
    return question, Answer(question.commitment(), draw(salts), question.kind, value)


def test_there_are_two_kinds() -> None:
    assert {kind.name: kind.value for kind in Kind} == {
        "LAST_REIMBURSEMENT_DATE": 1,
        "EARLY_RENEWAL_QUALIFIES": 2,
    }


@given(questions)
def test_a_question_is_parsed_to_itself(question: Question) -> None:
    assert parse_question(question.encode()) == question


@given(answers())
def test_an_answer_is_parsed_to_itself(pair: tuple[Question, Answer]) -> None:
    question, answer = pair
    assert parse_answer(question, answer.encode()) == answer


@given(questions, answers())
def test_all_have_one_length(question: Question, pair: tuple[Question, Answer]) -> None:
    assert len(question.encode()) == 33
    assert len(pair[1].encode()) == 36
    assert len(question.commitment()) == len(pair[1].commitment()) == 32


@given(st.binary(min_size=33, max_size=33))
def test_no_third_kind_is_a_question(data: bytes) -> None:
    if data[32] in (1, 2):
        assert parse_question(data).encode() == data
    else:
        with pytest.raises(BadDocument, match="no third"):
            parse_question(data)


@given(questions, st.binary(max_size=40) | st.binary(min_size=36, max_size=36))
def test_any_bytes_are_an_answer_or_refused(question: Question, data: bytes) -> None:
    try:
        answer = parse_answer(question, data)
    except BadDocument:
        return
    assert answer.encode() == data
    assert answer.kind is question.kind


@pytest.mark.parametrize("length", [0, 32, 34])
def test_a_question_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(BadDocument, match="33 bytes"):
        parse_question(bytes(length))


@pytest.mark.parametrize(
    ("tail", "why"),
    [
        (b"\x01\x01\x00", "36 bytes"),
        (b"\x01\x01\x00\x00\x00", "36 bytes"),
        (b"\x00\x01\x00\x00", "no third"),
        (b"\x03\x01\x00\x00", "no third"),
        (b"\x01\x02\x00\x00", "is proved, or has no value"),
        (b"\x01\x00\x00\x01", "is proved, or has no value"),
        (b"\x02\x01\x00\x01", "other question"),
        (b"\x02\x01\x00\x02", "out of range"),
    ],
)
def test_what_is_no_answer_is_refused(tail: bytes, why: str) -> None:
    question = Question(SALT, Kind.LAST_REIMBURSEMENT_DATE)
    with pytest.raises(BadDocument, match=why):
        parse_answer(question, OTHER_SALT + tail)


def test_that_it_cannot_be_proved_here_is_an_answer() -> None:
    question = Question(SALT, Kind.EARLY_RENEWAL_QUALIFIES)
    answer = parse_answer(question, OTHER_SALT + b"\x02\x00\x00\x00")
    assert answer.value is None


def test_a_commitment_is_to_salt_and_kind_and_an_answer_to_its_question_too() -> None:
    asked = Question(SALT, Kind.LAST_REIMBURSEMENT_DATE)
    assert asked.commitment() == hash_of(Domain.QUESTION, SALT, b"\x01")
    answer = Answer(asked.commitment(), OTHER_SALT, asked.kind, 20_000)
    encoded = OTHER_SALT + b"\x01\x01" + (20_000).to_bytes(2)
    assert answer.commitment() == hash_of(Domain.ANSWER, asked.commitment(), encoded)
    other = Question(OTHER_SALT, Kind.LAST_REIMBURSEMENT_DATE)
    moved = Answer(other.commitment(), OTHER_SALT, asked.kind, 20_000)
    assert moved.encode() == answer.encode()
    assert moved.commitment() != answer.commitment()


@pytest.mark.parametrize("salt", [b"", bytes(16), bytes(33)])
def test_a_salt_has_32_bytes(salt: bytes) -> None:
    with pytest.raises(BadDocument, match="32 bytes"):
        Question(salt, Kind.LAST_REIMBURSEMENT_DATE)
    with pytest.raises(BadDocument, match="32 bytes"):
        Answer(Question(SALT, Kind.LAST_REIMBURSEMENT_DATE).commitment(), salt, Kind(1), None)
