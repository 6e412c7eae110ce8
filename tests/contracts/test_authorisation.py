"""Prior agreements: every state, call and party against tables by hand; each guard and effect."""

from collections.abc import Callable
from typing import Final

import msgspec
import pytest

from contracts import authorisation
from contracts.authorisation import Authorisation, State
from contracts.calls import (
    AuthorisationAnswer,
    AuthorisationAsk,
    AuthorisationCancel,
    AuthorisationGrant,
    AuthorisationRefuse,
    AuthorisationReview,
    Call,
    ClaimCancel,
    Leg,
    Reason,
)
from contracts.errors import Refusal
from contracts.explanation import explain
from contracts.marks import Held
from contracts.state import Overlay
from ledger.encoding import decode
from ledger.entry import Outcome
from ledger.keys import Algorithm, Role, key_id
from ledger.transaction import created_id
from tests.contracts.stages import (
    ANSWER,
    DECISION,
    LESS,
    MARKS,
    NAME,
    PARAMETERS,
    PAYER,
    SHOP,
    STRANGER,
    VALIDITY,
    WINDOW,
    Stage,
    authorisation_in,
    authorisation_state,
    loaded_authorisation,
    loaded_claim,
    made,
    prepared,
    request,
    staged_authorisation,
    submission,
)
from tests.contracts.test_claim_cells import tried
from tests.contracts.world import World, bytes32, key_of, mark, opening

S = State
PERSON, OTHER_PERSON = "anne", "bruno"  # at the payer
GRANTED_FOR: Final = 1_000
CALLS: Final[dict[str, Callable[[bytes, int], Call]]] = {
    "ask": lambda id_, _: AuthorisationAsk(id_, bytes32("question")),
    "answer": lambda id_, _: AuthorisationAnswer(id_, bytes32("answer")),
    "grant": lambda id_, time: AuthorisationGrant(id_, None, time + GRANTED_FOR),
    "grant in part": lambda id_, time: AuthorisationGrant(id_, LESS, time + GRANTED_FOR),
    "refuse": lambda id_, _: AuthorisationRefuse(id_, Reason.OTHER, automatic=False),
    "cancel": lambda id_, _: AuthorisationCancel(id_),
    "review": lambda id_, _: AuthorisationReview(id_),
}
PAYERS: Final = ("ask", "grant", "grant in part", "refuse")
# (state, call) -> who may, and the state after.
APPLIED: Final = {
    (S.REQUESTED, "ask"): (PAYER, S.INFO_REQUESTED),
    (S.REQUESTED, "grant"): (PAYER, S.GRANTED),
    (S.REQUESTED, "grant in part"): (PAYER, S.GRANTED_IN_PART),
    (S.REQUESTED, "refuse"): (PAYER, S.REFUSED),
    (S.REQUESTED, "cancel"): (SHOP, S.CANCELLED),
    (S.INFO_REQUESTED, "answer"): (SHOP, S.REQUESTED),
    (S.INFO_REQUESTED, "grant"): (PAYER, S.GRANTED),
    (S.INFO_REQUESTED, "grant in part"): (PAYER, S.GRANTED_IN_PART),
    (S.INFO_REQUESTED, "refuse"): (PAYER, S.REFUSED),
    (S.INFO_REQUESTED, "cancel"): (SHOP, S.CANCELLED),
    (S.GRANTED, "cancel"): (SHOP, S.CANCELLED),
    (S.GRANTED_IN_PART, "cancel"): (SHOP, S.CANCELLED),
    (S.REFUSED, "review"): (SHOP, S.UNDER_REVIEW),
    (S.REFUSED, "cancel"): (SHOP, S.CANCELLED),
    (S.UNDER_REVIEW, "grant"): (PERSON, S.GRANTED),
    (S.UNDER_REVIEW, "grant in part"): (PERSON, S.GRANTED_IN_PART),
    (S.UNDER_REVIEW, "refuse"): (PERSON, S.REFUSED),
    (S.UNDER_REVIEW, "cancel"): (SHOP, S.CANCELLED),
}
# How long the marks are held from the step that led to a state; None: without an end.
HELD: Final = {
    S.REQUESTED: VALIDITY,
    S.INFO_REQUESTED: VALIDITY,
    S.GRANTED: GRANTED_FOR,
    S.GRANTED_IN_PART: GRANTED_FOR,
    S.REFUSED: WINDOW,
    S.UNDER_REVIEW: None,
}


