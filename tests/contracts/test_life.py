"""The engine of lives, on a small life of its own: a letter that one sends and another answers."""

from enum import IntEnum
from typing import Final

import msgspec
import pytest

from contracts.calls import ClaimAccept, ClaimCancel, ClaimReject, Reason
from contracts.calls.prescription import PrescriptionCommit
from contracts.context import Context
from contracts.errors import Refusal, Refused
from contracts.life import Life, Row
from contracts.parameters import Parameters
from contracts.registry import Family, Key
from contracts.state import Nothing, Overlay, Reader
from ledger.encoding import Struct
from ledger.hashing import Hash
from ledger.keys import Algorithm, Role
from ledger.validators import Bytes16, MemberId

WRITER: Final = MemberId(b"w" * 16)
READER: Final = MemberId(b"r" * 16)
STRANGER: Final = MemberId(b"s" * 16)


class State(IntEnum):
    SENT = 1
    ANSWERED = 2
    TORN = 3
    KEPT = 4


class Party(IntEnum):
    WRITER = 1
    READER = 2


class Letter(Struct):
    writer: Bytes16
    reader: Bytes16
    time: int
    state: State = State.SENT
    since: int = 0
    notes: tuple[int, ...] = ()


def make(context: Context, _call: PrescriptionCommit) -> Letter:
    return Letter(context.sender, READER, context.time)


def from_optician(context: Context, _letter: Letter | None, _call: object) -> None:
    """Require that an optician writes it."""
    if context.family is not Family.OPTICIAN:
        raise Refused(Refusal.SENDER_NOT_ELIGIBLE)


def says_other(_context: Context, _letter: Letter | None, call: ClaimReject) -> bool:
    """Return whether the reason is none in particular."""
    return call.reason is Reason.OTHER


def note_it(_context: Context, _id: bytes, letter: Letter, _call: object) -> Letter:
    """Note it."""
    return msgspec.structs.replace(letter, notes=(*letter.notes, len(letter.notes)))


def a_day_later(_state: Reader, letter: Letter, _parameters: Parameters) -> int:
    """Return when it is a day old."""
    return letter.time + 86_400


def by_window(_state: Reader, letter: Letter, parameters: Parameters) -> int:
    """Return when the window for disputes closes."""
    return letter.time + parameters.dispute_window_s


LIFE: Final[Life[Letter]] = Life(
    name="claim",
    thing=Letter,
    prefix=b"!",
    parties={Party.WRITER: "writer", Party.READER: "reader"},
    unknown=Refusal.CLAIM_UNKNOWN,
    not_yours=Refusal.CLAIM_NOT_YOURS,
    wrong_state=Refusal.CLAIM_IN_WRONG_STATE,
    make=make,
    rows=(
        Row(
            None,
            PrescriptionCommit,
            Party.WRITER,
            State.SENT,
            guards=(from_optician,),
            effects=(note_it,),
        ),
        Row(State.SENT, ClaimAccept, Party.READER, State.ANSWERED, effects=(note_it, note_it)),
        Row(State.SENT, ClaimReject, Party.READER, State.KEPT, when=says_other),
        Row(State.SENT, ClaimReject, Party.READER, State.TORN, guards=(from_optician,)),
        Row(State.ANSWERED, ClaimReject, Party.WRITER, State.TORN),
        Row(
            State.ANSWERED,
            ClaimCancel,
            Party.WRITER,
            State.TORN,
            opens=a_day_later,
            closes=by_window,
        ),
    ),
)


def context(sender: MemberId = WRITER, *, time: int = 1_000) -> Context:
    key = Key(Role.TRANSACTION, Algorithm.ED25519, bytes(32), 0, None)
    return Context(
        Overlay(Nothing()),
        Parameters(),
        bytes(32),
        7,
        time,
        sender,
        Family.OPTICIAN,
        key,
        Hash(bytes(32)),
        0,
    )


def sent() -> tuple[Context, bytes]:
    made = context()
    assert LIFE.apply(made, PrescriptionCommit(bytes(32))) == (READER,)
    return made, made.new_id()


def by(made: Context, sender: MemberId, *, time: int = 1_000) -> Context:
    return msgspec.structs.replace(made, sender=sender, time=time)


def state_of(made: Context, id_: bytes) -> State:
    found = LIFE.load(made.state, id_)
    assert found is not None
    return found.state


def refused(made: Context, call: Struct) -> tuple[Refusal, tuple[int, ...]]:
    before = dict(made.state.changes)
    with pytest.raises(Refused) as caught:
        LIFE.apply(made, call)
    assert made.state.changes == before
    return caught.value.refusal, caught.value.evidence


def test_a_thing_is_made_in_the_state_and_with_the_effects_of_its_row() -> None:
    made, id_ = sent()
    assert LIFE.load(made.state, id_) == Letter(WRITER, READER, 1_000, State.SENT, 0, (0,))


