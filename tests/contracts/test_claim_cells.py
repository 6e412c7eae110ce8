"""Claims: every state, every call and every party, against tables written by hand."""

from collections.abc import Callable
from typing import Final

import pytest

from contracts import claim, claim_life
from contracts.calls import (
    Call,
    ClaimAbandon,
    ClaimAccept,
    ClaimCancel,
    ClaimClose,
    ClaimConcede,
    ClaimDispute,
    ClaimGround,
    ClaimOverturn,
    ClaimRecover,
    ClaimReject,
    ClaimReverse,
    ClaimSupersede,
    ClaimUphold,
    ClaimWithdraw,
    Reason,
)
from contracts.claim import Claim, State
from contracts.errors import Refusal
from contracts.explanation import explain
from contracts.marks import Held
from contracts.state import Overlay
from ledger.encoding import decode
from ledger.entry import Outcome
from tests.contracts.stages import (
    ANSWER,
    DECISION,
    LESS,
    MARKS,
    PARAMETERS,
    PAYER,
    SETTLING,
    SHOP,
    STRANGER,
    WINDOW,
    Stage,
    staged_claim,
)
from tests.contracts.world import bytes32

S = State
G = ClaimGround
PERSON = "anne"  # at the payer
CALLS: Final[dict[str, Callable[[bytes], Call]]] = {
    "accept": lambda id_: ClaimAccept(id_, None),
    "accept in part": lambda id_: ClaimAccept(id_, LESS),
    "reject": lambda id_: ClaimReject(id_, Reason.DUPLICATE, automatic=False),
    "cancel": ClaimCancel,
    "abandon": ClaimAbandon,
    "reverse": ClaimReverse,
    "recover": lambda id_: ClaimRecover(id_, Reason.DUPLICATE),
    "concede": ClaimConcede,
    "dispute rejection": lambda id_: ClaimDispute(id_, G.REJECTION),
    "dispute amount": lambda id_: ClaimDispute(id_, G.AMOUNT),
    "dispute payment": lambda id_: ClaimDispute(id_, G.PAYMENT_NOT_FOUND),
    "dispute acceptance": lambda id_: ClaimDispute(id_, G.ACCEPTANCE),
    "dispute recovery": lambda id_: ClaimDispute(id_, G.RECOVERY),
    "uphold": ClaimUphold,
    "overturn": lambda id_: ClaimOverturn(id_, None),
    "overturn in part": lambda id_: ClaimOverturn(id_, LESS),
    "withdraw": ClaimWithdraw,
    "close": ClaimClose,
    "supersede": lambda id_: ClaimSupersede(id_, bytes32("rectified")),
}
# Whose call it is, whatever the state of the claim.
WHO: Final = {
    "accept": (PAYER,),
    "accept in part": (PAYER,),
    "reject": (PAYER,),
    "cancel": (SHOP,),
    "abandon": (SHOP,),
    "reverse": (SHOP,),
    "recover": (PAYER,),
    "concede": (SHOP,),
    "dispute rejection": (SHOP, PAYER),
    "dispute amount": (SHOP, PAYER),
    "dispute payment": (SHOP, PAYER),
    "dispute acceptance": (SHOP, PAYER),
    "dispute recovery": (SHOP, PAYER),
    "uphold": (SHOP, PAYER),
    "overturn": (SHOP, PAYER),
    "overturn in part": (SHOP, PAYER),
    "withdraw": (SHOP, PAYER),
    "close": (PAYER,),
    "supersede": (SHOP,),
}
# (state, call) -> who may, and the state after.
APPLIED: Final = {
    (S.SUBMITTED, "accept"): (PAYER, S.ACCEPTED),
    (S.SUBMITTED, "accept in part"): (PAYER, S.ACCEPTED_IN_PART),
    (S.SUBMITTED, "reject"): (PAYER, S.REJECTED),
    (S.SUBMITTED, "cancel"): (SHOP, S.CANCELLED),
    (S.SUBMITTED, "supersede"): (SHOP, S.SUBMITTED),
    (S.ACCEPTED, "cancel"): (SHOP, S.CANCELLED),
    (S.ACCEPTED, "dispute acceptance"): (PAYER, S.ACCEPTANCE_DISPUTED),
    (S.ACCEPTED, "dispute payment"): (SHOP, S.PAYMENT_DISPUTED),
    (S.ACCEPTED_IN_PART, "cancel"): (SHOP, S.CANCELLED),
    (S.ACCEPTED_IN_PART, "dispute acceptance"): (PAYER, S.ACCEPTANCE_DISPUTED),
    (S.ACCEPTED_IN_PART, "dispute amount"): (SHOP, S.AMOUNT_DISPUTED),
    (S.ACCEPTED_IN_PART, "dispute payment"): (SHOP, S.PAYMENT_DISPUTED),
    (S.REJECTED, "abandon"): (SHOP, S.ABANDONED),
    (S.REJECTED, "dispute rejection"): (SHOP, S.REJECTION_DISPUTED),
    (S.REJECTION_DISPUTED, "uphold"): (PAYER, S.REJECTED),
    (S.REJECTION_DISPUTED, "overturn"): (PAYER, S.ACCEPTED),
    (S.REJECTION_DISPUTED, "overturn in part"): (PAYER, S.ACCEPTED_IN_PART),
    (S.REJECTION_DISPUTED, "withdraw"): (SHOP, S.REJECTED),
    (S.AMOUNT_DISPUTED, "uphold"): (PERSON, S.ACCEPTED_IN_PART),
    (S.AMOUNT_DISPUTED, "overturn"): (PERSON, S.ACCEPTED),
    (S.AMOUNT_DISPUTED, "overturn in part"): (PERSON, S.ACCEPTED_IN_PART),
    (S.AMOUNT_DISPUTED, "withdraw"): (SHOP, S.ACCEPTED_IN_PART),
    (S.ACCEPTANCE_DISPUTED, "uphold"): (SHOP, S.ACCEPTED),
    (S.ACCEPTANCE_DISPUTED, "overturn"): (SHOP, S.CANCELLED),
    (S.ACCEPTANCE_DISPUTED, "withdraw"): (PAYER, S.ACCEPTED),
    (S.SETTLED, "reverse"): (SHOP, S.REVERSED),
    (S.SETTLED, "recover"): (PAYER, S.RECOVERY_ASKED),
    (S.SETTLED, "dispute payment"): (SHOP, S.PAYMENT_DISPUTED),
    (S.SETTLED, "close"): (PAYER, S.CLOSED),
    (S.PAYMENT_DISPUTED, "uphold"): (PAYER, S.SETTLED),
    (S.PAYMENT_DISPUTED, "overturn"): (PAYER, S.SETTLED),
    (S.PAYMENT_DISPUTED, "withdraw"): (SHOP, S.SETTLED),
    (S.RECOVERY_ASKED, "concede"): (SHOP, S.REVERSED),
    (S.RECOVERY_ASKED, "dispute recovery"): (SHOP, S.RECOVERY_DISPUTED),
    (S.RECOVERY_ASKED, "withdraw"): (PAYER, S.SETTLED),
    (S.RECOVERY_DISPUTED, "uphold"): (PAYER, S.RECOVERY_ASKED),
    (S.RECOVERY_DISPUTED, "overturn"): (PAYER, S.SETTLED),
    (S.RECOVERY_DISPUTED, "withdraw"): (SHOP, S.RECOVERY_ASKED),
    (S.CLOSED, "reverse"): (SHOP, S.REVERSED),
}
# What a party may do in principle, but not so: (state, call, party) -> why.
REFUSED: Final[dict[tuple[State, str, str], Outcome]] = {
    **{
        (state, f"dispute {ground.name.lower()}", party): Outcome(133, (fits,))
        for state, party, fits, grounds in (
            (S.ACCEPTED, PAYER, 4, (G.REJECTION, G.AMOUNT, G.RECOVERY)),
            (S.ACCEPTED, SHOP, 3, (G.REJECTION, G.AMOUNT, G.ACCEPTANCE, G.RECOVERY)),
            (S.ACCEPTED_IN_PART, PAYER, 4, (G.REJECTION, G.AMOUNT, G.RECOVERY)),
            (S.ACCEPTED_IN_PART, SHOP, 3, (G.REJECTION, G.ACCEPTANCE, G.RECOVERY)),
            (S.REJECTED, SHOP, 1, (G.AMOUNT, G.ACCEPTANCE, G.RECOVERY)),
            (S.SETTLED, SHOP, 3, (G.REJECTION, G.AMOUNT, G.ACCEPTANCE, G.RECOVERY)),
            (S.RECOVERY_ASKED, SHOP, 5, (G.REJECTION, G.AMOUNT, G.ACCEPTANCE)),
        )
        for ground in grounds
    },
    **{
        (S.AMOUNT_DISPUTED, name, PAYER): Outcome(106)  # a person must
        for name in ("uphold", "overturn", "overturn in part")
    },
    (S.ACCEPTED, "dispute payment", PAYER): Outcome(133, (4,)),
    (S.ACCEPTED_IN_PART, "dispute payment", PAYER): Outcome(133, (4,)),
    (S.REJECTED, "dispute payment", SHOP): Outcome(133, (1,)),
    (S.RECOVERY_ASKED, "dispute payment", SHOP): Outcome(133, (5,)),
    (S.ACCEPTANCE_DISPUTED, "overturn in part", SHOP): Outcome(134),
    (S.PAYMENT_DISPUTED, "overturn in part", PAYER): Outcome(134),
    (S.RECOVERY_DISPUTED, "overturn in part", PAYER): Outcome(134),
}
# Only after some time, by whoever waits: (state, call, party) -> seconds.
WAITS: Final = {
    **{(state, "dispute payment", SHOP): SETTLING for state in (S.ACCEPTED, S.ACCEPTED_IN_PART)},
    (S.SETTLED, "close", PAYER): WINDOW + 1,
}
# From which calls on it is owed, and from no others.
OWES: Final = {
    *((S.SUBMITTED, name) for name in ("accept", "accept in part")),
    *(
        (state, name)
        for state in (S.REJECTION_DISPUTED, S.AMOUNT_DISPUTED)
        for name in ("overturn", "overturn in part")
    ),
    (S.SETTLED, "reverse"),
    (S.CLOSED, "reverse"),
    (S.RECOVERY_ASKED, "concede"),
}
# How the marks of a claim are held in the state after: without an end, for a time, not at all.
HELD: Final = {
    **dict.fromkeys(State, "without end"),
    S.REJECTED: "in window",
    **dict.fromkeys((S.CANCELLED, S.ABANDONED, S.REVERSED), "free"),
}
STATES: Final = tuple(State)


