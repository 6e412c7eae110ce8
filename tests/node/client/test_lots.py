"""Claims onto the chain: once each, whatever breaks on the way."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts import claim as claims
from contracts.calls import ClaimSubmit, MarkLock, PrescriptionCommit, parse_call
from contracts.claim import State
from contracts.commitment import verify_opening
from ledger.transaction import MAX_CALLS, parse
from node.client import lots, prescriptions
from node.client.attempts import sign_anew
from node.client.client import Sent
from node.client.errors import NotFound, Refused, Undecided, Unreachable
from node.client.records import (
    ClaimRecord,
    PrescriptionRecord,
    Progress,
    TransactionRecord,
    every,
    find,
    update,
)
from node.client.request import ClaimRequest
from node.client.vault import Vault
from tests.node.client import desk
from tests.node.client.desk import MEMBERS, MemoryNode, as_request, example, request


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    with desk.open_vault(tmp_path, "shop") as opened:
        yield opened


@pytest.fixture
def node() -> MemoryNode:
    return MemoryNode()


def bring(
    vault: Vault, node: MemoryNode, *requests: ClaimRequest, shop: str = "shop"
) -> list[ClaimRecord]:
    sender = desk.sender(shop, node)
    with vault.changes():
        for each in requests:
            lots.prepare(vault, sender, each, MEMBERS.id_of)
    references = [each.reference for each in requests]
    return asyncio.run(lots.submit(vault, node, sender, references, wait_s=5, say=desk.silent))


def on_chain(node: MemoryNode, record: ClaimRecord) -> claims.Claim:
    assert record.claim is not None
    found = claims.load(node.world.state, record.claim)
    assert found is not None
    return found


def number_of_claims(node: MemoryNode) -> int:
    return sum(key[:1] == b"c" for key in node.world.state.pairs)


def test_a_claim_comes_onto_the_chain_with_what_was_typed(vault: Vault, node: MemoryNode) -> None:
    (record,) = bring(vault, node, request())
    assert record.progress is Progress.COMMITTED
    found = on_chain(node, record)
    assert found.state is State.SUBMITTED
    assert found.document == record.commitment
    assert record.amount_cents == 13_000
    verify_opening(found.amount, lots.opening_of(record))
    assert {mark.part: mark.mark for mark in found.marks} == record.marks


def test_marks_are_locked_in_one_block_and_used_in_another(vault: Vault, node: MemoryNode) -> None:
    bring(vault, node, request(), request(4))
    kinds = []
    for _, record in every(vault, TransactionRecord):
        calls = map(parse_call, parse(record.raw).body.calls)
        kinds.append({type(call) for call in calls})
    assert kinds == [{PrescriptionCommit, MarkLock}, {ClaimSubmit}]


def test_the_same_claim_again_is_not_submitted_again(vault: Vault, node: MemoryNode) -> None:
    (first,) = bring(vault, node, request())
    sent = len(node.sent)
    (again,) = bring(vault, node, request())
    assert again == first
    assert len(node.sent) == sent


def test_a_reference_names_one_claim(vault: Vault, node: MemoryNode) -> None:
    bring(vault, node, request())
    with pytest.raises(Refused) as refusal:
        bring(vault, node, request(amounts={"lenses": 1, "frame": 1}))
    assert refusal.value.field == "claim.reference"


def test_what_is_claimed_already_is_refused_before_it_is_sent(
    vault: Vault, node: MemoryNode
) -> None:
    bring(vault, node, request())
    sent = len(node.sent)
    other = example(3, reference="OTHER")
    other["prescription_reference"] = "F2025-0003"
    with pytest.raises(Refused) as refusal:
        bring(vault, node, as_request(other))
    assert "claimed already, under F2025-0003" in str(refusal.value)
    assert len(node.sent) == sent


def test_two_legs_of_one_prescription_commit_to_it_once(vault: Vault, node: MemoryNode) -> None:
    base = example(3, leg="base", reference="BASE")
    base["prescription_reference"] = "F2025-0003"
    one, other = bring(vault, node, request(), as_request(base))
    assert {one.progress, other.progress} == {Progress.COMMITTED}
    assert on_chain(node, one).prescription == on_chain(node, other).prescription
    assert not set(one.marks.values()) & set(other.marks.values())
    (third,) = bring(vault, node, request(4))
    assert on_chain(node, third).prescription != on_chain(node, one).prescription


def test_a_second_shop_with_the_same_prescription_is_refused_by_the_chain(
    tmp_path: Path, vault: Vault, node: MemoryNode
) -> None:
    bring(vault, node, request())
    held = find(vault, PrescriptionRecord, "F2025-0003")
    assert held is not None
    document = example(3, reference="G-1")
    document["secret"] = held[1].secret.hex()
    with desk.open_vault(tmp_path, "rival") as rival:
        (record,) = bring(rival, node, as_request(document), shop="rival")
        assert record.progress is Progress.REFUSED
        assert record.refusal == "MARK_ALREADY_USED"
        assert record.claim is not None
        assert claims.load(node.world.state, record.claim) is None
        # A paper typed without its secret is another thing to the chain: the documents say so.
        (typed,) = bring(rival, node, request(reference="G-2"), shop="rival")
        assert typed.progress is Progress.COMMITTED


def test_a_claim_may_name_a_prescription_that_is_kept(vault: Vault, node: MemoryNode) -> None:
    bring(vault, node, request())
    document = example(3, leg="base", reference="BASE")
    del document["prescription"]
    document["prescription_reference"] = "F2025-0003"
    (record,) = bring(vault, node, as_request(document))
    assert record.progress is Progress.COMMITTED
    document["prescription_reference"] = "NONE"
    document["claim"]["reference"] = "OTHER"
    with pytest.raises(NotFound):
        bring(vault, node, as_request(document))
    document["prescription_reference"] = "F2025-0003"
    document["claim"]["codes"]["right"] = "V03"
    with pytest.raises(Refused):
        bring(vault, node, as_request(document))


def test_another_prescription_under_one_reference_is_refused(
    vault: Vault, node: MemoryNode
) -> None:
    bring(vault, node, request())
    document = example(4, reference="X")
    document["prescription_reference"] = "F2025-0003"
    with pytest.raises(Refused) as refusal:
        bring(vault, node, as_request(document))
    assert "another prescription is kept" in str(refusal.value)


def test_an_unknown_payer_is_refused_before_it_is_sent(vault: Vault, node: MemoryNode) -> None:
    with pytest.raises(NotFound) as refusal:
        bring(vault, node, request(payer="insurre"))
    assert refusal.value.hint == "did you mean insurer?"
    assert not node.sent


def test_a_payer_who_pays_nothing_is_refused_by_the_chain(vault: Vault, node: MemoryNode) -> None:
    (record,) = bring(vault, node, request(payer="auditor"))
    assert record.refusal == "PAYER_NOT_ELIGIBLE"
    # Its marks are free again: the same prescription may be claimed from somebody who pays.
    document = example(3, reference="SECOND")
    document["prescription_reference"] = "F2025-0003"
    assert bring(vault, node, as_request(document))[0].progress is Progress.COMMITTED


def test_a_prescription_is_committed_once(vault: Vault, node: MemoryNode) -> None:
    sender = desk.sender("shop", node)
    handed = request().prescribed
    assert handed is not None
    with vault.changes():
        lots.add_prescription(vault, sender, handed, "ORD-1")
    for _ in range(2):
        asyncio.run(prescriptions.commit(vault, node, sender, "ORD-1", wait_s=5, say=desk.silent))
    assert len(node.sent) == 1


def test_what_no_block_takes_is_pending_and_goes_on_later(vault: Vault, node: MemoryNode) -> None:
    sender = desk.sender("shop", node)
    with vault.changes():
        lots.prepare(vault, sender, request(), MEMBERS.id_of)
    node.is_stuck = True
    with pytest.raises(Undecided):
        asyncio.run(lots.submit(vault, node, sender, ["F2025-0003"], wait_s=0, say=desk.silent))
    node.is_stuck = False
    assert bring(vault, node, request())[0].progress is Progress.COMMITTED


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.sampled_from(["request", "answer", "lapse"]), max_size=6))
def test_whatever_breaks_a_lot_given_again_submits_each_claim_once(
    tmp_path_factory: pytest.TempPathFactory, faults: list[str]
) -> None:
    node, requests = MemoryNode(), [request(number) for number in (1, 2, 3, 29, 30)]
    with desk.open_vault(tmp_path_factory.mktemp("lot"), "shop") as vault:
        for fault in faults:
            node.lose_requests = fault == "request"
            node.lose_answers = fault == "answer"
            node.let_lapse = fault == "lapse"
            try:
                bring(vault, node, *requests)
            except Unreachable:
                assert number_of_claims(node) <= len(requests)
        node.lose_requests = node.lose_answers = node.let_lapse = 0
        records = bring(vault, node, *requests)
        assert [record.progress for record in records] == [Progress.COMMITTED] * len(requests)
        assert number_of_claims(node) == len(requests)
        assert len({record.claim for record in records}) == len(requests)


def test_what_another_command_signed_anew_meanwhile_is_left_to_it_and_stands_once(
    vault: Vault, node: MemoryNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit, sender = node.submit, desk.sender("shop", node)
    signed: list[bytes] = []

    async def meanwhile(raws: Sequence[bytes], *, wait: int = 0) -> list[Sent]:
        number, claim = lots.load(vault, "F2025-0003")
        if claim.transaction is not None and not signed:
            signed.append(claim.transaction)
            with vault.changes():
                sign_anew(vault, claim)
                update(vault, number, claim)
            lots._sign_claims(vault, sender, ["F2025-0003"], ClaimRecord)
        return await submit(raws, wait=wait)

    monkeypatch.setattr(node, "submit", meanwhile)
    (record,) = bring(vault, node, request())
    assert record.progress is Progress.COMMITTED
    assert record.transaction == signed[0]
    assert on_chain(node, record).document == record.commitment
    assert number_of_claims(node) == 1


def test_a_large_lot_takes_as_few_signatures_as_it_may(vault: Vault, node: MemoryNode) -> None:
    requests = [request(3, reference=f"L-{number}") for number in range(MAX_CALLS + 4)]
    records = bring(vault, node, *requests)
    assert {record.progress for record in records} == {Progress.COMMITTED}
    assert len({record.transaction for record in records}) == 2
    assert number_of_claims(node) == len(requests)
