"""Settlements: the sum that nobody learns, confirmed by whom it is paid to."""

from collections.abc import Callable, Sequence
from itertools import product
from random import Random
from typing import Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import batch
from contracts import claim as claims
from contracts import settlement as settlements
from contracts.batch import Settlement, State
from contracts.calls import (
    MAX_LISTED,
    MAX_SETTLED,
    Call,
    ClaimAccept,
    ClaimCancel,
    ClaimDispute,
    ClaimGround,
    ClaimWithdraw,
    Direction,
    Ground,
    SettlementAdd,
    SettlementAnnounce,
    SettlementCancel,
    SettlementConfirm,
    SettlementDispute,
    SettlementInsist,
    SettlementOpen,
    SettlementRemove,
    SettlementWithdraw,
)
from contracts.commitment import (
    IDENTITY,
    POINT_BYTES,
    Opening,
    difference,
    sum_openings,
    sum_points,
    verify_opening,
)
from contracts.errors import BadOpening, NotAPoint, Refusal
from contracts.parameters import Parameters
from ledger.encoding import encode
from ledger.hashing import Hash
from ledger.transaction import created_id
from tests.contracts.world import World, bytes32, opening

SHOP, PAYER = "shop", "insurer"
SENDERS: Final = (SHOP, PAYER, "rival", "mutual", "operator", "auditor")


def accepted(world: World, name: str, *, shop: str = SHOP, payer: str = PAYER) -> Hash:
    id_ = world.submit(name, shop=shop, payer=payer)
    assert world.call(payer, ClaimAccept(id_, None)) == 0
    return id_


def begin(
    world: World, direction: Direction = Direction.PAYMENT, *, payer: str = PAYER, shop: str = SHOP
) -> Hash:
    transaction = world.transaction(payer, SettlementOpen(world.ids[shop], direction))
    assert world.block(transaction).outcomes[0].code == 0
    return created_id(transaction.id, 0)


def filled(world: World, *ids: bytes) -> Hash:
    id_ = begin(world)
    assert world.call(PAYER, SettlementAdd(id_, ids)) == 0
    return id_


def announced(world: World, *ids: bytes) -> Hash:
    id_ = filled(world, *ids)
    assert world.call(PAYER, announcement(world, id_)) == 0
    return id_


def announcement(world: World, id_: bytes) -> SettlementAnnounce:
    return SettlementAnnounce(id_, load(world, id_).sum, bytes32("transfer"))


def load(world: World, id_: bytes) -> Settlement:
    found = settlements.load(world.state, id_)
    assert found is not None
    return found


def claim_state(world: World, id_: bytes) -> claims.State:
    found = claims.load(world.state, id_)
    assert found is not None
    return claims.state_of(world.state, found, world.chain.header.time)


def put(world: World, id_: bytes, **changes: object) -> None:
    """Put a claim into a state that no call of these tests leads to."""
    found = claims.load(world.state, id_)
    assert found is not None
    world.state.pairs[b"c" + id_] = encode(msgspec.structs.replace(found, **changes))


def answer(world: World, sender: str, call: Call) -> tuple[Refusal, tuple[int, ...]] | None:
    """Return why a call is refused and with what evidence, None where it is applied."""
    outcome = world.block(world.transaction(sender, call)).outcomes[0]
    return (Refusal(outcome.code), outcome.evidence) if outcome.code else None


# --- the table ------------------------------------------------------------------------------------