def tried(stage: Stage, sender: str, call: Call, after: int) -> tuple[Outcome, Overlay]:
    """Return the outcome of a call, and what the state would be."""
    sent = stage.world.transaction(sender, call, valid_for=after + 600)
    executed = stage.world.execute([sent], after=after)
    overlay = Overlay(stage.world.state)
    overlay.changes.update(executed.changes)
    return executed.outcomes[0], overlay


def load(state: Overlay, id_: bytes) -> Claim:
    found = claim.load(state, id_)
    assert found is not None
    return found


def expected(state: State, name: str, sender: str) -> Outcome:
    """Return the outcome that a call must have."""
    who, _ = APPLIED.get((state, name), (None, None))
    if sender == who:
        return Outcome(0)
    if (state, name, sender) in REFUSED:
        return REFUSED[state, name, sender]
    if sender not in WHO[name]:
        return Outcome(Refusal.CLAIM_NOT_YOURS)
    kind = name.split(maxsplit=1)[0]
    some = {found.split()[0] for before, found in APPLIED if before is state}
    if kind in some:  # the other side's
        return Outcome(Refusal.CLAIM_NOT_YOURS)
    return Outcome(Refusal.CLAIM_IN_WRONG_STATE, (state,))


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("state", STATES)
def test_who_may_do_what_in_each_state(state: State, name: str) -> None:
    stage = staged_claim(state)
    before = claim.load(stage.world.state, stage.id)
    assert before is not None
    who, to = APPLIED.get((state, name), (PAYER, state))
    for sender in dict.fromkeys((SHOP, PAYER, STRANGER, who)):
        after = WAITS.get((state, name, sender), 1)
        outcome, overlay = tried(stage, sender, CALLS[name](stage.id), after)
        assert outcome == expected(state, name, sender), sender
        found = load(overlay, stage.id)
        if outcome.code:
            assert found == before
            continue
        assert claim.state_of(overlay, found, stage.time + after) is to
        assert found.since == (before.since if to is state else stage.time + after)
        assert found.owed == (stage.time + after if (state, name) in OWES else before.owed)
        for each in MARKS:
            data = overlay.get(b"x" + each.mark)
            held = None if data is None else decode(data, Held)
            if HELD[to] == "free":
                assert held is None
            else:
                until = stage.time + after + WINDOW if HELD[to] == "in window" else None
                assert held == Held(stage.id, until)


