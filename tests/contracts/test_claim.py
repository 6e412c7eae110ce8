"""Claims: every state, every call and every kind of sender, against a table written by hand."""

from itertools import product
from typing import Final

import msgspec
import pytest

from contracts import claim as claims
from contracts import settlement
from contracts.calls import (
    Call,
    ClaimAccept,
    ClaimCancel,
    ClaimReject,
    ClaimSubmit,
    Part,
    PrescriptionCommit,
    Reason,
    SettlementConfirm,
    SettlementCreate,
)
from contracts.claim import Claim, State
from contracts.errors import Refusal
from ledger.hashing import Hash
from tests.contracts.world import World, bytes32, mark, opening

SHOP, PAYER = "shop", "insurer"
SENDERS: Final = (SHOP, PAYER, "rival", "mutual", "auditor")


def bring(world: World, state: State, name: str = "glasses") -> Hash:
    """Bring a claim of the shop to the insurer into this state; return its id."""
    id_ = world.submit(name)
    steps: dict[State, list[tuple[str, Call]]] = {
        State.SUBMITTED: [],
        State.ACCEPTED: [(PAYER, ClaimAccept(id_, None))],
        State.REJECTED: [(PAYER, ClaimReject(id_, Reason.FORMAT, automatic=False))],
        State.CANCELLED: [(SHOP, ClaimCancel(id_))],
        State.BATCHED: [
            (PAYER, ClaimAccept(id_, None)),
            (PAYER, SettlementCreate(world.ids[SHOP], (id_,), None)),
        ],
    }
    for sender, call in steps[state]:
        assert world.call(sender, call) == 0
    assert load(world, id_).state is state
    return id_


def load(world: World, id_: bytes) -> Claim:
    found = claims.load(world.state, id_)
    assert found is not None
    return found


def now(world: World, id_: bytes) -> State:
    return claims.state_of(world.state, load(world, id_), world.chain.header.time)


def calls_on(world: World, id_: bytes) -> dict[str, Call]:
    return {
        "accept": ClaimAccept(id_, None),
        "accept in part": ClaimAccept(id_, opening(1, "part").commitment()),
        "reject": ClaimReject(id_, Reason.OTHER, automatic=True),
        "cancel": ClaimCancel(id_),
        "settle": SettlementCreate(world.ids[SHOP], (id_,), None),
    }


# Written by hand, not derived from claim_life.LIFE: (state, call) -> (who may, state after).
TABLE: Final = {
    (State.SUBMITTED, "accept"): (PAYER, State.ACCEPTED),
    (State.SUBMITTED, "accept in part"): (PAYER, State.ACCEPTED_IN_PART),
    (State.SUBMITTED, "reject"): (PAYER, State.REJECTED),
    (State.SUBMITTED, "cancel"): (SHOP, State.CANCELLED),
    (State.ACCEPTED, "cancel"): (SHOP, State.CANCELLED),
    (State.ACCEPTED, "settle"): (PAYER, State.BATCHED),
}
WHO: Final = {"accept": PAYER, "accept in part": PAYER, "reject": PAYER, "cancel": SHOP}


@pytest.mark.parametrize("state", list(State)[:5])
def test_who_may_do_what_in_each_state(state: State) -> None:
    for name, sender in product(
        ("accept", "accept in part", "reject", "cancel", "settle"), SENDERS
    ):
        world = World()
        id_ = bring(world, state)
        before = load(world, id_)
        code = world.call(sender, calls_on(world, id_)[name])
        who, after = TABLE.get((state, name), (None, state))
        if sender == who:
            assert code == 0, (name, sender)
            assert load(world, id_).state is after
            continue
        assert load(world, id_) == before, (name, sender)
        if name == "settle":
            expected = Refusal.CLAIM_NOT_SETTLEABLE
        elif sender == WHO[name]:
            expected = Refusal.CLAIM_IN_WRONG_STATE
        else:
            expected = Refusal.CLAIM_NOT_YOURS
        assert Refusal(code) is expected, (name, sender)


def test_a_claim_is_kept_as_submitted() -> None:
    world = World()
    id_ = world.submit("glasses")
    call = world.submission("glasses")
    found = load(world, id_)
    kept = {field: getattr(found, field) for field in ClaimSubmit.__struct_fields__}
    assert kept == {field: getattr(call, field) for field in ClaimSubmit.__struct_fields__}
    assert found.submitter == world.ids[SHOP]
    assert (found.height, found.time) == (world.chain.header.height, world.chain.header.time)
    assert (found.state, found.reason, found.settlement) == (State.SUBMITTED, None, None)


def test_what_is_due_is_what_the_payer_accepted() -> None:
    world = World()
    full, part = world.submit("full"), world.submit("part")
    less = opening(4_000, "less").commitment()
    assert world.call(PAYER, ClaimAccept(full, None)) == 0
    assert world.call(PAYER, ClaimAccept(part, less)) == 0
    assert load(world, full).due == opening(10_000, "full").commitment()
    assert load(world, part).due == less
    assert load(world, part).amount == opening(10_000, "part").commitment()