# Written by hand, not derived from settlement.LIFE: (state, call) -> (who may, state after).
TABLE: Final = {
    (State.OPEN, "add"): (PAYER, State.OPEN),
    (State.OPEN, "remove"): (PAYER, State.OPEN),
    (State.OPEN, "announce"): (PAYER, State.ANNOUNCED),
    (State.OPEN, "cancel"): (PAYER, State.CANCELLED),
    (State.ANNOUNCED, "confirm"): (SHOP, State.CONFIRMED),
    (State.ANNOUNCED, "dispute"): (SHOP, State.DISPUTED),
    (State.DISPUTED, "confirm"): (SHOP, State.CONFIRMED),
    (State.DISPUTED, "withdraw"): (SHOP, State.ANNOUNCED),
    (State.DISPUTED, "insist"): (PAYER, State.UPHELD),
    (State.DISPUTED, "cancel"): (PAYER, State.CANCELLED),
    (State.UPHELD, "confirm"): (SHOP, State.CONFIRMED),
    (State.UPHELD, "withdraw"): (SHOP, State.ANNOUNCED),
    (State.UPHELD, "cancel"): (PAYER, State.CANCELLED),
}
# What is possible only once the other should have done something, and by when it should.
LATER: Final = {
    (State.OPEN, "cancel", SHOP): "settlement_due_s",
    (State.ANNOUNCED, "cancel", PAYER): "confirmation_due_s",
    (State.DISPUTED, "cancel", SHOP): "answer_due_s",
}
# Where neither of the two can give it up; and an upheld one its payer alone can.
OVER: Final = (State.CONFIRMED, State.CANCELLED)
WHO: Final = {
    "add": PAYER,
    "remove": PAYER,
    "announce": PAYER,
    "cancel": PAYER,
    "insist": PAYER,
    "confirm": SHOP,
    "dispute": SHOP,
    "withdraw": SHOP,
}
PATHS: Final[dict[State, tuple[str, ...]]] = {
    State.OPEN: (),
    State.ANNOUNCED: ("announce",),
    State.DISPUTED: ("announce", "dispute"),
    State.UPHELD: ("announce", "dispute", "insist"),
    State.CONFIRMED: ("announce", "confirm"),
    State.CANCELLED: ("cancel",),
}
# State of the settlement -> that of a claim put into it.
CLAIMS: Final = {
    State.OPEN: claims.State.BATCHED,
    State.ANNOUNCED: claims.State.BATCHED,
    State.DISPUTED: claims.State.BATCHED,
    State.UPHELD: claims.State.BATCHED,
    State.CONFIRMED: claims.State.SETTLED,
    State.CANCELLED: claims.State.ACCEPTED,
}


def calls_on(world: World, id_: bytes, inside: bytes, outside: bytes) -> dict[str, Call]:
    return {
        "add": SettlementAdd(id_, (outside,)),
        "remove": SettlementRemove(id_, (inside,)),
        "announce": announcement(world, id_),
        "confirm": SettlementConfirm(id_),
        "dispute": SettlementDispute(id_, Ground.PAYMENT_NOT_FOUND),
        "insist": SettlementInsist(id_),
        "withdraw": SettlementWithdraw(id_),
        "cancel": SettlementCancel(id_),
    }


@pytest.mark.parametrize("state", State)
def test_who_may_do_what_in_each_state(state: State) -> None:
    world = World()
    inside, outside = accepted(world, "inside"), accepted(world, "outside")
    id_ = filled(world, inside)
    for step in PATHS[state]:
        assert world.call(WHO[step], calls_on(world, id_, inside, outside)[step]) == 0
    assert load(world, id_).state is state
    assert claim_state(world, inside) is CLAIMS[state]
    chain, pairs = world.chain, dict(world.state.pairs)
    for name, sender in product(WHO, SENDERS):
        before = load(world, id_)
        found = answer(world, sender, calls_on(world, id_, inside, outside)[name])
        who, after = TABLE.get((state, name), (None, state))
        if sender == who:
            assert found is None, (name, sender)
            assert load(world, id_).state is after
        elif (state, name, sender) in LATER:
            due = before.since + getattr(Parameters(), LATER[state, name, sender])
            assert found == (Refusal.TOO_EARLY, (due,))
        elif sender == WHO[name] or ((name, sender) == ("cancel", SHOP) and state in OVER):
            assert found == (Refusal.SETTLEMENT_IN_WRONG_STATE, (state,)), (name, sender)
        else:
            assert found == (Refusal.SETTLEMENT_NOT_YOURS, ()), (name, sender)
        if sender != who:
            assert load(world, id_) == before
        world.chain, world.state.pairs = chain, dict(pairs)


def test_what_is_announced_can_be_cancelled_once_the_confirmation_is_overdue() -> None:
    world = World(Parameters(confirmation_due_s=100))
    id_ = announced(world, accepted(world, "glasses"))
    since = load(world, id_).since
    cancel = SettlementCancel(id_)
    assert answer(world, PAYER, cancel) == (Refusal.TOO_EARLY, (since + 100,))
    assert world.call(PAYER, cancel, after=99) == 0
    assert load(world, id_).state is State.CANCELLED