def test_every_row_is_of_a_cell_of_these_tables() -> None:
    kinds = {type(make(bytes(32))): name.split()[0] for name, make in CALLS.items()}
    cells = {(before, name.split()[0], after) for (before, name), (_, after) in APPLIED.items()}
    # What a dispute goes back to depends on the claim: told apart below.
    back = {
        (S.PAYMENT_DISPUTED, S.ACCEPTED),
        (S.PAYMENT_DISPUTED, S.ACCEPTED_IN_PART),
        (S.ACCEPTANCE_DISPUTED, S.ACCEPTED_IN_PART),
    }
    for row in claim_life.LIFE.rows:
        if row.call in kinds and (row.before, row.after) not in back:
            assert (row.before, kinds[row.call], row.after) in cells


# --- when -----------------------------------------------------------------------------------------

# (state, call) -> from, to, due, in seconds after the last step; "since" is when it was settled.
TIMES: Final[dict[tuple[State, type, str], tuple[int | None, int | None, int | None]]] = {
    (S.SUBMITTED, ClaimAccept, PAYER): (None, None, DECISION),
    (S.SUBMITTED, ClaimReject, PAYER): (None, None, DECISION),
    (S.ACCEPTED, ClaimDispute, SHOP): (SETTLING, None, None),
    (S.ACCEPTED, ClaimDispute, PAYER): (None, WINDOW, None),
    (S.ACCEPTED_IN_PART, ClaimDispute, PAYER): (None, WINDOW, None),
    (S.ACCEPTED_IN_PART, ClaimDispute, SHOP): (SETTLING, None, None),
    (S.REJECTED, ClaimDispute, SHOP): (None, WINDOW, None),
    (S.REJECTION_DISPUTED, ClaimUphold, PAYER): (None, None, ANSWER),
    (S.REJECTION_DISPUTED, ClaimOverturn, PAYER): (None, None, ANSWER),
    (S.AMOUNT_DISPUTED, ClaimUphold, PAYER): (None, None, ANSWER),
    (S.AMOUNT_DISPUTED, ClaimOverturn, PAYER): (None, None, ANSWER),
    (S.ACCEPTANCE_DISPUTED, ClaimUphold, SHOP): (None, None, ANSWER),
    (S.ACCEPTANCE_DISPUTED, ClaimOverturn, SHOP): (None, None, ANSWER),
    (S.SETTLED, ClaimDispute, SHOP): (None, WINDOW, None),
    (S.SETTLED, ClaimClose, PAYER): (WINDOW + 1, None, None),
    (S.PAYMENT_DISPUTED, ClaimUphold, PAYER): (None, None, ANSWER),
    (S.PAYMENT_DISPUTED, ClaimOverturn, PAYER): (None, None, ANSWER),
    (S.RECOVERY_ASKED, ClaimConcede, SHOP): (None, None, ANSWER),
    (S.RECOVERY_ASKED, ClaimDispute, SHOP): (None, None, ANSWER),
    (S.RECOVERY_DISPUTED, ClaimUphold, PAYER): (None, None, ANSWER),
    (S.RECOVERY_DISPUTED, ClaimOverturn, PAYER): (None, None, ANSWER),
}
NO_TIMES: Final = (None, None, None)