def expected(state: State, name: str, sender: str) -> Outcome:
    """Return the outcome that a call must have."""
    who, _ = APPLIED.get((state, name), (None, None))
    if who == sender or (who == PAYER and sender == PERSON):
        return Outcome(0)
    if who == PERSON and sender == PAYER:
        return Outcome(Refusal.PERSON_NEEDED)
    if (sender in {PAYER, PERSON}) != (name in PAYERS) or sender == STRANGER:
        return Outcome(Refusal.AUTHORISATION_NOT_YOURS)
    return Outcome(Refusal.AUTHORISATION_IN_WRONG_STATE, (state,))


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("state", State)
def test_who_may_do_what_in_each_state(state: State, name: str) -> None:
    stage = staged_authorisation(state)
    before = loaded_authorisation(stage.world, stage.id)
    for sender in (SHOP, PAYER, PERSON, STRANGER):
        call = CALLS[name](stage.id, stage.time + 1)
        outcome, overlay = tried(stage, sender, call, 1)
        assert outcome == expected(state, name, sender), sender
        found = authorisation.load(overlay, stage.id)
        assert found is not None
        if outcome.code:
            assert found == before
            continue
        _, to = APPLIED[state, name]
        assert authorisation.state_of(overlay, found, stage.time + 1) is to
        assert found.since == stage.time + 1
        held = [overlay.get(b"x" + each.mark) for each in MARKS]
        if to is S.CANCELLED:
            assert held == [None, None]
            assert found.until is None
            continue
        seconds = HELD[to]
        until = None if seconds is None else stage.time + 1 + seconds
        assert found.until == until
        assert [decode(each or b"", Held) for each in held] == [Held(stage.id, until)] * 2


@pytest.mark.parametrize("state", [S.GRANTED, S.GRANTED_IN_PART])
def test_a_claim_consumes_what_was_granted_and_inherits_its_marks(state: State) -> None:
    stage = authorisation_in(state)
    world = stage.world
    claim = made(world, msgspec.structs.replace(submission(world), authorisation=stage.id))
    found = loaded_authorisation(world, stage.id)
    assert (found.state, found.claim, found.until) == (S.CONSUMED, claim, None)
    assert found.since == world.chain.header.time
    assert loaded_claim(world, claim).authorisation == stage.id
    assert [world.holder(each.mark) for each in MARKS] == [claim] * 2
    assert world.call(SHOP, ClaimCancel(claim)) == 0
    assert [world.holder(each.mark) for each in MARKS] == [None] * 2


@pytest.mark.parametrize("state", [s for s in State if s not in (S.GRANTED, S.GRANTED_IN_PART)])
def test_what_is_not_granted_is_not_consumed(state: State) -> None:
    stage = staged_authorisation(state)
    call = msgspec.structs.replace(submission(stage.world), authorisation=stage.id)
    outcome, _ = tried(stage, SHOP, call, 1)
    assert outcome == Outcome(Refusal.AUTHORISATION_IN_WRONG_STATE, (state,))


@pytest.mark.parametrize("state", [S.GRANTED, S.GRANTED_IN_PART])
@pytest.mark.parametrize(
    ("field", "value", "index"),
    [
        ("payer", "mutual", 0),
        ("leg", Leg.BASE, 1),
        ("prescription", bytes32("another"), 2),
        ("marks", MARKS[:1], 3),
        ("marks", (mark("another"),), 3),
    ],
)
def test_a_claim_is_for_what_was_granted(
    state: State, field: str, value: object, index: int
) -> None:
    world = authorisation_in(state).world
    stage = staged_authorisation(state)
    changed = world.ids[value] if isinstance(value, str) else value
    call = msgspec.structs.replace(submission(world), authorisation=stage.id, **{field: changed})
    outcome, _ = tried(stage, SHOP, call, 1)
    assert outcome == Outcome(Refusal.AUTHORISATION_DIFFERS, (index,))