def test_claims_are_not_kept_in_a_settlement_that_is_never_announced() -> None:
    """Or a payer could wait there until nobody may dispute what it decided."""
    world = World(Parameters(settlement_due_s=100, dispute_window_s=200))
    glasses = world.submit("glasses")
    assert world.call(PAYER, ClaimAccept(glasses, opening(5, "less").commitment())) == 0
    id_ = filled(world, glasses)
    since = load(world, id_).since
    cancel, dispute = SettlementCancel(id_), ClaimDispute(glasses, ClaimGround.AMOUNT)
    assert answer(world, SHOP, dispute) == (
        Refusal.CLAIM_IN_WRONG_STATE,
        (claims.State.BATCHED,),
    )
    assert answer(world, SHOP, cancel) == (Refusal.TOO_EARLY, (since + 100,))
    assert world.call(SHOP, cancel, after=99) == 0
    assert load(world, id_).state is State.CANCELLED
    assert world.call(SHOP, dispute) == 0
    assert claim_state(world, glasses) is claims.State.AMOUNT_DISPUTED


def test_a_payer_that_never_answers_a_dispute_holds_no_claims_for_ever() -> None:
    world = World(Parameters(answer_due_s=100))
    glasses = accepted(world, "glasses")
    id_ = announced(world, glasses)
    assert world.call(SHOP, SettlementDispute(id_, Ground.PAYMENT_NOT_FOUND)) == 0
    since = load(world, id_).since
    cancel = SettlementCancel(id_)
    assert answer(world, SHOP, cancel) == (Refusal.TOO_EARLY, (since + 100,))
    assert world.call(SHOP, cancel, after=since + 100 - world.chain.header.time) == 0
    assert claim_state(world, glasses) is claims.State.ACCEPTED


def test_a_shop_does_not_give_up_what_its_payer_insists_on() -> None:
    world = World(Parameters(answer_due_s=0, settlement_due_s=0))
    id_ = announced(world, accepted(world, "glasses"))
    assert answer(world, SHOP, SettlementCancel(id_)) == (Refusal.SETTLEMENT_NOT_YOURS, ())
    assert world.call(SHOP, SettlementDispute(id_, Ground.PAYMENT_NOT_FOUND)) == 0
    assert world.call(PAYER, SettlementInsist(id_)) == 0
    assert answer(world, SHOP, SettlementCancel(id_)) == (Refusal.SETTLEMENT_NOT_YOURS, ())


def test_deadlines_run_from_the_last_step() -> None:
    parameters = Parameters(confirmation_due_s=100, answer_due_s=10)
    world = World(parameters)
    id_ = announced(world, accepted(world, "glasses"))
    due = {
        State.ANNOUNCED: ({"SettlementConfirm", "SettlementDispute"}, 100),
        State.DISPUTED: ({"SettlementCancel", "SettlementInsist"}, 10),
        State.UPHELD: ({"SettlementConfirm"}, 100),
    }
    for sender, call in (
        (SHOP, SettlementDispute(id_, Ground.SUM_WRONG)),
        (PAYER, SettlementInsist(id_)),
        (SHOP, SettlementWithdraw(id_)),
        (SHOP, SettlementConfirm(id_)),
    ):
        found = load(world, id_)
        assert found.since == world.chain.header.time
        rows = settlements.LIFE.open_rows(found.state)
        told = {
            row.call.__name__: row.due(world.state, found, parameters)
            for row in rows
            if row.due is not None
        }
        names, after_s = due[found.state]
        assert told == dict.fromkeys(names, found.since + after_s)
        assert world.call(sender, call, after=7) == 0
    assert load(world, id_).since == world.chain.header.time