@pytest.mark.parametrize("state", STATES)
def test_until_when_each_call_may_be_made_and_should(state: State) -> None:
    stage = staged_claim(state)
    found = explain(
        claim_life.LIFE, stage.world.state, stage.id, time=stage.time, parameters=PARAMETERS
    )
    assert found is not None
    assert found.state is state
    names = {stage.world.ids[name]: name for name in (SHOP, PAYER)}
    seen = set()
    for step in found.steps:
        times = tuple(
            None if at is None else at - stage.time for at in (step.opens, step.closes, step.due)
        )
        assert step.member is not None
        name = names[step.member]
        if step.condition == "disputes_amount":
            assert times == (None, WINDOW, None)
        elif step.call in {type(make(bytes(32))) for make in CALLS.values()}:
            seen.add((state, step.call, name))
            assert times == TIMES.get((state, step.call, name), NO_TIMES), step
        elif step.after is S.RESUBMITTED:
            assert (state, times) == (S.REJECTED, (None, WINDOW, None))
        elif step.after in {S.BATCHED, S.REPAYING}:
            assert state in (S.ACCEPTED, S.ACCEPTED_IN_PART, S.REVERSED)
            assert times == (None, None, SETTLING)
    assert {key for key in TIMES if key[0] is state} <= seen