def test_an_agreement_that_there_is_not_or_is_anothers_is_not_consumed() -> None:
    stage = staged_authorisation(S.GRANTED)
    call = msgspec.structs.replace(submission(stage.world), authorisation=bytes(32))
    assert tried(stage, SHOP, call, 1)[0] == Outcome(Refusal.AUTHORISATION_UNKNOWN)
    others = msgspec.structs.replace(submission(stage.world), authorisation=stage.id)
    assert tried(stage, STRANGER, others, 1)[0] == Outcome(Refusal.AUTHORISATION_NOT_YOURS)


def test_a_claim_on_an_agreement_still_needs_its_prescription_and_a_point() -> None:
    stage = staged_authorisation(S.GRANTED)
    call = msgspec.structs.replace(submission(stage.world), authorisation=stage.id)
    bad = msgspec.structs.replace(call, amount=b"\xff" * 32)
    assert tried(stage, SHOP, bad, 1)[0] == Outcome(Refusal.AMOUNT_NOT_A_POINT)
    assert tried(stage, SHOP, call, 1)[0] == Outcome(0)


# --- the request ----------------------------------------------------------------------------------


def test_a_request_is_kept_as_made_and_takes_its_marks() -> None:
    world = prepared()
    call = request(world)
    id_ = made(world, call)
    found = loaded_authorisation(world, id_)
    kept = {field: getattr(found, field) for field in call.__struct_fields__}
    assert kept == {field: getattr(call, field) for field in call.__struct_fields__}
    header = world.chain.header
    assert (found.height, found.time, found.since) == (header.height, header.time, header.time)
    assert (found.optician, found.position) == (world.ids[SHOP], 0)
    assert created_id(found.transaction, 0) == id_
    assert [world.holder(each.mark) for each in MARKS] == [id_] * 2
    world.call(SHOP, AuthorisationCancel(id_))
    outcome = world.make(SHOP, call)  # its locks are consumed
    assert outcome == Outcome(Refusal.MARK_NOT_LOCKED, (0,))


@pytest.mark.parametrize(
    ("sender", "changes", "refusal"),
    [
        (PAYER, {}, Refusal.SENDER_NOT_ELIGIBLE),
        (SHOP, {"payer": "auditor"}, Refusal.PAYER_NOT_ELIGIBLE),
        (SHOP, {"payer": bytes(16)}, Refusal.PAYER_UNKNOWN),
        (SHOP, {"prescription": bytes32("another")}, Refusal.PRESCRIPTION_NOT_COMMITTED),
        (SHOP, {"marks": (mark("another"),)}, Refusal.MARK_NOT_LOCKED),
        (SHOP, {"amount": b"\xff" * 32}, Refusal.AMOUNT_NOT_A_POINT),
    ],
)
def test_a_request_that_breaks_a_rule_is_refused(
    sender: str, changes: dict[str, object], refusal: Refusal
) -> None:
    world = prepared()
    payer = changes.get("payer")
    if isinstance(payer, str):
        changes = changes | {"payer": world.ids[payer]}
    call = msgspec.structs.replace(request(world), **changes)
    assert world.call(sender, call) == refusal


def test_the_mark_of_an_agreement_is_in_use_for_everybody_else() -> None:
    world = authorisation_in(S.REQUESTED).world
    world.prescribe(STRANGER, NAME)
    world.lock(STRANGER, *MARKS)
    used = Outcome(Refusal.MARK_ALREADY_USED)
    mutual = msgspec.structs.replace(submission(world), payer=world.ids["mutual"])
    assert world.make(STRANGER, mutual) == used
    assert world.make(STRANGER, request(world)) == used
    world.lock(SHOP, *MARKS)
    assert world.make(SHOP, submission(world)) == used  # its own too: the claim must name it


@pytest.mark.parametrize(
    ("state", "seconds"), [(S.REQUESTED, VALIDITY), (S.GRANTED, VALIDITY - 1), (S.REFUSED, WINDOW)]
)
def test_a_mark_is_held_to_the_last_second_and_free_after_it(state: State, seconds: int) -> None:
    for late in (0, 1):
        stage = authorisation_in(state)
        world = stage.world
        world.prescribe(STRANGER, NAME)
        world.lock(STRANGER, *MARKS)
        passed = world.chain.header.time - stage_time(stage)
        outcome = world.make(STRANGER, submission(world), after=seconds - passed + late)
        assert outcome == Outcome(0 if late else Refusal.MARK_ALREADY_USED)
        expired = authorisation_state(world, stage.id) is S.EXPIRED
        assert expired == bool(late)
        if late:  # what is over takes nothing back
            cancelled = world.make(SHOP, AuthorisationCancel(stage.id))
            assert cancelled == Outcome(Refusal.AUTHORISATION_IN_WRONG_STATE, (S.EXPIRED,))
            assert world.holder(MARKS[0].mark) not in {None, stage.id}


