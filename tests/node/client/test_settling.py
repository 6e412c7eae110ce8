"""A settlement between a payer and a shop: built, interrupted, told, checked, closed."""

import dataclasses
import json
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import batch, calls
from contracts import claim as claims
from contracts.calls import Call, ClaimCancel, Direction, Ground
from contracts.commitment import Opening, blinding_from, commit, sum_openings
from contracts.parameters import Parameters
from ledger.transaction import Transaction, parse
from node.client import settling
from node.client.client import Sent
from node.client.decisions import require_applied
from node.client.errors import (
    ClientError,
    NetworkRefused,
    NotFound,
    NotVerified,
    Refused,
    Undecided,
    Unreachable,
)
from node.client.records import ReceivedRecord, SettlementRecord, Stage, every, find
from node.client.settling import Order
from node.client.statements import ACCEPTANCE, SETTLEMENT, Payment, Statement, parse_statement
from node.client.transactions import Sender, sign_and_keep
from node.client.vault import Vault
from tests.contracts.test_settlement import put
from tests.contracts.world import id_of
from tests.node.client import desk
from tests.node.client.street import Street, run

SHOP = id_of("shop")
REFERENCE = "VIR 2026-11 LOT 7"


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    made = Street.of(tmp_path)
    yield made
    made.close()


def create(street: Street, *listed: bytes, name: str = "insurer") -> SettlementRecord:
    order = Order(SHOP, claims=listed or None, reference=REFERENCE)
    return run(street.settlements(name).create(order))


def told(street: Street, record: SettlementRecord) -> Statement:
    """Return the statement as the shop reads it from the file."""
    statement = street.settlements("insurer").statement(record.id)
    street.settlements("insurer").told(record.id)
    return parse_statement(statement.to_json(), "statement.json")


def on_chain(street: Street, record: SettlementRecord) -> batch.Settlement:
    found = batch.load(street.node.world.state, record.id)
    assert found is not None
    return found


def kept(street: Street, name: str, id_: bytes) -> SettlementRecord:
    found = find(street.vault(name), SettlementRecord, id_.hex())
    assert found is not None
    return found[1]


def settlements(street: Street) -> list[bytes]:
    return [key[1:] for key in street.node.world.state.pairs if key[:1] == batch.PREFIX]


# --- the way through ------------------------------------------------------------------------------


def test_a_batch_is_settled_for_the_sum_that_only_the_two_know(street: Street) -> None:
    street.accept(*street.claims[:2])
    street.accept(street.claims[2], cents=1_000)
    record = create(street)
    statement = told(street, record)
    assert statement.opening.amount == street.cents(*street.claims[:2]) + 1_000
    assert statement.payment is not None
    assert statement.payment.reference == REFERENCE
    street.take(statement.to_json(), "shop")
    street.confirm(statement)
    assert on_chain(street, record).state is batch.State.CONFIRMED
    assert {street.state(claim) for claim in street.claims} == {"settled"}


def test_once_closed_both_keep_the_total_and_no_blinding(street: Street) -> None:
    street.accept(*street.claims)
    record = create(street)
    statement = told(street, record)
    assert kept(street, "insurer", record.id).blinding == statement.opening.blinding
    street.confirm(statement)
    view = run(street.node.settlement(record.id))
    assert street.settlements("insurer").known(view) is not None  # the payer looks at it
    for name in ("insurer", "shop"):
        found = kept(street, name, record.id)
        assert (found.stage, found.blinding, found.salt) == (Stage.CLOSED, None, None)
        assert found.cents == street.cents(*street.claims)
    with pytest.raises(NotFound, match="closed"):
        street.settlements("insurer").statement(record.id)
    street.confirm(statement)  # heard twice: nothing is wrong with that


def test_a_repayment_goes_back_by_the_same_way(street: Street) -> None:
    street.accept(*street.claims)
    for claim in street.claims[:2]:
        put(street.node.world, claim, state=claims.State.REVERSED)
    order = Order(id_of("insurer"), Direction.REPAYMENT)
    record = run(street.settlements("shop").create(order))
    statement = street.settlements("shop").statement(record.id)
    assert statement.opening.amount == street.cents(*street.claims[:2])
    require_applied(run(street.settlements("insurer").confirm(statement)))
    assert [street.state(claim) for claim in street.claims] == ["repaid", "repaid", "accepted"]