def test_a_settlement_is_kept_as_it_was_made() -> None:
    world = World()
    id_ = begin(world)
    opened = world.chain.header
    found = load(world, id_)
    assert (found.payer, found.beneficiary) == (world.ids[PAYER], world.ids[SHOP])
    assert (found.direction, found.count, found.sum) == (Direction.PAYMENT, 0, IDENTITY)
    assert (found.height, found.time, found.position) == (opened.height, opened.time, 0)
    assert (found.payment, found.ground) == (None, None)
    ids = [accepted(world, name) for name in ("first", "second")]
    assert world.call(PAYER, SettlementAdd(id_, tuple(ids))) == 0
    assert batch.claims_of(world.state, id_) == sorted(ids)
    assert world.call(PAYER, announcement(world, id_)) == 0
    assert world.call(SHOP, SettlementDispute(id_, Ground.CLAIM_MISSING)) == 0
    found = load(world, id_)
    assert (found.payment, found.ground) == (bytes32("transfer"), Ground.CLAIM_MISSING)
    assert found.height == opened.height


def test_every_step_concerns_both() -> None:
    world = World()
    glasses = accepted(world, "glasses")
    opening_ = world.transaction(PAYER, SettlementOpen(world.ids[SHOP], Direction.PAYMENT))
    executed = world.block(opening_)
    assert executed.concerned == ((world.ids[PAYER], world.ids[SHOP]),)
    id_ = created_id(opening_.id, 0)
    add = world.transaction(PAYER, SettlementAdd(id_, (glasses,)))
    assert world.block(add).concerned == ((world.ids[PAYER], world.ids[SHOP]),)
    announce = world.transaction(PAYER, announcement(world, id_))
    assert world.block(announce).concerned == ((world.ids[PAYER], world.ids[SHOP]),)
    confirm = world.transaction(SHOP, SettlementConfirm(id_))
    assert world.block(confirm).concerned == ((world.ids[SHOP], world.ids[PAYER]),)


# --- what may be in it ----------------------------------------------------------------------------


def test_the_sum_is_that_of_what_was_accepted() -> None:
    world = World()
    first, second = accepted(world, "first"), world.submit("second")
    less = opening(2_500, "less")
    assert world.call(PAYER, ClaimAccept(second, less.commitment())) == 0
    found = load(world, announced(world, first, second))
    total = sum_openings([opening(10_000, "first"), less])
    verify_opening(found.sum, total)
    assert total.amount == 12_500
    with pytest.raises(BadOpening):
        verify_opening(found.sum, Opening(total.amount + 1, total.blinding))


def test_no_claim_is_in_two_places() -> None:
    world = World()
    first, second = accepted(world, "first"), accepted(world, "second")
    id_ = filled(world, first)
    batched = (Refusal.CLAIM_NOT_SETTLEABLE, (1, claims.State.BATCHED))
    twice = SettlementAdd(id_, (second, second))
    assert answer(world, PAYER, twice) == (Refusal.CLAIM_LISTED_TWICE, (1,))
    assert answer(world, PAYER, SettlementAdd(id_, (second, first))) == batched  # two calls
    other = begin(world)
    assert answer(world, PAYER, SettlementAdd(other, (second, first))) == batched  # two batches
    assert load(world, id_).count == 1
    assert load(world, other).count == 0
    assert claim_state(world, second) is claims.State.ACCEPTED


def test_two_settlements_in_one_block_do_not_share_a_claim() -> None:
    world = World()
    glasses = accepted(world, "glasses")
    first, second = begin(world), begin(world)
    adds = [SettlementAdd(id_, (glasses,)) for id_ in (first, second)]
    executed = world.block(world.transaction(PAYER, *adds), world.transaction(PAYER, adds[0]))
    codes = [outcome.code for outcome in executed.outcomes]
    assert codes == [0, Refusal.CLAIM_NOT_SETTLEABLE, Refusal.CLAIM_NOT_SETTLEABLE]


def test_a_settlement_is_of_one_payer_and_one_beneficiary() -> None:
    world = World()
    own, of_rival = accepted(world, "own"), accepted(world, "other", shop="rival")
    of_mutual = accepted(world, "third", payer="mutual")
    id_, by_shop = begin(world), begin(world, payer=SHOP, shop=PAYER)
    for ids, expected in (
        ((own, of_rival), (Refusal.CLAIM_OF_OTHERS, (1,))),
        ((of_mutual, own), (Refusal.CLAIM_OF_OTHERS, (0,))),
        ((own, bytes(32)), (Refusal.CLAIM_UNKNOWN, (1,))),
    ):
        assert answer(world, PAYER, SettlementAdd(id_, ids)) == expected
    assert answer(world, SHOP, SettlementAdd(by_shop, (own,))) == (Refusal.CLAIM_OF_OTHERS, (0,))
    assert load(world, id_).count == load(world, by_shop).count == 0