def test_a_rejection_keeps_its_reason_and_its_marks() -> None:
    world = World()
    id_ = world.submit("glasses")
    assert world.call(PAYER, ClaimReject(id_, Reason.RENEWAL_NOT_DUE, automatic=True)) == 0
    found = load(world, id_)
    assert (found.reason, found.automatic) == (Reason.RENEWAL_NOT_DUE, True)
    assert world.holder(mark("glasses").mark) == id_


@pytest.mark.parametrize("state", [State.SUBMITTED, State.ACCEPTED])
def test_a_cancelled_claim_frees_its_mark_for_another(state: State) -> None:
    world = World()
    id_ = bring(world, state)
    assert world.call(SHOP, ClaimCancel(id_)) == 0
    assert world.holder(mark("glasses").mark) is None
    world.lock(SHOP, mark("glasses"))
    assert world.call(SHOP, world.submission("glasses")) == 0


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


def _submission(world: World, **changes: object) -> ClaimSubmit:
    world.prescribe(SHOP, "glasses")
    world.lock(SHOP, mark("glasses"))
    return msgspec.structs.replace(world.submission("glasses"), **changes)


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
    world = World()
    payer = changes.get("payer")
    if isinstance(payer, str):
        changes = changes | {"payer": world.ids[payer]}
    call = _submission(world, **changes)
    assert world.call(SHOP, call) == (refusal or 0)


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


def test_a_second_shop_with_the_same_prescription_is_refused_and_learns_no_more() -> None:
    world = World()
    world.submit("glasses")
    world.prescribe("rival", "glasses")
    world.lock("rival", mark("glasses"))
    executed = world.block(world.transaction("rival", world.submission("glasses")))
    outcome = executed.outcomes[0]
    assert (outcome.code, outcome.evidence) == (Refusal.MARK_ALREADY_USED, ())


def test_a_lot_of_claims_has_an_outcome_for_each() -> None:
    world = World()
    names = [f"glasses {n}" for n in range(6)]
    world.block(world.transaction(SHOP, *(PrescriptionCommit(bytes32(name)) for name in names[:5])))
    world.lock(SHOP, *(mark(name) for name in names))
    lot = world.transaction(SHOP, *(world.submission(name) for name in [*names, names[0]]))
    executed = world.block(lot)
    codes = [outcome.code for outcome in executed.outcomes]
    assert codes == [0] * 5 + [Refusal.PRESCRIPTION_NOT_COMMITTED, Refusal.MARK_NOT_LOCKED]


def test_lenses_and_frame_are_two_marks_of_one_claim() -> None:
    world = World()
    world.prescribe(SHOP, "glasses")
    both = (mark("glasses"), mark("glasses", Part.FRAME))
    world.lock(SHOP, *both)
    submission = msgspec.structs.replace(world.submission("glasses"), marks=both)
    assert world.call(SHOP, submission) == 0
    holders = {world.holder(each.mark) for each in both}
    assert len(holders) == 1
    assert None not in holders


def test_the_frame_alone_is_refused_once_it_was_claimed_with_the_lenses() -> None:
    world = World()
    world.prescribe(SHOP, "glasses")
    both = (mark("glasses"), mark("glasses", Part.FRAME))
    world.lock(SHOP, *both)
    call = msgspec.structs.replace(world.submission("glasses"), marks=both)
    assert world.call(SHOP, call) == 0
    world.lock(SHOP, both[1])
    again = msgspec.structs.replace(world.submission("glasses"), marks=(both[1],))
    assert world.call(SHOP, again) == Refusal.MARK_ALREADY_USED


def test_an_accepted_amount_must_be_a_point() -> None:
    world = World()
    id_ = world.submit("glasses")
    assert world.call(PAYER, ClaimAccept(id_, b"\xff" * 32)) == Refusal.AMOUNT_NOT_A_POINT
    assert load(world, id_).state is State.SUBMITTED


def test_a_claim_that_does_not_exist_is_unknown() -> None:
    world = World()
    for call in (
        ClaimAccept(bytes(32), None),
        ClaimReject(bytes(32), Reason.OTHER, automatic=False),
        ClaimCancel(bytes(32)),
    ):
        assert world.call(PAYER, call) == Refusal.CLAIM_UNKNOWN


def test_a_wrong_state_is_told_by_its_number() -> None:
    world = World()
    id_ = bring(world, State.CANCELLED)
    executed = world.block(world.transaction(PAYER, ClaimAccept(id_, None)))
    assert executed.outcomes[0].evidence == (State.CANCELLED,)


def test_a_claim_is_settled_when_its_settlement_is_confirmed() -> None:
    world = World()
    id_ = bring(world, State.BATCHED)
    batched = load(world, id_)
    assert batched.settlement is not None
    assert now(world, id_) is State.BATCHED
    assert world.call(SHOP, SettlementConfirm(batched.settlement)) == 0
    assert load(world, id_) == batched  # confirming a settlement touches no claim
    assert now(world, id_) is State.SETTLED
    found = settlement.load(world.state, batched.settlement)
    assert found is not None
    assert found.claims == (id_,)