def test_a_batch_is_built_in_steps_and_claims_are_taken_out(street: Street) -> None:
    street.accept(*street.claims)
    ours = street.settlements("insurer")
    first, second, third = street.claims
    record = run(ours.create(Order(SHOP, claims=(first,), announce=False)))
    run(ours.add(record.id, (second,)))
    run(ours.add(record.id, None))
    run(ours.remove(record.id, (third,)))
    with pytest.raises(NotFound, match="not announced"):
        ours.statement(record.id)
    run(ours.announce(record.id, None))
    assert ours.statement(record.id).opening.amount == street.cents(first, second)
    assert street.state(third) == "accepted"
    with pytest.raises(Refused, match="no more open"):
        run(ours.add(record.id, (third,)))
    street.confirm(told(street, record))


def test_a_dispute_is_answered_and_a_batch_given_up_is_settled_again(street: Street) -> None:
    street.accept(*street.claims)
    record = create(street)
    told(street, record)
    shop, payer = street.settlements("shop"), street.settlements("insurer")
    require_applied(run(shop.dispute(record.id, Ground.PAYMENT_NOT_FOUND)))
    require_applied(run(payer.insist(record.id)))
    require_applied(run(shop.withdraw(record.id)))
    require_applied(run(shop.dispute(record.id, Ground.CLAIM_MISSING)))
    for _ in range(2):  # the second time nobody had heard of the first
        require_applied(run(payer.cancel(record.id)))
    assert kept(street, "insurer", record.id).blinding is None
    again = create(street)
    assert again.id != record.id
    street.confirm(told(street, again))


# --- what the shop does not believe ---------------------------------------------------------------


def test_a_wrong_total_is_not_confirmed(street: Street) -> None:
    street.accept(*street.claims)
    right = told(street, create(street))
    wrong = dataclasses.replace(
        right, opening=Opening(right.opening.amount - 100, right.opening.blinding)
    )
    sent = len(street.node.sent)
    with pytest.raises(NotVerified) as refusal:
        street.confirm(wrong)
    assert refusal.value.fact == "sum"
    assert len(street.node.sent) == sent


def test_what_is_not_announced_yet_is_not_confirmed(street: Street) -> None:
    """Or the payer could announce another sum between the check and the confirmation."""
    street.accept(*street.claims)
    ours = street.settlements("insurer")
    record = run(ours.create(Order(SHOP, announce=False)))
    openings = [
        found
        for claim in street.claims
        if (found := settling.known_opening(street.payer_vault, run(street.node.claim(claim))))
    ]
    early = Statement(SETTLEMENT, record.id, id_of("insurer"), SHOP, sum_openings(openings))
    early.verify(on_chain(street, record).sum)
    sent = len(street.node.sent)
    with pytest.raises(NotVerified, match="not announced yet"):
        street.confirm(early)
    assert len(street.node.sent) == sent


def test_a_sum_that_is_not_that_of_the_claims_we_know_is_not_confirmed(street: Street) -> None:
    """The payer accepted less and told the shop nothing: its total opens the sum all the same."""
    claim = street.claims[0]
    street.take(street.file(claim))
    require_applied(run(street.office("insurer").accept([claim], 1_000))[0])
    statement = told(street, create(street))
    with pytest.raises(NotVerified) as refusal:
        street.confirm(statement)
    assert refusal.value.fact == "claims"
    assert claim.hex() in str(refusal.value)
    outcome = run(street.settlements("shop").confirm(statement, sum_only=True))
    require_applied(outcome)  # it is the shop that decides