# Those that are stored; of the others a settlement or the time decides.
STORED: Final = tuple(
    state for state in claims.State if state not in {claims.State.REPAID, claims.State.LAPSED}
)


@pytest.mark.parametrize("state", STORED)
def test_only_accepted_claims_are_settled_and_only_reversed_ones_repaid(
    state: claims.State,
) -> None:
    world = World()
    glasses = world.submit("glasses")
    elsewhere = begin(world)
    put(world, glasses, state=state, settlement=elsewhere)
    for direction, payer, shop, ready in (
        (Direction.PAYMENT, PAYER, SHOP, (claims.State.ACCEPTED, claims.State.ACCEPTED_IN_PART)),
        (Direction.REPAYMENT, SHOP, PAYER, (claims.State.REVERSED,)),
    ):
        chain, pairs = world.chain, dict(world.state.pairs)
        id_ = begin(world, direction, payer=payer, shop=shop)
        found = answer(world, payer, SettlementAdd(id_, (glasses,)))
        if state in ready:
            assert found is None
        else:
            assert found == (Refusal.CLAIM_NOT_SETTLEABLE, (0, state))
        world.chain, world.state.pairs = chain, pairs


def test_a_repayment_goes_the_other_way_and_its_claims_are_repaid() -> None:
    world = World()
    first, second = accepted(world, "first"), accepted(world, "second")
    for each in (first, second):
        put(world, each, state=claims.State.REVERSED)
    wrong = begin(world, Direction.REPAYMENT)  # by who was paid from
    assert answer(world, PAYER, SettlementAdd(wrong, (first,))) == (Refusal.CLAIM_OF_OTHERS, (0,))
    id_ = begin(world, Direction.REPAYMENT, payer=SHOP, shop=PAYER)
    assert world.call(SHOP, SettlementAdd(id_, (first, second))) == 0
    assert claim_state(world, first) is claims.State.REPAYING
    assert world.call(SHOP, SettlementRemove(id_, (second,))) == 0
    assert claim_state(world, second) is claims.State.REVERSED
    verify_opening(load(world, id_).sum, opening(10_000, "first"))
    assert world.call(SHOP, announcement(world, id_)) == 0
    assert world.call(SHOP, SettlementConfirm(id_)) == Refusal.SETTLEMENT_NOT_YOURS
    assert world.call(PAYER, SettlementConfirm(id_)) == 0
    assert claim_state(world, first) is claims.State.REPAID


def test_a_repayment_that_is_cancelled_leaves_its_claims_reversed() -> None:
    world = World()
    glasses = accepted(world, "glasses")
    put(world, glasses, state=claims.State.REVERSED)
    id_ = begin(world, Direction.REPAYMENT, payer=SHOP, shop=PAYER)
    assert world.call(SHOP, SettlementAdd(id_, (glasses,))) == 0
    assert world.call(SHOP, SettlementCancel(id_)) == 0
    assert claim_state(world, glasses) is claims.State.REVERSED


def test_what_is_taken_out_or_cancelled_can_be_settled_again() -> None:
    world = World()
    first, second = accepted(world, "first"), accepted(world, "second")
    id_ = filled(world, first, second)
    assert world.call(PAYER, SettlementRemove(id_, (first,))) == 0
    assert batch.claims_of(world.state, id_) == [second]
    verify_opening(load(world, id_).sum, opening(10_000, "second"))
    assert answer(world, PAYER, SettlementRemove(id_, (first,))) == (
        Refusal.CLAIM_NOT_IN_SETTLEMENT,
        (0,),
    )
    assert world.call(PAYER, SettlementCancel(id_)) == 0
    again = announced(world, first, second)
    assert load(world, again).count == 2
    assert batch.claims_of(world.state, id_) == [second]  # what was in it when it ended
    assert world.call(SHOP, SettlementConfirm(again)) == 0
    assert {claim_state(world, each) for each in (first, second)} == {claims.State.SETTLED}


