"""Settlements: the sum that nobody learns, confirmed by whom it is paid to."""

import pytest

from contracts import settlement
from contracts.batch import Settlement, State
from contracts.calls import ClaimAccept, ClaimCancel, SettlementConfirm, SettlementCreate
from contracts.commitment import Opening, sum_openings, verify_opening
from contracts.errors import BadOpening, Refusal
from ledger.hashing import Hash
from ledger.transaction import created_id
from tests.contracts.world import World, bytes32, opening

SHOP, PAYER = "shop", "insurer"


def accepted(world: World, name: str, *, shop: str = SHOP, payer: str = PAYER) -> Hash:
    id_ = world.submit(name, shop=shop, payer=payer)
    assert world.call(payer, ClaimAccept(id_, None)) == 0
    return id_


def settle(world: World, *claims: bytes, payer: str = PAYER, shop: str = SHOP) -> Hash:
    call = SettlementCreate(world.ids[shop], claims, bytes32("transfer"))
    transaction = world.transaction(payer, call)
    assert world.block(transaction).outcomes[0].code == 0
    return created_id(transaction.id, 0)


def load(world: World, id_: bytes) -> Settlement:
    found = settlement.load(world.state, id_)
    assert found is not None
    return found


def refused(
    world: World, call: SettlementCreate, sender: str = PAYER
) -> tuple[Refusal, int | None]:
    outcome = world.block(world.transaction(sender, call)).outcomes[0]
    return Refusal(outcome.code), outcome.evidence[0] if outcome.evidence else None


def test_the_sum_is_that_of_what_was_accepted() -> None:
    world = World()
    first, second = accepted(world, "first"), world.submit("second")
    less = opening(2_500, "less")
    assert world.call(PAYER, ClaimAccept(second, less.commitment())) == 0
    found = load(world, settle(world, first, second))
    total = sum_openings([opening(10_000, "first"), less])
    verify_opening(found.sum, total)
    assert total.amount == 12_500
    with pytest.raises(BadOpening):
        verify_opening(found.sum, Opening(total.amount + 1, total.blinding))


def test_a_settlement_is_kept_as_created() -> None:
    world = World()
    claims = (accepted(world, "first"), accepted(world, "second"))
    found = load(world, settle(world, *claims))
    assert (found.payer, found.beneficiary) == (world.ids[PAYER], world.ids[SHOP])
    assert found.claims == claims
    assert found.payment == bytes32("transfer")
    assert (found.height, found.time) == (world.chain.header.height, world.chain.header.time)
    assert found.state is State.ANNOUNCED


def test_only_the_beneficiary_confirms_and_only_once() -> None:
    world = World()
    id_ = settle(world, accepted(world, "glasses"))
    for sender in (PAYER, "rival", "mutual", "auditor"):
        assert world.call(sender, SettlementConfirm(id_)) == Refusal.SETTLEMENT_NOT_YOURS
    executed = world.block(world.transaction(SHOP, SettlementConfirm(id_)))
    assert executed.outcomes[0].code == 0
    assert executed.concerned == ((world.ids[SHOP], world.ids[PAYER]),)
    assert load(world, id_).state is State.CONFIRMED
    outcome = world.block(world.transaction(SHOP, SettlementConfirm(id_))).outcomes[0]
    assert outcome.code == Refusal.SETTLEMENT_IN_WRONG_STATE
    assert outcome.evidence == (State.CONFIRMED,)


def test_a_settlement_that_does_not_exist_is_unknown() -> None:
    world = World()
    assert world.call(SHOP, SettlementConfirm(bytes(32))) == Refusal.SETTLEMENT_UNKNOWN


def test_a_settlement_concerns_payer_and_beneficiary() -> None:
    world = World()
    call = SettlementCreate(world.ids[SHOP], (accepted(world, "glasses"),), None)
    executed = world.block(world.transaction(PAYER, call))
    assert executed.concerned == ((world.ids[PAYER], world.ids[SHOP]),)


def test_no_claim_is_settled_twice() -> None:
    world = World()
    shop = world.ids[SHOP]
    first, second = accepted(world, "first"), accepted(world, "second")
    settle(world, first)
    again = SettlementCreate(shop, (second, first), None)
    assert refused(world, again) == (Refusal.CLAIM_NOT_SETTLEABLE, 1)
    twice = SettlementCreate(shop, (second, second), None)
    assert refused(world, twice) == (Refusal.CLAIM_LISTED_TWICE, 1)
    assert world.call(PAYER, SettlementCreate(shop, (second,), None)) == 0


def test_two_settlements_in_one_block_do_not_share_a_claim() -> None:
    world = World()
    id_ = accepted(world, "glasses")
    call = SettlementCreate(world.ids[SHOP], (id_,), None)
    executed = world.block(world.transaction(PAYER, call, call), world.transaction(PAYER, call))
    codes = [outcome.code for outcome in executed.outcomes]
    assert codes == [0, Refusal.CLAIM_NOT_SETTLEABLE, Refusal.CLAIM_NOT_SETTLEABLE]


def test_a_settlement_is_of_one_payer_and_one_beneficiary() -> None:
    world = World()
    own, of_rival = accepted(world, "own"), accepted(world, "other", shop="rival")
    of_mutual = accepted(world, "third", payer="mutual")
    shop = world.ids[SHOP]
    for claims, index in (((own, of_rival), 1), ((of_mutual, own), 0), ((own, bytes(32)), 1)):
        call = SettlementCreate(shop, claims, None)
        assert refused(world, call) == (Refusal.CLAIM_NOT_SETTLEABLE, index)
    by_shop = SettlementCreate(shop, (own,), None)
    assert refused(world, by_shop, SHOP) == (Refusal.CLAIM_NOT_SETTLEABLE, 0)


def test_only_accepted_claims_are_settled() -> None:
    world = World()
    submitted, cancelled = world.submit("submitted"), accepted(world, "cancelled")
    assert world.call(SHOP, ClaimCancel(cancelled)) == 0
    for id_ in (submitted, cancelled):
        call = SettlementCreate(world.ids[SHOP], (id_,), None)
        assert refused(world, call) == (Refusal.CLAIM_NOT_SETTLEABLE, 0)


def test_the_beneficiary_is_a_member() -> None:
    world = World()
    call = SettlementCreate(bytes(16), (accepted(world, "glasses"),), None)
    assert refused(world, call) == (Refusal.BENEFICIARY_UNKNOWN, None)


def test_a_settled_claim_is_out_of_reach() -> None:
    world = World()
    id_ = accepted(world, "glasses")
    settle(world, id_)
    assert world.call(SHOP, ClaimCancel(id_)) == Refusal.CLAIM_IN_WRONG_STATE
