"""What payers and beneficiaries decide, against the real rules."""

import asyncio
import dataclasses
import json
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import batch
from contracts.calls import Reason
from contracts.commitment import Opening
from node.client import disclosure as disclosures
from node.client import inbox, lots
from node.client.decisions import Office, require_applied
from node.client.errors import ClientError, NetworkRefused, NotFound, NotVerified, Refused
from node.client.records import ClaimRecord, PrescriptionRecord, Progress, SettlementRecord, find
from node.client.statements import SETTLEMENT, Statement, parse_statement
from node.client.vault import Vault
from tests.contracts.world import id_of
from tests.node.client import desk
from tests.node.client.desk import MEMBERS, MemoryNode, request

T = TypeVar("T")
NUMBERS = (3, 4, 5)


def run(doing: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(doing)


@dataclass
class Street:
    """A shop with claims on a chain, and their payer."""

    node: MemoryNode
    shop_vault: Vault
    payer_vault: Vault
    claims: list[bytes]

    def office(self, name: str) -> Office:
        vault = self.payer_vault if name == "insurer" else self.shop_vault
        return Office(vault, self.node, desk.sender(name, self.node), wait_s=5, say=desk.silent)

    def take(self, data: bytes, name: str = "insurer") -> Any:  # noqa: ANN401
        vault = self.payer_vault if name == "insurer" else self.shop_vault
        reader = inbox.Reader(id_of(name), MEMBERS, None)
        return run(inbox.take(vault, self.node, reader, data, "file.json"))

    def file(self, claim: bytes) -> bytes:
        _, record = lots.load(self.shop_vault, claim.hex())
        found = find(self.shop_vault, PrescriptionRecord, record.prescription_reference)
        assert found is not None
        opening = lots.opening_of(record)
        return disclosures.make(record, found[1], opening, now=int(time.time())).to_json()

    def record(self, claim: bytes) -> ClaimRecord:
        return lots.load(self.shop_vault, claim.hex())[1]

    def state(self, claim: bytes) -> str:
        return run(self.node.claim(claim)).state


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    node = MemoryNode()
    sender = desk.sender("shop", node)
    with desk.open_vault(tmp_path, "shop") as shop, desk.open_vault(tmp_path, "payer") as payer:
        with shop.changes():
            for number in NUMBERS:
                lots.prepare(shop, sender, request(number), MEMBERS.id_of)
        references = [f"F2025-{number:04}" for number in NUMBERS]
        records = run(lots.submit(shop, node, sender, references, wait_s=5, say=desk.silent))
        yield Street(node, shop, payer, [record.claim or b"" for record in records])


def test_nothing_is_accepted_unseen(street: Street) -> None:
    sent = len(street.node.sent)
    with pytest.raises(Refused) as refusal:
        run(street.office("insurer").accept(street.claims))
    assert "no disclosure" in str(refusal.value)
    assert len(street.node.sent) == sent


def test_what_was_verified_is_accepted(street: Street) -> None:
    for claim in street.claims:
        street.take(street.file(claim))
    outcomes = run(street.office("insurer").accept(street.claims))
    assert [outcome.code for outcome in outcomes] == [0, 0, 0]
    assert {street.state(claim) for claim in street.claims} == {"accepted"}


def test_a_disclosure_that_fails_is_not_kept(street: Street) -> None:
    value = json.loads(street.file(street.claims[0])) | {"cents": 1}
    with pytest.raises(NotVerified):
        street.take(json.dumps(value).encode())
    assert inbox.known(street.payer_vault, street.claims[0]) == {"disclosed": False}


def test_a_part_is_accepted_and_the_shop_sees_how_much(street: Street) -> None:
    claim = street.claims[0]
    street.take(street.file(claim))
    office = street.office("insurer")
    with pytest.raises(Refused):
        run(office.accept([claim], street.record(claim).amount_cents))
    require_applied(run(office.accept([claim], 5_000))[0])
    statement = office.acceptance(claim)
    street.take(statement.to_json(), "shop")
    kept = street.record(claim).accepted
    assert kept is not None
    assert inbox.known(street.payer_vault, claim)["accepted_cents"] == 5_000
    false = dataclasses.replace(statement, opening=Opening(5_001, statement.opening.blinding))
    with pytest.raises(NotVerified) as refusal:
        street.take(false.to_json(), "shop")
    assert refusal.value.fact == "accepted amount"


def test_a_part_that_the_chain_refused_may_be_another_part(street: Street) -> None:
    claim = street.claims[0]
    street.take(street.file(claim))
    run(street.office("shop").cancel(claim))
    assert run(street.office("insurer").accept([claim], 5_000))[0].code
    with pytest.raises(NotFound):
        street.office("insurer").acceptance(claim)


def test_a_whole_claim_accepted_has_no_part_to_state(street: Street) -> None:
    street.take(street.file(street.claims[0]))
    run(street.office("insurer").accept(street.claims[:1]))
    with pytest.raises(NotVerified):
        street.take(
            Statement(
                "depoli/acceptance/1",
                street.claims[0],
                id_of("insurer"),
                id_of("shop"),
                Opening(1, bytes(32)),
            ).to_json(),
            "shop",
        )


def test_a_claim_is_rejected_for_a_reason(street: Street) -> None:
    run(street.office("insurer").reject(street.claims[:1], Reason.DUPLICATE, automatic=True))
    view = run(street.node.claim(street.claims[0]))
    assert (view.state, view.reason) == ("rejected", "DUPLICATE")


def test_a_claim_that_is_cancelled_frees_its_marks_here_and_there(street: Street) -> None:
    claim = street.claims[0]
    assert run(street.office("shop").cancel(claim)).code == 0
    assert street.record(claim).progress is Progress.CANCELLED
    document = desk.example(3, reference="AGAIN")
    document["prescription_reference"] = "F2025-0003"
    sender = desk.sender("shop", street.node)
    with street.shop_vault.changes():
        lots.prepare(street.shop_vault, sender, desk.as_request(document), MEMBERS.id_of)
    (record,) = run(
        lots.submit(street.shop_vault, street.node, sender, ["AGAIN"], wait_s=5, say=desk.silent)
    )
    assert record.progress is Progress.COMMITTED


def test_a_batch_is_settled_for_the_sum_that_only_the_two_know(street: Street) -> None:
    office = street.office("insurer")
    for claim in street.claims:
        street.take(street.file(claim))
    run(office.accept(street.claims[:2]))
    run(office.accept(street.claims[2:], 1_000))
    record = run(office.settle(id_of("shop"), street.claims))
    statement = parse_statement(office.settlement_statement(record.id).to_json(), "s.json")
    total = sum(street.record(claim).amount_cents for claim in street.claims[:2]) + 1_000
    assert statement.opening.amount == total
    street.take(statement.to_json(), "shop")
    require_applied(run(street.office("shop").confirm(statement)))
    found = batch.load(street.node.world.state, record.id)
    assert found is not None
    assert found.state is batch.State.CONFIRMED
    assert {street.state(claim) for claim in street.claims} == {"settled"}
    outcome = run(street.office("shop").confirm(statement))
    with pytest.raises(NetworkRefused) as refusal:
        require_applied(outcome)
    assert "the settlement is confirmed" in str(refusal.value)


def test_a_wrong_total_is_not_confirmed(street: Street) -> None:
    street.take(street.file(street.claims[0]))
    office = street.office("insurer")
    run(office.accept(street.claims[:1]))
    record = run(office.settle(id_of("shop"), street.claims[:1]))
    right = office.settlement_statement(record.id)
    wrong = dataclasses.replace(
        right, opening=Opening(right.opening.amount - 100, right.opening.blinding)
    )
    sent = len(street.node.sent)
    with pytest.raises(NotVerified) as refusal:
        run(street.office("shop").confirm(wrong))
    assert refusal.value.fact == "sum"
    assert len(street.node.sent) == sent


def test_what_is_not_accepted_is_not_settled(street: Street) -> None:
    street.take(street.file(street.claims[0]))
    with pytest.raises(NetworkRefused) as refusal:
        run(street.office("insurer").settle(id_of("shop"), street.claims[:1]))
    assert "claim 1 of the list" in str(refusal.value)
    assert not list(street.payer_vault.all(SettlementRecord.KIND))


@pytest.mark.parametrize("count", [0, 257])
def test_a_batch_has_its_limits(street: Street, count: int) -> None:
    with pytest.raises(Refused):
        run(street.office("insurer").settle(id_of("shop"), street.claims[:1] * count))


def test_a_statement_for_another_is_not_taken(street: Street) -> None:
    statement = Statement(
        SETTLEMENT, bytes(32), id_of("insurer"), id_of("rival"), Opening(1, bytes(32))
    )
    with pytest.raises(NotVerified) as refusal:
        street.take(statement.to_json(), "shop")
    assert refusal.value.fact == "beneficiary"


MODEL = json.loads(
    Statement(SETTLEMENT, bytes(32), bytes(16), bytes(16), Opening(7, bytes(32))).to_json()
)


@given(
    st.dictionaries(
        st.sampled_from([*MODEL, "more"]), st.none() | st.integers() | st.text(max_size=64)
    )
)
def test_any_statement_is_read_or_refused(fields: dict[str, object]) -> None:
    try:
        statement = parse_statement(json.dumps(MODEL | fields).encode(), "s.json")
    except ClientError:
        return
    assert json.loads(statement.to_json()) == MODEL | fields