@pytest.mark.parametrize("amount", [None, opening(5, "less").commitment()])
@pytest.mark.parametrize("how", ["removed", "given up", "disputed"])
def test_what_comes_back_to_be_paid_is_owed_since_it_was_accepted(
    how: str, amount: bytes | None
) -> None:
    """Or a payer could postpone for ever the dispute that says that it does not pay."""
    world = World(Parameters(settlement_due_s=100))
    glasses = world.submit("glasses")
    assert world.call(PAYER, ClaimAccept(glasses, amount)) == 0
    since = world.chain.header.time
    missing = ClaimDispute(glasses, ClaimGround.PAYMENT_NOT_FOUND)
    out: dict[str, Callable[[], Call]] = {
        "removed": lambda: SettlementRemove(filled(world, glasses), (glasses,)),
        "given up": lambda: SettlementCancel(filled(world, glasses)),
        "disputed": lambda: disputed(world, glasses),
    }
    assert world.call(PAYER, out[how](), after=50) == 0
    before = claims.State.ACCEPTED if amount is None else claims.State.ACCEPTED_IN_PART
    assert claim_state(world, glasses) is before
    assert answer(world, SHOP, missing) == (Refusal.TOO_EARLY, (since + 100,))
    assert world.call(SHOP, missing, after=since + 100 - world.chain.header.time) == 0


def disputed(world: World, id_: bytes) -> ClaimWithdraw:
    """Let the payer dispute its own acceptance; return the call that takes that back."""
    assert world.call(PAYER, ClaimDispute(id_, ClaimGround.ACCEPTANCE)) == 0
    return ClaimWithdraw(id_)


def test_a_claim_of_a_cancelled_settlement_may_be_cancelled_and_no_other() -> None:
    world = World()
    glasses = accepted(world, "glasses")
    id_ = announced(world, glasses)
    assert answer(world, SHOP, ClaimCancel(glasses)) == (
        Refusal.CLAIM_IN_WRONG_STATE,
        (claims.State.BATCHED,),
    )
    assert world.call(SHOP, SettlementDispute(id_, Ground.PAYMENT_NOT_FOUND)) == 0
    assert world.call(PAYER, SettlementCancel(id_)) == 0
    assert world.call(SHOP, ClaimCancel(glasses)) == 0


def test_only_what_is_in_it_is_taken_out_and_once() -> None:
    world = World()
    first, second = accepted(world, "first"), accepted(world, "second")
    id_ = filled(world, first)
    filled(world, second)
    for ids, expected in (
        ((first, first), (Refusal.CLAIM_LISTED_TWICE, (1,))),
        ((first, second), (Refusal.CLAIM_NOT_IN_SETTLEMENT, (1,))),
        ((bytes(32),), (Refusal.CLAIM_NOT_IN_SETTLEMENT, (0,))),
    ):
        assert answer(world, PAYER, SettlementRemove(id_, ids)) == expected
    assert load(world, id_).count == 1


def test_nothing_is_announced_but_the_sum_of_what_is_in_it() -> None:
    world = World()
    id_ = begin(world)
    assert answer(world, PAYER, announcement(world, id_)) == (Refusal.SETTLEMENT_EMPTY, ())
    assert world.call(PAYER, SettlementAdd(id_, (accepted(world, "glasses"),))) == 0
    stale = SettlementAnnounce(id_, IDENTITY, None)
    assert answer(world, PAYER, stale) == (Refusal.SUM_DIFFERS, ())
    assert world.call(PAYER, announcement(world, id_)) == 0


def test_the_beneficiary_is_a_member() -> None:
    world = World()
    call = SettlementOpen(bytes(16), Direction.PAYMENT)
    assert answer(world, PAYER, call) == (Refusal.BENEFICIARY_UNKNOWN, ())


def test_a_settlement_that_does_not_exist_is_unknown() -> None:
    world = World()
    for name, call in calls_on_unknown(world).items():
        assert answer(world, WHO[name], call) == (Refusal.SETTLEMENT_UNKNOWN, ())


def calls_on_unknown(world: World) -> dict[str, Call]:
    known = calls_on(world, begin(world), bytes(32), bytes(32))
    return {
        name: msgspec.structs.replace(call, settlement=bytes(32)) for name, call in known.items()
    }


# --- sums -----------------------------------------------------------------------------------------


