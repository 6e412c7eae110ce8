"""Claims that a settlement lets go, and what a payer decides anew in a dispute."""

import pytest

from contracts import claim
from contracts.calls import (
    ClaimOverturn,
    ClaimSubmit,
    Direction,
    PrescriptionSupersede,
    SettlementAdd,
    SettlementOpen,
    SettlementRemove,
)
from contracts.claim_life import LIFE
from contracts.errors import Refusal
from ledger.hashing import Hash
from ledger.transaction import created_id
from tests.contracts.stages import (
    PAYER,
    SHOP,
    WINDOW,
    C,
    authorisation_in,
    claim_in,
    loaded_claim,
    submission,
)
from tests.contracts.stages import A as Agreement
from tests.contracts.world import World, bytes32, opening

PERSON = "anne"  # at the payer


def draft(world: World, debtor: str, creditor: str, direction: Direction, claim_: bytes) -> Hash:
    """Put a claim into a settlement that is not announced; return the settlement's id."""
    transaction = world.transaction(debtor, SettlementOpen(world.ids[creditor], direction))
    assert world.block(transaction).outcomes[0].code == 0
    id_ = created_id(transaction.id, 0)
    assert world.call(debtor, SettlementAdd(id_, (claim_,))) == 0
    return id_


def test_a_claim_is_taken_out_of_a_settlement_that_it_is_in_and_of_none_else() -> None:
    rows = {
        (row.before, row.who, row.after, row.when is not None)
        for row in LIFE.rows
        if row.call is SettlementRemove
    }
    assert rows == {
        (C.BATCHED, claim.Party.PAYER, C.ACCEPTED_IN_PART, True),
        (C.BATCHED, claim.Party.PAYER, C.ACCEPTED, False),
        (C.REPAYING, claim.Party.SUBMITTER, C.REVERSED, False),
    }


@pytest.mark.parametrize("state", [C.ACCEPTED, C.ACCEPTED_IN_PART])
def test_what_is_taken_out_is_what_it_was_and_in_no_settlement(state: claim.State) -> None:
    stage = claim_in(state)
    id_ = draft(stage.world, PAYER, SHOP, Direction.PAYMENT, stage.id)
    assert loaded_claim(stage.world, stage.id).settlement == id_
    assert stage.world.call(PAYER, SettlementRemove(id_, (stage.id,))) == 0
    found = loaded_claim(stage.world, stage.id)
    assert (found.state, found.settlement) == (state, None)


def test_what_is_taken_out_of_a_repayment_is_still_to_be_repaid() -> None:
    stage = claim_in(C.REVERSED)
    id_ = draft(stage.world, SHOP, PAYER, Direction.REPAYMENT, stage.id)
    assert loaded_claim(stage.world, stage.id).settlement == id_
    assert stage.world.call(SHOP, SettlementRemove(id_, (stage.id,))) == 0
    found = loaded_claim(stage.world, stage.id)
    assert (found.state, found.settlement) == (C.REVERSED, None)


@pytest.mark.parametrize("amount", [None, opening(3_000, "anew").commitment()])
@pytest.mark.parametrize("state", [C.REJECTION_DISPUTED, C.AMOUNT_DISPUTED])
def test_who_gives_way_decides_anew_with_all_that_a_decision_says(
    state: claim.State, amount: bytes | None
) -> None:
    stage = claim_in(state)
    before = loaded_claim(stage.world, stage.id)
    assert stage.world.call(PERSON, ClaimOverturn(stage.id, amount), after=7) == 0
    found = loaded_claim(stage.world, stage.id)
    assert found.state is (C.ACCEPTED if amount is None else C.ACCEPTED_IN_PART)
    assert found.accepted_amount == amount
    assert found.until == stage.time + WINDOW
    assert found.until > (before.until or 0)
    assert found.decided_by != before.decided_by
    assert (found.disputed, found.reason, found.automatic) == ((), None, False)


def test_an_agreement_serves_no_claim_on_a_prescription_that_was_rectified() -> None:
    stage = authorisation_in(Agreement.GRANTED)
    call = submission(stage.world)
    other = bytes32("rectified")
    assert stage.world.call(SHOP, PrescriptionSupersede(call.prescription, other)) == 0
    claimed = ClaimSubmit(
        call.payer,
        call.leg,
        call.prescription,
        call.document,
        call.amount,
        call.marks,
        stage.id,
        None,
    )
    assert stage.world.call(SHOP, claimed) == Refusal.PRESCRIPTION_NOT_IN_FORCE
