"""Claims: what is required of one, what its calls do to it, and what becomes of its marks."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import msgspec
import pytest

from contracts import authorisation, dispatch
from contracts.calls import (
    AuthorisationGrant,
    Call,
    ClaimAbandon,
    ClaimAccept,
    ClaimCancel,
    ClaimConcede,
    ClaimDispute,
    ClaimGround,
    ClaimOverturn,
    ClaimRecover,
    ClaimReject,
    ClaimReverse,
    ClaimSubmit,
    ClaimSupersede,
    ClaimUphold,
    ClaimWithdraw,
    Leg,
    Mark,
    Part,
    PrescriptionCommit,
    PrescriptionRevoke,
    Reason,
    SettlementConfirm,
)
from contracts.claim import Claim, State
from contracts.commitment import mark_of
from contracts.errors import Refusal
from ledger.entry import Outcome
from ledger.hashing import Hash
from ledger.keys import Algorithm, Role, key_id
from ledger.transaction import created_id
from tests.contracts.stages import (
    LESS,
    MARKS,
    NAME,
    PAYER,
    SETTLING,
    SHOP,
    STRANGER,
    WINDOW,
    Stage,
    authorisation_in,
    claim_in,
    claim_state,
    loaded_claim,
    made,
    prepared,
    staged_claim,
    submission,
)
from tests.contracts.test_claim_cells import tried
from tests.contracts.world import World, bytes32, key_of, mark, opening

S, G = State, ClaimGround
PERSON, OTHER_PERSON = "anne", "bruno"  # at the payer
MORE: Final = opening(6_000, "more").commitment()


def identity(name: str) -> bytes:
    role = Role.HUMAN if name in {PERSON, OTHER_PERSON} else Role.TRANSACTION
    return key_id(role, Algorithm.ED25519, key_of(name, role).public)


def after(stage: Stage, sender: str, *calls: Call) -> Claim:
    """Return the claim after these calls, which are applied."""
    for call in calls:
        assert stage.world.call(sender, call) == 0
    return loaded_claim(stage.world, stage.id)


# --- submitting -----------------------------------------------------------------------------------


def test_a_claim_is_kept_as_submitted() -> None:
    world = World()
    id_ = world.submit("glasses")
    call = world.submission("glasses")
    found = loaded_claim(world, id_)
    kept = {field: getattr(found, field) for field in ClaimSubmit.__struct_fields__}
    assert kept == {field: getattr(call, field) for field in ClaimSubmit.__struct_fields__}
    assert found.submitter == world.ids[SHOP]
    header = world.chain.header
    assert (found.height, found.time, found.since) == (header.height, header.time, header.time)
    assert (found.state, found.reason, found.settlement) == (S.SUBMITTED, None, None)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"payer": bytes(16)}, Refusal.PAYER_UNKNOWN),
        ({"payer": "auditor"}, Refusal.PAYER_NOT_ELIGIBLE),
        ({"payer": "rival"}, Refusal.PAYER_NOT_ELIGIBLE),
        ({"payer": SHOP}, Refusal.PAYER_NOT_ELIGIBLE),
        ({"authorisation": bytes32("x")}, Refusal.AUTHORISATION_UNKNOWN),
        ({"prior": bytes32("x")}, Refusal.PRIOR_CLAIM_UNKNOWN),
        ({"prescription": bytes32("another")}, Refusal.PRESCRIPTION_NOT_COMMITTED),
        ({"marks": (mark("another"),)}, Refusal.MARK_NOT_LOCKED),
        ({"amount": b"\xff" * 32}, Refusal.AMOUNT_NOT_A_POINT),
        ({"amount": bytes32("no point")}, Refusal.AMOUNT_NOT_A_POINT),
        ({}, None),
        ({"payer": "operator"}, None),
    ],
)
def test_a_claim_that_breaks_a_rule_is_refused(
    changes: dict[str, object], refusal: Refusal | None
) -> None:
    world = prepared()
    payer = changes.get("payer")
    if isinstance(payer, str):
        changes = changes | {"payer": world.ids[payer]}
    assert world.call(SHOP, msgspec.structs.replace(submission(world), **changes)) == (refusal or 0)


def test_only_opticians_claim() -> None:
    world = World()
    assert world.call(PAYER, world.submission("glasses", payer="mutual")) == 1
    assert world.call("doctor", world.submission("glasses")) == Refusal.SENDER_NOT_ELIGIBLE


def test_the_prescription_must_be_the_senders_own() -> None:
    world = World()
    world.prescribe(SHOP, "glasses")
    world.lock("rival", mark("glasses"))
    code = world.call("rival", world.submission("glasses"))
    assert code == Refusal.PRESCRIPTION_NOT_COMMITTED


def test_a_lot_of_claims_has_an_outcome_for_each() -> None:
    world = World()
    names = [f"glasses {n}" for n in range(6)]
    world.block(world.transaction(SHOP, *(PrescriptionCommit(bytes32(name)) for name in names[:5])))
    world.lock(SHOP, *(mark(name) for name in names))
    lot = world.transaction(SHOP, *(world.submission(name) for name in [*names, names[0]]))
    executed = world.block(lot)
    codes = [outcome.code for outcome in executed.outcomes]
    assert codes == [0] * 5 + [Refusal.PRESCRIPTION_NOT_COMMITTED, Refusal.MARK_NOT_LOCKED]


def test_an_entry_concerns_sender_and_counterparty_and_a_refused_one_only_its_sender() -> None:
    world = World()
    ids = world.ids
    world.prescribe(SHOP, "glasses")
    world.lock(SHOP, mark("glasses"))
    submitted = world.block(world.transaction(SHOP, world.submission("glasses")))
    assert submitted.concerned == ((ids[SHOP], ids[PAYER]),)
    id_ = world.submit("more")
    for sender, call, concerned in (
        ("rival", ClaimAccept(id_, None), ("rival",)),
        (PAYER, ClaimAccept(id_, None), (PAYER, SHOP)),
        (SHOP, ClaimCancel(id_), (SHOP, PAYER)),
    ):
        executed = world.block(world.transaction(sender, call))
        assert executed.concerned == (tuple(ids[name] for name in concerned),)
        assert dispatch.concerned(world.state, executed.entries[0]) == executed.concerned[0]


def test_a_claim_that_does_not_exist_is_unknown() -> None:
    world = World()
    for call in (ClaimAccept(bytes(32), None), ClaimAbandon(bytes(32)), ClaimCancel(bytes(32))):
        assert world.call(PAYER, call) == Refusal.CLAIM_UNKNOWN


# --- marks: legs, parts, one live claim -----------------------------------------------------------


def test_a_second_shop_with_the_same_prescription_is_refused_and_learns_no_more() -> None:
    world = World()
    world.submit("glasses")
    world.prescribe("rival", "glasses")
    world.lock("rival", mark("glasses"))
    for payer in (PAYER, "mutual"):
        outcome = world.make("rival", world.submission("glasses", payer=payer))
        assert outcome == Outcome(Refusal.MARK_ALREADY_USED)
    assert Refusal.MARK_ALREADY_USED.text == "This mark is used already."


def test_lenses_and_frame_are_two_marks_of_one_claim() -> None:
    stage = staged_claim(S.SUBMITTED)
    assert {stage.world.holder(each.mark) for each in MARKS} == {stage.id}


def test_the_frame_alone_is_refused_once_it_was_claimed_with_the_lenses() -> None:
    world = claim_in(S.SUBMITTED).world
    world.lock(SHOP, MARKS[1])
    again = msgspec.structs.replace(submission(world), marks=MARKS[1:])
    assert world.call(SHOP, again) == Refusal.MARK_ALREADY_USED


def test_legs_and_parts_of_one_equipment_live_apart() -> None:
    world = World()
    world.prescribe(SHOP, "glasses")
    secret = bytes32("secret of glasses")
    ids: dict[tuple[Leg, Part], Hash] = {}
    for leg in Leg:
        for part in Part:
            item = Mark(part, mark_of(secret, leg, part, 0))
            world.lock(SHOP, item)
            payer = PAYER if leg is Leg.COMPLEMENTARY else "mutual"
            call = msgspec.structs.replace(
                world.submission("glasses", payer=payer), leg=leg, marks=(item,)
            )
            ids[leg, part] = made(world, call)
    accepted, rejected = ids[Leg.COMPLEMENTARY, Part.LENSES], ids[Leg.COMPLEMENTARY, Part.FRAME]
    assert world.call(PAYER, ClaimAccept(accepted, None)) == 0
    assert world.call(PAYER, ClaimReject(rejected, Reason.OTHER, automatic=False)) == 0
    assert world.call(SHOP, ClaimCancel(ids[Leg.BASE, Part.FRAME])) == 0
    states = {key: claim_state(world, id_) for key, id_ in ids.items()}
    assert states == {
        (Leg.COMPLEMENTARY, Part.LENSES): S.ACCEPTED,
        (Leg.COMPLEMENTARY, Part.FRAME): S.REJECTED,
        (Leg.BASE, Part.LENSES): S.SUBMITTED,
        (Leg.BASE, Part.FRAME): S.CANCELLED,
    }
    for (leg, part), id_ in ids.items():
        live = states[leg, part] is not S.CANCELLED
        assert world.holder(mark_of(secret, leg, part, 0)) == (id_ if live else None)


def test_a_renewal_has_a_mark_of_its_own() -> None:
    world = World()
    world.submit("glasses")
    renewed = Mark(
        Part.LENSES, mark_of(bytes32("secret of glasses"), Leg.COMPLEMENTARY, Part.LENSES, 1)
    )
    world.lock(SHOP, renewed)
    assert (
        world.call(SHOP, msgspec.structs.replace(world.submission("glasses"), marks=(renewed,)))
        == 0
    )


@pytest.mark.parametrize("state", [S.CANCELLED, S.ABANDONED, S.REVERSED, S.LAPSED])
def test_what_a_claim_no_more_holds_another_may_take(state: State) -> None:
    stage = claim_in(state)
    world = stage.world
    world.prescribe(STRANGER, NAME)
    world.lock(STRANGER, *MARKS)
    other = world.transaction(STRANGER, submission(world))
    assert world.block(other).outcomes[0] == Outcome(0)
    assert world.holder(MARKS[0].mark) == created_id(other.id, 0)


@pytest.mark.parametrize(
    "state",
    [each for each in State if each not in (S.CANCELLED, S.ABANDONED, S.REVERSED, S.LAPSED)],
)
def test_what_a_live_claim_holds_nobody_takes(state: State) -> None:
    if state in (S.REPAYING, S.REPAID):
        return
    world = claim_in(state).world
    world.prescribe(STRANGER, NAME)
    world.lock(STRANGER, *MARKS)
    assert world.make(STRANGER, submission(world)) == Outcome(Refusal.MARK_ALREADY_USED)


def test_while_a_rejection_is_disputed_its_marks_are_held_whatever_the_time() -> None:
    stage = claim_in(S.REJECTION_DISPUTED)
    world = stage.world
    world.prescribe(STRANGER, NAME)
    world.lock(STRANGER, *MARKS)
    world.block(after=10 * WINDOW)
    assert world.make(STRANGER, submission(world)) == Outcome(Refusal.MARK_ALREADY_USED)
    assert world.call(PAYER, ClaimOverturn(stage.id, None)) == 0
    assert world.make(STRANGER, submission(world)) == Outcome(Refusal.MARK_ALREADY_USED)


@pytest.mark.parametrize(("sender", "call"), [(PAYER, ClaimUphold), (SHOP, ClaimWithdraw)])
def test_after_a_dispute_a_rejection_holds_its_marks_for_one_window_more(
    sender: str, call: type[ClaimUphold | ClaimWithdraw]
) -> None:
    stage = claim_in(S.REJECTION_DISPUTED)
    world = stage.world
    world.block(after=10 * WINDOW)
    assert world.call(sender, call(stage.id)) == 0
    world.block(after=WINDOW)
    assert claim_state(world, stage.id) is S.REJECTED
    assert world.holder(MARKS[0].mark) == stage.id
    world.block()
    assert claim_state(world, stage.id) is S.LAPSED
    assert world.holder(MARKS[0].mark) is None


def test_a_window_does_not_move_when_the_parameters_do() -> None:
    stage = claim_in(S.REJECTED)
    world = stage.world
    changed = msgspec.structs.replace(world.chain.parameters, dispute_window_s=0)
    world.chain = replace(world.chain, parameters=changed)
    assert world.call(SHOP, ClaimDispute(stage.id, G.REJECTION)) == 0


# --- resubmission ---------------------------------------------------------------------------------


def again(stage: Stage, **changes: object) -> ClaimSubmit:
    call = msgspec.structs.replace(submission(stage.world), prior=stage.id)
    return msgspec.structs.replace(call, **changes)


def test_a_rejected_claim_is_submitted_again_with_its_marks_and_without_a_lock() -> None:
    stage = claim_in(S.REJECTED)
    world = stage.world
    new = made(world, again(stage, document=bytes32("rectified"), amount=LESS))
    assert claim_state(world, stage.id) is S.RESUBMITTED
    assert loaded_claim(world, stage.id).since == world.chain.header.time
    found = loaded_claim(world, new)
    assert (found.prior, found.state) == (stage.id, S.SUBMITTED)
    assert [world.holder(each.mark) for each in MARKS] == [new] * 2
    world.block(after=2 * WINDOW)  # the window of the earlier one is over: nothing depends on it
    assert [world.holder(each.mark) for each in MARKS] == [new] * 2
    assert world.call(SHOP, ClaimCancel(new)) == 0
    assert [world.holder(each.mark) for each in MARKS] == [None] * 2


@pytest.mark.parametrize("state", [each for each in State if each is not S.REJECTED])
def test_only_a_rejected_claim_is_submitted_again(state: State) -> None:
    if state in (S.REPAYING, S.REPAID):
        return
    stage = staged_claim(state)
    outcome, _ = tried(stage, SHOP, again(stage), 1)
    assert outcome == Outcome(Refusal.PRIOR_CLAIM_IN_WRONG_STATE, (state,))


@pytest.mark.parametrize(
    ("field", "value", "index"),
    [
        ("payer", "mutual", 0),
        ("leg", Leg.BASE, 1),
        ("marks", MARKS[:1], 2),
        ("marks", (mark("another"),), 2),
        ("authorisation", bytes32("some agreement"), 3),
    ],
)
def test_a_resubmission_is_of_the_same_thing(field: str, value: object, index: int) -> None:
    stage = staged_claim(S.REJECTED)
    changed = stage.world.ids[value] if isinstance(value, str) else value
    outcome, _ = tried(stage, SHOP, again(stage, **{field: changed}), 1)
    assert outcome == Outcome(Refusal.PRIOR_CLAIM_DIFFERS, (index,))


def test_nobody_submits_the_claim_of_another_again() -> None:
    stage = staged_claim(S.REJECTED)
    outcome, _ = tried(stage, STRANGER, again(stage), 1)
    assert outcome == Outcome(Refusal.PRIOR_CLAIM_UNKNOWN)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"prescription": bytes32("another")}, Refusal.PRESCRIPTION_NOT_COMMITTED),
        ({"amount": b"\xff" * 32}, Refusal.AMOUNT_NOT_A_POINT),
    ],
)
def test_a_resubmission_needs_its_prescription_and_a_point(
    changes: dict[str, object], refusal: Refusal
) -> None:
    stage = staged_claim(S.REJECTED)
    assert tried(stage, SHOP, again(stage, **changes), 1)[0] == Outcome(refusal)


def test_a_resubmission_rests_on_the_agreement_that_the_earlier_claim_consumed() -> None:
    granted = authorisation_in(authorisation.State.GRANTED)
    world = granted.world
    first = made(world, msgspec.structs.replace(submission(world), authorisation=granted.id))
    assert world.call(PAYER, ClaimReject(first, Reason.FORMAT, automatic=False)) == 0
    call = msgspec.structs.replace(submission(world), prior=first)
    assert world.make(SHOP, call) == Outcome(Refusal.PRIOR_CLAIM_DIFFERS, (3,))
    second = made(world, msgspec.structs.replace(call, authorisation=granted.id))
    assert loaded_claim(world, second).authorisation == granted.id
    grant = AuthorisationGrant(granted.id, None, world.chain.header.time + 1)
    assert world.make(PAYER, grant).code == Refusal.AUTHORISATION_IN_WRONG_STATE


@pytest.mark.parametrize("how", ["prior", "authorisation"])
def test_who_may_be_claimed_from_is_asked_of_every_claim(how: str) -> None:
    stage = staged_claim(S.REJECTED)
    changes: dict[str, object] = {"prior": None, how: stage.id}
    for sender, payer, refusal in (
        (PAYER, PAYER, Refusal.SENDER_NOT_ELIGIBLE),
        (SHOP, "auditor", Refusal.PAYER_NOT_ELIGIBLE),
    ):
        call = again(stage, payer=stage.world.ids[payer], **changes)
        assert tried(stage, sender, call, 1)[0] == Outcome(refusal)


def test_a_revoked_prescription_carries_no_new_claim() -> None:
    stage = claim_in(S.REJECTED)
    assert stage.world.call(SHOP, PrescriptionRevoke(bytes32(NAME))) == 0
    outcome = stage.world.make(SHOP, again(stage))
    assert outcome == Outcome(Refusal.PRESCRIPTION_NOT_IN_FORCE, (3,))


def test_payment_not_found_is_a_dispute_and_never_a_resubmission() -> None:
    stage = staged_claim(S.SETTLED)
    outcome, _ = tried(stage, SHOP, again(stage), 1)
    assert outcome == Outcome(Refusal.PRIOR_CLAIM_IN_WRONG_STATE, (S.SETTLED,))
    dispute = ClaimDispute(stage.id, G.PAYMENT_NOT_FOUND)
    assert tried(stage, SHOP, dispute, 1)[0] == Outcome(0)


# --- decisions ------------------------------------------------------------------------------------


def test_what_is_due_is_what_the_payer_accepted() -> None:
    world = World()
    full, part = world.submit("full"), world.submit("part")
    assert world.call(PAYER, ClaimAccept(full, None)) == 0
    assert world.call(PAYER, ClaimAccept(part, LESS)) == 0
    assert loaded_claim(world, full).due == opening(10_000, "full").commitment()
    assert loaded_claim(world, part).due == LESS
    assert loaded_claim(world, part).amount == opening(10_000, "part").commitment()


@pytest.mark.parametrize("amount", [None, LESS])
def test_an_acceptance_is_kept_with_its_key_and_its_window(amount: bytes | None) -> None:
    stage = claim_in(S.SUBMITTED)
    found = after(stage, PAYER, ClaimAccept(stage.id, amount))
    assert (found.accepted_amount, found.decided_by) == (amount, identity(PAYER))
    assert found.until == stage.time + WINDOW


def test_a_rejection_is_kept_with_its_reason_its_key_and_its_window() -> None:
    stage = claim_in(S.SUBMITTED)
    found = after(stage, PAYER, ClaimReject(stage.id, Reason.RENEWAL_NOT_DUE, automatic=True))
    assert (found.reason, found.automatic) == (Reason.RENEWAL_NOT_DUE, True)
    assert (found.decided_by, found.until) == (identity(PAYER), stage.time + WINDOW)


@pytest.mark.parametrize("state", [S.SUBMITTED, S.REJECTION_DISPUTED, S.AMOUNT_DISPUTED])
def test_an_accepted_amount_must_be_a_point(state: State) -> None:
    stage = staged_claim(state)
    call = ClaimAccept if state is S.SUBMITTED else ClaimOverturn
    outcome, _ = tried(stage, PERSON, call(stage.id, b"\xff" * 32), 1)
    assert outcome == Outcome(Refusal.AMOUNT_NOT_A_POINT)


def test_a_rectified_document_takes_the_place_of_the_one_before() -> None:
    stage = claim_in(S.SUBMITTED)
    first, second = loaded_claim(stage.world, stage.id).document, bytes32("rectified")
    found = after(stage, SHOP, ClaimSupersede(stage.id, second))
    assert (found.document, found.superseded) == (second, first)
    outcome = stage.world.make(SHOP, ClaimSupersede(stage.id, second))
    assert outcome == Outcome(Refusal.DOCUMENT_UNCHANGED)


# --- disputes -------------------------------------------------------------------------------------


def automatic(refuser: str) -> Stage:
    """Return a rejection by a machine, signed by `refuser`, that is disputed."""
    stage = claim_in(S.SUBMITTED)
    reject = ClaimReject(stage.id, Reason.OTHER, automatic=True)
    assert stage.world.call(refuser, reject) == 0
    assert stage.world.call(SHOP, ClaimDispute(stage.id, G.REJECTION)) == 0
    return stage


@pytest.mark.parametrize("call", [ClaimUphold, ClaimOverturn])
@pytest.mark.parametrize("amount", [None, LESS])
def test_what_a_machine_rejected_a_person_decides_with_another_key(
    call: type[ClaimUphold | ClaimOverturn], amount: bytes | None
) -> None:
    for refuser in (PAYER, PERSON):
        stage = automatic(refuser)
        answer = ClaimUphold(stage.id) if call is ClaimUphold else ClaimOverturn(stage.id, amount)
        assert stage.world.make(PAYER, answer) == Outcome(Refusal.PERSON_NEEDED)
        if refuser == PERSON:
            assert stage.world.make(PERSON, answer) == Outcome(Refusal.OTHER_PERSON_NEEDED)
        found = after(stage, OTHER_PERSON, answer)
        assert (found.automatic, found.decided_by) == (False, identity(OTHER_PERSON))


@pytest.mark.parametrize("call", [ClaimUphold, lambda id_: ClaimOverturn(id_, MORE)])
def test_a_part_that_a_machine_may_have_accepted_a_person_decides_with_another_key(
    call: Callable[[bytes], Call],
) -> None:
    for accepter in (PAYER, PERSON):
        stage = claim_in(S.SUBMITTED)
        nothing = opening(0, "nothing").commitment()  # as good as a refusal, without a reason
        assert stage.world.call(accepter, ClaimAccept(stage.id, nothing)) == 0
        assert stage.world.call(SHOP, ClaimDispute(stage.id, G.AMOUNT)) == 0
        assert stage.world.make(PAYER, call(stage.id)) == Outcome(Refusal.PERSON_NEEDED)
        if accepter == PERSON:
            again = stage.world.make(PERSON, call(stage.id))
            assert again == Outcome(Refusal.OTHER_PERSON_NEEDED)
        assert after(stage, OTHER_PERSON, call(stage.id)).state is S.ACCEPTED_IN_PART


def test_what_a_person_rejected_any_key_of_the_payer_answers_for() -> None:
    stage = claim_in(S.REJECTION_DISPUTED)
    found = after(stage, PAYER, ClaimUphold(stage.id))
    assert (found.state, found.decided_by) == (S.REJECTED, identity(PAYER))
    assert found.until == stage.time + WINDOW


def test_an_overturned_rejection_is_an_acceptance_that_may_be_disputed_itself() -> None:
    stage = claim_in(S.REJECTION_DISPUTED)
    assert loaded_claim(stage.world, stage.id).disputed == (G.REJECTION,)
    found = after(stage, PAYER, ClaimOverturn(stage.id, LESS))
    assert (found.due, found.reason, found.disputed) == (LESS, None, ())
    assert found.until == stage.time + WINDOW
    found = after(stage, SHOP, ClaimDispute(stage.id, G.AMOUNT))
    found = after(stage, PERSON, ClaimOverturn(stage.id, MORE))
    assert (found.due, found.disputed, found.until) == (MORE, (), stage.time + WINDOW)


@pytest.mark.parametrize(
    ("state", "answer", "who", "disputer", "ground"),
    [
        (S.REJECTION_DISPUTED, ClaimUphold, PAYER, SHOP, G.REJECTION),
        (S.REJECTION_DISPUTED, ClaimWithdraw, SHOP, SHOP, G.REJECTION),
        (S.AMOUNT_DISPUTED, ClaimUphold, PERSON, SHOP, G.AMOUNT),
        (S.AMOUNT_DISPUTED, ClaimWithdraw, SHOP, SHOP, G.AMOUNT),
        (S.ACCEPTANCE_DISPUTED, ClaimUphold, SHOP, PAYER, G.ACCEPTANCE),
        (S.ACCEPTANCE_DISPUTED, ClaimWithdraw, PAYER, PAYER, G.ACCEPTANCE),
        (S.PAYMENT_DISPUTED, ClaimUphold, PAYER, SHOP, G.PAYMENT_NOT_FOUND),
        (S.PAYMENT_DISPUTED, ClaimWithdraw, SHOP, SHOP, G.PAYMENT_NOT_FOUND),
        (S.RECOVERY_DISPUTED, ClaimUphold, PAYER, SHOP, G.RECOVERY),
        (S.RECOVERY_DISPUTED, ClaimWithdraw, SHOP, SHOP, G.RECOVERY),
    ],
)
def test_one_decision_is_disputed_once_on_each_ground(
    state: State,
    answer: type[ClaimUphold | ClaimWithdraw],
    who: str,
    disputer: str,
    ground: ClaimGround,
) -> None:
    stage = claim_in(state)
    assert ground in loaded_claim(stage.world, stage.id).disputed
    assert ground in after(stage, who, answer(stage.id)).disputed
    outcome = stage.world.make(disputer, ClaimDispute(stage.id, ground))
    assert outcome == Outcome(Refusal.DISPUTED_BEFORE)


def test_a_payment_that_is_said_to_be_late_may_be_missing_later_too() -> None:
    stage = claim_in(S.ACCEPTED)
    missing = ClaimDispute(stage.id, G.PAYMENT_NOT_FOUND)
    assert stage.world.call(SHOP, missing, after=SETTLING) == 0
    assert after(stage, PAYER, ClaimUphold(stage.id)).disputed == (G.PAYMENT_NOT_FOUND,)
    settlement = stage.world.settle(stage.id)
    assert loaded_claim(stage.world, stage.id).disputed == ()  # that is another payment
    assert stage.world.call(SHOP, SettlementConfirm(settlement)) == 0
    assert after(stage, SHOP, missing).state is S.PAYMENT_DISPUTED


def test_an_acceptance_in_part_is_disputed_once_by_each_side() -> None:
    stage = claim_in(S.ACCEPTED_IN_PART)
    dispute = ClaimDispute(stage.id, G.ACCEPTANCE)
    for sender, call in (
        (PAYER, dispute),
        (SHOP, ClaimUphold(stage.id)),
        (SHOP, ClaimDispute(stage.id, G.AMOUNT)),
        (PERSON, ClaimUphold(stage.id)),
    ):
        after(stage, sender, call)
    found = loaded_claim(stage.world, stage.id)
    assert (found.state, found.due) == (S.ACCEPTED_IN_PART, LESS)
    assert stage.world.make(PAYER, dispute) == Outcome(Refusal.DISPUTED_BEFORE)


@pytest.mark.parametrize(("sender", "call"), [(SHOP, ClaimUphold), (PAYER, ClaimWithdraw)])
def test_what_was_accepted_in_part_is_so_after_the_payers_dispute(
    sender: str, call: type[ClaimUphold | ClaimWithdraw]
) -> None:
    stage = claim_in(S.ACCEPTED_IN_PART)
    assert stage.world.call(PAYER, ClaimDispute(stage.id, G.ACCEPTANCE)) == 0
    found = after(stage, sender, call(stage.id))
    assert (found.state, found.due) == (S.ACCEPTED_IN_PART, LESS)


def answers(id_: bytes) -> tuple[tuple[str, ClaimUphold | ClaimOverturn | ClaimWithdraw], ...]:
    return (
        (PAYER, ClaimUphold(id_)),
        (PAYER, ClaimOverturn(id_, None)),
        (SHOP, ClaimWithdraw(id_)),
    )


@pytest.mark.parametrize("state", [S.ACCEPTED, S.ACCEPTED_IN_PART])
@pytest.mark.parametrize("number", range(3))
def test_what_is_due_and_not_found_is_due_after_the_dispute(state: State, number: int) -> None:
    stage = claim_in(state)
    world = stage.world
    dispute = ClaimDispute(stage.id, G.PAYMENT_NOT_FOUND)
    due = loaded_claim(world, stage.id).due
    assert world.call(SHOP, dispute, after=SETTLING) == 0
    sender, answer = answers(stage.id)[number]
    refused = world.make(PAYER, ClaimOverturn(stage.id, LESS))
    assert refused == Outcome(Refusal.AMOUNT_NOT_WANTED)
    found = after(stage, sender, answer)
    assert (claim_state(world, stage.id), found.due) == (state, due)
    # Overturned, it may be said again that it is not there: the payer promised it.
    repeated = world.make(SHOP, dispute, after=SETTLING).code
    assert repeated == (0 if number == 1 else Refusal.DISPUTED_BEFORE)
    outcome = world.make(SHOP, ClaimDispute(stage.id, G.REJECTION), after=SETTLING)
    assert outcome.code != 0


@pytest.mark.parametrize("number", range(3))
def test_what_was_settled_is_so_after_its_payment_was_disputed(number: int) -> None:
    stage = claim_in(S.PAYMENT_DISPUTED)
    sender, answer = answers(stage.id)[number]
    found = after(stage, sender, answer)
    assert claim_state(stage.world, stage.id) is S.SETTLED
    assert found.settlement is not None
    dispute = ClaimDispute(stage.id, G.PAYMENT_NOT_FOUND)
    again_ = stage.world.make(SHOP, dispute).code
    assert again_ == (0 if number == 1 else Refusal.DISPUTED_BEFORE)


def test_what_is_settled_once_is_not_settled_again_after_a_dispute() -> None:
    stage = claim_in(S.PAYMENT_DISPUTED)
    after(stage, PAYER, ClaimOverturn(stage.id, None))
    with pytest.raises(AssertionError):
        stage.world.settle(stage.id)


# --- after payment --------------------------------------------------------------------------------


def test_what_is_asked_back_has_a_reason_until_that_is_dropped() -> None:
    stage = claim_in(S.SETTLED)
    found = after(stage, PAYER, ClaimRecover(stage.id, Reason.DUPLICATE))
    assert found.reason is Reason.DUPLICATE
    assert after(stage, PAYER, ClaimWithdraw(stage.id)).reason is None
    after(stage, PAYER, ClaimRecover(stage.id, Reason.RIGHTS_CLOSED))
    after(stage, SHOP, ClaimDispute(stage.id, G.RECOVERY))
    found = after(stage, PAYER, ClaimOverturn(stage.id, None))
    assert (found.reason, claim_state(stage.world, stage.id)) == (None, S.SETTLED)


def test_each_request_to_pay_back_may_be_disputed_and_what_was_before_stays_disputed() -> None:
    stage = claim_in(S.PAYMENT_DISPUTED)
    after(stage, PAYER, ClaimUphold(stage.id))
    for _ in range(2):
        after(stage, PAYER, ClaimRecover(stage.id, Reason.DUPLICATE))
        found = after(stage, SHOP, ClaimDispute(stage.id, G.RECOVERY))
        assert found.disputed == (G.PAYMENT_NOT_FOUND, G.RECOVERY)
        after(stage, PAYER, ClaimOverturn(stage.id, None))


def test_what_was_conceded_keeps_why_it_was_undue_and_what_was_returned_has_none() -> None:
    conceded = claim_in(S.RECOVERY_ASKED)
    found = after(conceded, SHOP, ClaimConcede(conceded.id))
    assert (found.state, found.reason) == (S.REVERSED, Reason.OTHER)
    returned = claim_in(S.SETTLED)
    found = after(returned, SHOP, ClaimReverse(returned.id))
    assert (found.state, found.reason) == (S.REVERSED, None)


def test_a_claim_is_settled_when_its_settlement_is_confirmed() -> None:
    stage = claim_in(S.BATCHED)
    world = stage.world
    batched = loaded_claim(world, stage.id)
    assert batched.settlement is not None
    assert world.call(SHOP, SettlementConfirm(batched.settlement)) == 0
    assert loaded_claim(world, stage.id) == batched  # confirming a settlement touches no claim
    assert claim_state(world, stage.id) is S.SETTLED