@settings(max_examples=max(10, settings().max_examples // 4))
@given(st.data())
def test_the_sum_is_that_of_what_is_in_it_however_it_came_about(data: st.DataObject) -> None:
    """In any order, over any number of calls, with claims taken out and put back."""
    world = World()
    openings = {
        id_: opening(amount, f"{index}")
        for index, amount in enumerate(data.draw(st.lists(st.integers(0, 2**32 - 1), max_size=8)))
        for id_ in [planted(world, index, opening(amount, f"{index}"))]
    }
    id_ = begin(world)
    inside: set[Hash] = set()
    for _ in range(data.draw(st.integers(1, 6))):
        for chosen, call in ((openings.keys() - inside, SettlementAdd), (inside, SettlementRemove)):
            if not chosen:
                continue
            ids = data.draw(st.lists(st.sampled_from(sorted(chosen)), min_size=1, unique=True))
            assert world.call(PAYER, call(id_, tuple(ids))) == 0
            inside = inside | set(ids) if call is SettlementAdd else inside - set(ids)
    found = load(world, id_)
    assert (found.count, set(batch.claims_of(world.state, id_))) == (len(inside), inside)
    verify_opening(found.sum, sum_openings([openings[each] for each in inside]))


@given(st.lists(st.integers(0, 2**32 - 1), max_size=6), st.data())
def test_the_difference_of_sums_is_the_sum_of_what_is_left(
    amounts: Sequence[int], data: st.DataObject
) -> None:
    points = [opening(each, f"{index}").commitment() for index, each in enumerate(amounts)]
    cut = data.draw(st.integers(0, len(points)))
    order = data.draw(st.permutations(points))
    assert difference(sum_points(order), order[:cut]) == sum_points(order[cut:])


def test_the_difference_of_what_is_no_point_is_refused() -> None:
    with pytest.raises(NotAPoint):
        difference((2).to_bytes(POINT_BYTES, "little"), ())


def planted(world: World, index: int, amount: Opening) -> Hash:
    """Put an accepted claim into the state, as if by the calls that lead there."""
    template = world.submission("any")
    id_ = Hash(bytes32(f"claim {index}"))
    made = claims.Claim(
        world.ids[SHOP],
        template.payer,
        template.leg,
        template.prescription,
        template.document,
        amount.commitment(),
        template.marks,
        None,
        None,
        1,
        0,
        bytes(32),
        0,
        0,
        claims.State.ACCEPTED,
        owed=0,
    )
    world.state.pairs[b"c" + id_] = encode(made)
    return id_


def test_ten_thousand_claims_are_settled_by_forty_calls_and_one_confirmation() -> None:
    world = World()
    known = [opening(100 + n, f"{n}") for n in range(20)]  # many claims share an opening
    ids = [planted(world, index, known[index % 20]) for index in range(MAX_SETTLED + 1)]
    Random(1).shuffle(ids)
    *batched, left = ids
    id_ = begin(world)
    for at in range(0, MAX_SETTLED, 7 * MAX_LISTED):
        part = batched[at : at + 7 * MAX_LISTED]
        adds = [
            SettlementAdd(id_, tuple(part[k : k + MAX_LISTED]))
            for k in range(0, len(part), MAX_LISTED)
        ]
        executed = world.block(world.transaction(PAYER, *adds))
        assert {outcome.code for outcome in executed.outcomes} == {0}
    full = (Refusal.SETTLEMENT_FULL, (MAX_SETTLED + 1,))
    assert answer(world, PAYER, SettlementAdd(id_, (left,))) == full
    index = {bytes32(f"claim {n}"): n for n in range(MAX_SETTLED + 1)}
    total = sum_openings([known[index[each] % 20] for each in batched])
    announce = SettlementAnnounce(id_, total.commitment(), None)
    assert world.call(PAYER, announce) == 0
    executed = world.block(world.transaction(SHOP, SettlementConfirm(id_)))
    assert executed.outcomes[0].code == 0
    assert len(executed.changes) < 10  # it touches no claim
    assert len(batch.claims_of(world.state, id_)) == MAX_SETTLED
    assert {claim_state(world, each) for each in batched[::97]} == {claims.State.SETTLED}
    assert claim_state(world, left) is claims.State.ACCEPTED