def test_a_guard_of_what_makes_a_thing_keeps_it_from_being_made() -> None:
    stranger = msgspec.structs.replace(context(), family=Family.AUDITOR)
    found = refused(stranger, PrescriptionCommit(bytes(32)))
    assert found == (Refusal.SENDER_NOT_ELIGIBLE, ())


def test_effects_follow_one_another_and_the_state_is_that_of_the_row() -> None:
    made, id_ = sent()
    assert LIFE.apply(by(made, READER), ClaimAccept(id_, None)) == (WRITER,)
    assert LIFE.load(made.state, id_) == Letter(
        WRITER, READER, 1_000, State.ANSWERED, 1_000, (0, 1, 2)
    )


def test_the_first_row_is_taken_whose_condition_holds() -> None:
    for reason, after in ((Reason.OTHER, State.KEPT), (Reason.FORMAT, State.TORN)):
        made, id_ = sent()
        LIFE.apply(by(made, READER), ClaimReject(id_, reason, automatic=False))
        assert state_of(made, id_) is after


def test_a_call_by_the_wrong_one_in_the_wrong_state_or_of_nothing_changes_nothing() -> None:
    made, id_ = sent()
    accept, reject = ClaimAccept(id_, None), ClaimReject(id_, Reason.FORMAT, automatic=False)
    assert refused(by(made, WRITER), accept) == (Refusal.CLAIM_NOT_YOURS, ())
    assert refused(by(made, STRANGER), reject) == (Refusal.CLAIM_NOT_YOURS, ())
    assert refused(by(made, WRITER), reject) == (Refusal.CLAIM_NOT_YOURS, ())  # but later it is
    assert refused(by(made, WRITER), ClaimCancel(id_)) == (
        Refusal.CLAIM_IN_WRONG_STATE,
        (State.SENT,),
    )
    unknown = ClaimAccept(bytes(32), None)
    assert refused(by(made, READER), unknown) == (Refusal.CLAIM_UNKNOWN, ())
    guarded = msgspec.structs.replace(by(made, READER), family=Family.INSURER)
    assert refused(guarded, reject) == (Refusal.SENDER_NOT_ELIGIBLE, ())


def test_a_row_is_open_from_its_first_second_to_its_last() -> None:
    made, id_ = sent()
    LIFE.apply(by(made, READER), ClaimAccept(id_, None))
    opens = a_day_later(Nothing(), Letter(WRITER, READER, 1_000), Parameters())
    closes = by_window(Nothing(), Letter(WRITER, READER, 1_000), Parameters())
    early = by(made, WRITER, time=opens - 1)
    assert refused(early, ClaimCancel(id_)) == (Refusal.TOO_EARLY, (opens,))
    late = by(made, WRITER, time=closes + 1)
    assert refused(late, ClaimCancel(id_)) == (Refusal.TOO_LATE, (closes,))
    for time in (opens, closes):
        again = by(made, WRITER, time=time)
        kept = LIFE.load(made.state, id_)
        assert kept is not None
        LIFE.apply(again, ClaimCancel(id_))
        assert state_of(made, id_) is State.TORN
        LIFE.save(made.state, id_, kept)


def test_an_applied_call_concerns_who_has_a_part_in_its_thing() -> None:
    made, id_ = sent()
    assert LIFE.concerned(made.state, PrescriptionCommit(bytes(32)), id_) == (WRITER, READER)
    assert LIFE.concerned(made.state, ClaimAccept(id_, None), bytes(32)) == (WRITER, READER)
    assert LIFE.concerned(made.state, ClaimAccept(bytes(32), None), id_) == ()


def test_what_may_happen_in_a_state_is_asked_of_the_table() -> None:
    assert {row.call for row in LIFE.open_rows(State.SENT)} == {ClaimAccept, ClaimReject}
    assert LIFE.open_rows(State.TORN) == ()
    assert set(LIFE.rules) == {PrescriptionCommit, ClaimAccept, ClaimReject, ClaimCancel}


def test_a_cell_whose_every_row_has_a_condition_is_a_fault_of_the_table() -> None:
    rows: tuple[Row[Letter], ...] = (
        Row(State.SENT, ClaimReject, Party.READER, State.KEPT, when=says_other),
    )
    made, id_ = sent()
    faulty = Life[Letter](
        "claim",
        Letter,
        b"!",
        LIFE.parties,
        LIFE.unknown,
        LIFE.not_yours,
        LIFE.wrong_state,
        make,
        rows,
    )
    with pytest.raises(AssertionError, match="condition"):
        faulty.apply(by(made, READER), ClaimReject(id_, Reason.FORMAT, automatic=False))


def test_a_call_says_numbers_in_its_entry_until_the_next_one_begins() -> None:
    made = context()
    made.say(State.KEPT, 5)
    assert made.said == (4, 5)
    made.begin(1)
    assert made.position == 1
    assert not made.said


def test_a_call_knows_whether_a_person_signed_it() -> None:
    made = context()
    assert not made.is_human
    key = msgspec.structs.replace(made.key, role=Role.HUMAN)
    assert msgspec.structs.replace(made, key=key).is_human