def stage_time(stage: Stage) -> int:
    return loaded_authorisation(stage.world, stage.id).since


# --- questions, decisions, reviews ----------------------------------------------------------------


def test_two_questions_are_asked_and_no_third() -> None:
    stage = authorisation_in(S.REQUESTED)
    world = stage.world
    for number in (1, 2):
        question, answer = bytes32(f"question {number}"), bytes32(f"answer {number}")
        assert world.call(PAYER, AuthorisationAsk(stage.id, question)) == 0
        assert world.call(SHOP, AuthorisationAnswer(stage.id, answer)) == 0
    found = loaded_authorisation(world, stage.id)
    assert found.questions == (bytes32("question 1"), bytes32("question 2"))
    assert found.answers == (bytes32("answer 1"), bytes32("answer 2"))
    third = world.make(PAYER, AuthorisationAsk(stage.id, bytes32("question 3")))
    assert third == Outcome(Refusal.TOO_MANY_QUESTIONS, (2,))


@pytest.mark.parametrize(
    ("state", "sender"), [(S.REQUESTED, PAYER), (S.INFO_REQUESTED, PAYER), (S.UNDER_REVIEW, PERSON)]
)
@pytest.mark.parametrize("amount", [None, LESS])
def test_a_grant_is_valid_from_now_on_and_not_for_ever(
    state: State, sender: str, amount: bytes | None
) -> None:
    stage = staged_authorisation(state)
    now = stage.time + 1
    for until, applied in (
        (now - 1, False),
        (now, True),
        (now + VALIDITY, True),
        (now + VALIDITY + 1, False),
    ):
        outcome, _ = tried(stage, sender, AuthorisationGrant(stage.id, amount, until), 1)
        refused = Outcome(Refusal.VALIDITY_NOT_POSSIBLE, (now, now + VALIDITY))
        assert outcome == (Outcome(0) if applied else refused)


@pytest.mark.parametrize(
    ("state", "sender"), [(S.REQUESTED, PAYER), (S.INFO_REQUESTED, PAYER), (S.UNDER_REVIEW, PERSON)]
)
def test_the_amount_of_a_grant_is_a_point(state: State, sender: str) -> None:
    stage = staged_authorisation(state)
    call = AuthorisationGrant(stage.id, b"\xff" * 32, stage.time + 10)
    assert tried(stage, sender, call, 1)[0] == Outcome(Refusal.AMOUNT_NOT_A_POINT)


def identity(name: str) -> bytes:
    role = Role.HUMAN if name in {PERSON, OTHER_PERSON} else Role.TRANSACTION
    return key_id(role, Algorithm.ED25519, key_of(name, role).public)


@pytest.mark.parametrize(
    ("state", "sender"), [(S.REQUESTED, PAYER), (S.INFO_REQUESTED, PAYER), (S.UNDER_REVIEW, PERSON)]
)
@pytest.mark.parametrize("amount", [None, opening(1, "some").commitment()])
def test_a_grant_is_kept_with_its_key(state: State, sender: str, amount: bytes | None) -> None:
    stage = staged_authorisation(state)
    call = AuthorisationGrant(stage.id, amount, stage.time + 10)
    _, overlay = tried(stage, sender, call, 1)
    found = authorisation.load(overlay, stage.id)
    assert found is not None
    assert decision_of(found) == (amount, None, False, identity(sender))