@pytest.mark.parametrize(
    ("state", "sender", "ground", "first", "last"),
    [
        (S.ACCEPTED, SHOP, G.PAYMENT_NOT_FOUND, SETTLING, None),
        (S.ACCEPTED_IN_PART, SHOP, G.PAYMENT_NOT_FOUND, SETTLING, None),
        (S.ACCEPTED_IN_PART, SHOP, G.AMOUNT, None, WINDOW),
        (S.ACCEPTED, PAYER, G.ACCEPTANCE, None, WINDOW),
        (S.ACCEPTED_IN_PART, PAYER, G.ACCEPTANCE, None, WINDOW),
        (S.SETTLED, SHOP, G.PAYMENT_NOT_FOUND, None, WINDOW),
    ],
)
def test_a_dispute_is_open_from_its_first_second_to_its_last(
    state: State, sender: str, ground: ClaimGround, first: int | None, last: int | None
) -> None:
    stage = staged_claim(state)
    call = ClaimDispute(stage.id, ground)
    if first is not None:
        outcome, _ = tried(stage, sender, call, first - 1)
        assert outcome == Outcome(Refusal.TOO_EARLY, (stage.time + first,))
        assert tried(stage, sender, call, first)[0].code == 0
    if last is not None:
        outcome, _ = tried(stage, sender, call, last + 1)
        assert outcome == Outcome(Refusal.TOO_LATE, (stage.time + last,))
        assert tried(stage, sender, call, last)[0].code == 0


def test_a_claim_is_closed_once_its_payment_can_be_disputed_no_more() -> None:
    stage = staged_claim(S.SETTLED)
    outcome, _ = tried(stage, PAYER, ClaimClose(stage.id), WINDOW)  # the shop's last second
    assert outcome == Outcome(Refusal.TOO_EARLY, (stage.time + WINDOW + 1,))


def test_a_rejection_is_open_to_its_last_second_and_lapses_after_it() -> None:
    stage = staged_claim(S.REJECTED)
    for call in (ClaimDispute(stage.id, G.REJECTION), ClaimAbandon(stage.id)):
        assert tried(stage, SHOP, call, WINDOW)[0].code == 0
        outcome, _ = tried(stage, SHOP, call, WINDOW + 1)
        assert outcome == Outcome(Refusal.CLAIM_IN_WRONG_STATE, (S.LAPSED,))