def test_a_node_that_hides_a_claim_of_the_batch_is_not_believed(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    street.accept(*street.claims)
    statement = told(street, create(street))
    everything = batch.claims_of
    monkeypatch.setattr(batch, "claims_of", lambda state, id_: everything(state, id_)[1:])
    with pytest.raises(NotVerified) as refusal:
        street.confirm(statement)
    assert refusal.value.fact == "claims"


def test_another_reference_than_was_committed_is_not_believed(street: Street) -> None:
    street.accept(*street.claims)
    right = told(street, create(street))
    assert right.payment is not None
    for payment in (None, Payment("ANOTHER", right.payment.salt)):
        with pytest.raises(NotVerified) as refusal:
            street.confirm(dataclasses.replace(right, payment=payment))
        assert refusal.value.fact == "payment"


def test_a_statement_of_two_others_is_not_taken(street: Street) -> None:
    street.accept(*street.claims)
    right = told(street, create(street))
    with pytest.raises(NotVerified) as refusal:
        street.take(dataclasses.replace(right, payer=id_of("mutual")).to_json(), "shop")
    assert refusal.value.fact == "parties"
    with pytest.raises(NotVerified) as refusal:
        street.take(dataclasses.replace(right, beneficiary=id_of("rival")).to_json(), "shop")
    assert refusal.value.fact == "beneficiary"


# --- what the payer may not do --------------------------------------------------------------------


def test_what_is_not_accepted_is_not_settled(street: Street) -> None:
    with pytest.raises(Refused, match="none of this member's is accepted"):
        create(street)
    with pytest.raises(Refused, match="is submitted, and must be accepted"):
        create(street, street.claims[0])
    assert settlements(street) == []


def test_a_claim_of_another_payer_or_shop_is_refused_here_before_the_chain_does(
    street: Street,
) -> None:
    street.accept(*street.claims)
    with pytest.raises(Refused, match="not of the two"):
        run(street.settlements("insurer").create(Order(id_of("rival"), claims=(street.claims[0],))))
    with pytest.raises(Refused, match="not of the two"):
        create(street, street.claims[0], name="mutual")
    assert settlements(street) == []


def test_a_claim_whose_amount_nobody_here_knows_is_left_out_or_refused(street: Street) -> None:
    street.accept(*street.claims)
    found = find(street.payer_vault, ReceivedRecord, street.claims[0].hex())
    assert found is not None
    with street.payer_vault.changes():
        street.payer_vault.erase(found[0])
    with pytest.raises(NotVerified, match="nothing kept here opens"):
        create(street, *street.claims)
    record = create(street)
    assert on_chain(street, record).count == 2
    assert any(street.claims[0].hex() in each for each in street.said)


def test_a_claim_that_its_shop_cancels_meanwhile_is_left_out(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    street.accept(*street.claims)
    sign, cancelling = sign_and_keep, [ClaimCancel(street.claims[1])]

    def cancelled_first(vault: Vault, sender: Sender, made: Sequence[Call]) -> Transaction:
        if isinstance(made[0], calls.SettlementAdd) and cancelling:
            shop = desk.sender("shop", street.node)
            street.node.include(shop.sign([cancelling.pop()], now=desk.now()).raw)
        return sign(vault, sender, made)

    monkeypatch.setattr(settling, "sign_and_keep", cancelled_first)
    record = create(street)
    assert on_chain(street, record).count == record.count == 2
    assert any("is cancelled, and cannot be settled" in each for each in street.said)


def test_a_list_that_cannot_be_settled_whole_is_not_settled_in_part(
    street: Street,
) -> None:
    street.accept(*street.claims[:2])
    begun = run(street.settlements("insurer").create(Order(SHOP, announce=False)))
    street.accept(street.claims[2])
    with pytest.raises(Refused, match="begun with others"):
        create(street, street.claims[2])
    assert on_chain(street, begun).count == 2


def test_a_settlement_of_another_vault_is_unknown(street: Street) -> None:
    street.accept(*street.claims)
    record = create(street)
    for doing in (
        lambda: street.settlements("shop").statement(record.id),
        lambda: run(street.settlements("shop").add(record.id, None)),
    ):
        with pytest.raises(NotFound, match="of ours"):
            doing()


# --- interrupted ----------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here."""


STEPS = 40  # more than there are in one run


@pytest.mark.parametrize("lost", ["before it is sent", "after it is decided"])
def test_a_command_killed_anywhere_goes_on_and_does_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """Kill it at its first request, run it again and kill it at the second, and so on."""
    street = Street.of(tmp_path)
    street.accept(*street.claims)
    submit, seen = street.node.submit, 0
    monkeypatch.setattr(settling, "MAX_LISTED", 1)
    monkeypatch.setattr(settling, "_CALLS", 1)  # three claims: three transactions

    async def dying(raws: Sequence[bytes], *, wait: int = 0) -> list[Sent]:
        nonlocal seen
        seen += 1
        if lost == "before it is sent":
            raise Killed
        await submit(raws, wait=wait)
        raise Killed

    kills = 0
    for allowed in range(STEPS):
        left = allowed

        async def some(raws: Sequence[bytes], *, wait: int = 0) -> list[Sent]:
            nonlocal left
            if left == 0:
                return await dying(raws, wait=wait)
            left -= 1
            return await submit(raws, wait=wait)

        monkeypatch.setattr(street.node, "submit", some)
        try:
            record = create(street)
        except Killed:
            kills += 1
        else:
            break
    else:
        pytest.fail("it never came to its end")
    assert kills >= 2
    assert settlements(street) == [record.id]
    found = on_chain(street, record)
    assert (found.state, found.count) == (batch.State.ANNOUNCED, 3)
    entered = [
        claim
        for id_ in dict.fromkeys(street.node.sent)
        for call in map(calls.parse_call, parse(street.node.raws[id_]).body.calls)
        if isinstance(call, calls.SettlementAdd)
        for claim in call.claims
    ]
    assert sorted(entered) == sorted(street.claims)
    monkeypatch.setattr(street.node, "submit", submit)
    street.confirm(told(street, record))
    street.close()


def test_what_expired_before_it_was_taken_is_signed_anew(street: Street) -> None:
    street.accept(*street.claims)
    street.node.let_lapse = 1
    record = create(street)
    assert on_chain(street, record).state is batch.State.ANNOUNCED
    assert len(list(every(street.payer_vault, SettlementRecord))) == 1


def test_what_is_not_decided_in_time_is_gone_on_with(street: Street) -> None:
    street.accept(*street.claims)
    street.node.is_stuck = True
    with pytest.raises(Undecided):
        create(street)
    street.node.is_stuck = False
    street.node.lose_answers = 1
    with pytest.raises(Unreachable):
        create(street)
    record = create(street)
    assert settlements(street) == [record.id]


def test_a_statement_that_was_not_written_is_written_again_by_the_same_command(
    street: Street,
) -> None:
    street.accept(*street.claims)
    record = create(street)  # and before the file is written the power fails
    again = create(street)
    assert again.id == record.id
    assert told(street, again).opening.amount == street.cents(*street.claims)
    with pytest.raises(Refused, match="none of this member's is accepted"):
        create(street)


def test_an_announcement_that_was_interrupted_is_made_once_by_the_same_command(
    street: Street,
) -> None:
    street.accept(*street.claims)
    ours = street.settlements("insurer")
    record = run(ours.create(Order(SHOP, announce=False)))
    street.node.lose_answers = 1
    with pytest.raises(Unreachable):
        run(ours.announce(record.id, REFERENCE))
    with pytest.raises(NotFound, match="not announced yet"):
        ours.statement(record.id)  # as far as is known here
    with pytest.raises(Refused, match="it is announced, and no more open"):
        run(ours.announce(record.id, "VIR 8"))
    again = run(ours.announce(record.id, REFERENCE))
    street.confirm(told(street, again))


def test_an_announcement_that_was_not_taken_leaves_no_statement(street: Street) -> None:
    street.accept(*street.claims)
    ours = street.settlements("insurer")
    record = run(ours.create(Order(SHOP, announce=False)))
    street.node.let_lapse = 2  # and it stays too late when it is sent again
    with pytest.raises(Undecided):
        run(ours.announce(record.id, REFERENCE))
    run(ours.remove(record.id, street.claims[:1]))
    assert kept(street, "insurer", record.id).count == 2
    with pytest.raises(NotFound, match="not announced yet"):
        ours.statement(record.id)


def test_what_was_cancelled_elsewhere_is_not_gone_on_with(street: Street) -> None:
    street.accept(*street.claims)
    record = run(street.settlements("insurer").create(Order(SHOP, announce=False)))
    call = calls.SettlementCancel(record.id)
    street.node.include(desk.sender("insurer", street.node).sign([call], now=desk.now()).raw)
    again = create(street)
    assert again.id != record.id
    assert kept(street, "insurer", record.id).stage is Stage.CLOSED
    assert told(street, again).opening.amount == street.cents(*street.claims)


def test_the_chain_says_why_an_opening_is_refused(street: Street) -> None:
    street.accept(*street.claims)
    order = Order(SHOP, claims=())
    with pytest.raises(Refused):
        run(street.settlements("insurer").create(order))
    number, record = street.settlements("insurer")._begin(Order(bytes(16)))
    with pytest.raises(NetworkRefused, match="BENEFICIARY_UNKNOWN"):
        run(street.settlements("insurer")._opened(number, record))
    assert list(every(street.payer_vault, SettlementRecord)) == []


# --- nobody else learns it ------------------------------------------------------------------------


def test_of_a_batch_of_one_nobody_learns_the_amount(street: Street) -> None:
    """Neither it nor what opens it stands in blocks, state, answers or what is said."""
    claim = street.claims[0]
    street.accept(claim, cents=4_321)
    record = create(street, claim)
    statement = told(street, record)
    street.confirm(statement)
    view = run(street.node.settlement(record.id))
    told_by_api = json.dumps([str(view), *(str(run(street.node.claim(c))) for c in street.claims)])
    public = b"".join(
        [
            *street.node.raws.values(),
            *(key + value for key, value in street.node.world.state.pairs.items()),
            "".join(street.said).encode(),
        ]
    )
    opening = statement.opening
    assert statement.payment is not None
    for secret in (opening.blinding, statement.payment.salt, REFERENCE.encode()):
        assert secret not in public
        assert secret.hex().encode() not in public
        assert secret.hex() not in told_by_api
    for text in (b"4321", b"4_321", b"43,21"):
        assert text not in public
    assert str(opening.amount) not in {word.strip("',\"=()") for word in told_by_api.split()}
    # Who guesses the amount still lacks the blinding: no guess opens the sum.
    guess = commit(4_321, blinding_from(secrets.token_bytes(64)))
    assert on_chain(street, record).sum not in {guess, commit(4_321, bytes(32))}


def test_deadlines_are_told_with_the_settlement(street: Street) -> None:
    street.accept(*street.claims)
    record = create(street)
    view = run(street.node.settlement(record.id))
    assert view.since is not None
    assert view.due == view.since + Parameters().confirmation_due_s
    require_applied(run(street.settlements("shop").dispute(record.id, Ground.OTHER)))
    view = run(street.node.settlement(record.id))
    assert view.since is not None
    assert view.due == view.since + Parameters().answer_due_s
    assert view.ground == "OTHER"


# --- statements -----------------------------------------------------------------------------------

MODEL = json.loads(
    Statement(
        SETTLEMENT,
        bytes(32),
        bytes(16),
        bytes(16),
        Opening(7, bytes(32)),
        Payment(REFERENCE, bytes(32)),
    ).to_json()
)


@given(
    st.dictionaries(
        st.sampled_from([*MODEL, "more"]),
        st.none() | st.integers() | st.text(max_size=64) | st.just(MODEL["payment"]),
    )
)
def test_any_statement_is_read_or_refused(fields: dict[str, object]) -> None:
    try:
        statement = parse_statement(json.dumps(MODEL | fields).encode(), "s.json")
    except ClientError:
        return
    assert json.loads(statement.to_json()) == MODEL | fields


@pytest.mark.parametrize(
    "payment",
    [
        [],
        "VIR",
        {},
        {"reference": "VIR"},
        {"reference": "VIR", "salt": "00"},
        {"reference": "", "salt": "00" * 32},
        {"reference": "V" * 36, "salt": "00" * 32},
        {"reference": "V\n", "salt": "00" * 32},
        {"reference": "VIR", "salt": "00" * 32, "more": 1},
    ],
)
def test_a_payment_that_is_none_is_refused(payment: object) -> None:
    with pytest.raises(ClientError, match="payment must be"):
        parse_statement(json.dumps(MODEL | {"payment": payment}).encode(), "s.json")


def test_an_acceptance_has_no_payment() -> None:
    plain = Statement(ACCEPTANCE, bytes(32), bytes(16), bytes(16), Opening(1, bytes(32)))
    assert parse_statement(plain.to_json(), "s.json") == plain