@pytest.mark.parametrize(
    ("state", "sender"), [(S.REQUESTED, PAYER), (S.INFO_REQUESTED, PAYER), (S.UNDER_REVIEW, PERSON)]
)
def test_a_refusal_is_kept_with_its_reason_and_its_key(state: State, sender: str) -> None:
    stage = staged_authorisation(state)
    automatic = sender == PAYER
    call = AuthorisationRefuse(stage.id, Reason.RIGHTS_CLOSED, automatic)
    _, overlay = tried(stage, sender, call, 1)
    found = authorisation.load(overlay, stage.id)
    assert found is not None
    assert decision_of(found) == (None, Reason.RIGHTS_CLOSED, automatic, identity(sender))


def decision_of(found: Authorisation) -> tuple[object, ...]:
    return found.granted_amount, found.reason, found.automatic, found.decided_by


def test_what_a_person_refused_is_not_reviewed() -> None:
    stage = authorisation_in(S.REQUESTED)
    refuse = AuthorisationRefuse(stage.id, Reason.OTHER, automatic=False)
    assert stage.world.call(PAYER, refuse) == 0
    outcome = stage.world.make(SHOP, AuthorisationReview(stage.id))
    assert outcome == Outcome(Refusal.DECIDED_BY_A_PERSON)


def reviewed(refuser: str) -> tuple[World, bytes]:
    """Return a request that `refuser` refused as a machine, and that is to be reviewed."""
    stage = authorisation_in(S.REQUESTED)
    refuse = AuthorisationRefuse(stage.id, Reason.OTHER, automatic=True)
    assert stage.world.call(refuser, refuse) == 0
    assert stage.world.call(SHOP, AuthorisationReview(stage.id)) == 0
    return stage.world, stage.id


@pytest.mark.parametrize("name", ["grant", "grant in part", "refuse"])
def test_a_review_is_by_a_person_other_than_the_key_that_refused(name: str) -> None:
    world, id_ = reviewed(PERSON)
    call = CALLS[name](id_, world.chain.header.time + 1)
    assert world.make(PAYER, call) == Outcome(Refusal.PERSON_NEEDED)
    assert world.make(PERSON, call) == Outcome(Refusal.OTHER_PERSON_NEEDED)
    assert world.make(OTHER_PERSON, call) == Outcome(0)


def test_a_review_does_not_end_in_what_a_machine_decided() -> None:
    world, id_ = reviewed(PAYER)
    by_machine = AuthorisationRefuse(id_, Reason.OTHER, automatic=True)
    assert world.make(PERSON, by_machine) == Outcome(Refusal.PERSON_NEEDED)
    by_person = AuthorisationRefuse(id_, Reason.OTHER, automatic=False)
    assert world.make(PERSON, by_person) == Outcome(0)
    assert world.make(SHOP, AuthorisationReview(id_)) == Outcome(Refusal.DECIDED_BY_A_PERSON)


# --- when -----------------------------------------------------------------------------------------

# (state, call) -> when it is due, in seconds after the last step; nothing is closed before.
DUE: Final = {
    (S.REQUESTED, AuthorisationAsk): DECISION,
    (S.REQUESTED, AuthorisationGrant): DECISION,
    (S.REQUESTED, AuthorisationRefuse): DECISION,
    (S.INFO_REQUESTED, AuthorisationAnswer): ANSWER,
    (S.UNDER_REVIEW, AuthorisationGrant): ANSWER,
    (S.UNDER_REVIEW, AuthorisationRefuse): ANSWER,
}


@pytest.mark.parametrize("state", State)
def test_by_when_each_call_should_be_made(state: State) -> None:
    stage = staged_authorisation(state)
    found = explain(
        authorisation.LIFE, stage.world.state, stage.id, time=stage.time, parameters=PARAMETERS
    )
    assert found is not None
    assert found.state is state
    seen = set()
    for step in found.steps:
        due = None if step.due is None else step.due - stage.time
        assert (step.opens, step.closes, due) == (None, None, DUE.get((state, step.call)))
        seen.add((state, step.call))
    assert {key for key in DUE if key[0] is state} <= seen


def test_a_stranger_sees_an_authorisation_that_there_is_not_as_unknown() -> None:
    stage = staged_authorisation(S.REQUESTED)
    outcome, _ = tried(stage, PAYER, AuthorisationAsk(bytes(32), bytes(32)), 1)
    assert outcome == Outcome(Refusal.AUTHORISATION_UNKNOWN)
    overlay = Overlay(stage.world.state)
    assert authorisation.load(overlay, bytes(32)) is None
