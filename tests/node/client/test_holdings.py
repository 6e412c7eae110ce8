"""Of each kind of record: what is about one person's things is found, and nobody else's."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts.calls import Call, ClaimAccept, MarkLock, PrescriptionCommit
from contracts.commitment import lock_of
from ledger.transaction import created_id
from node.client import holdings
from node.client.holdings import Things
from node.client.records import (
    AccessRecord,
    ClaimRecord,
    ControlRecord,
    DeliveryRecord,
    PrescriptionRecord,
    ProofRecord,
    QuestionRecord,
    QueuedRecord,
    ReceivedRecord,
    Record,
    ReviewRecord,
    Standing,
    every,
    keep,
)
from node.client.transactions import sign_and_keep
from node.client.vault import Vault
from tests.node.client import desk
from tests.node.client.desk import MemoryNode
from tests.node.client.street import Street

OURS, THEIRS = b"\x01" * 32, b"\x02" * 32
MARK, OTHER_MARK = b"\x03" * 32, b"\x04" * 32
THINGS: dict[str, Any] = {
    "prescriptions": {"ORD-1"},
    "claims": {"F-1"},
    "ids": {OURS},
    "marks": {MARK},
}
JWT = "head.of-a-proof.signature"


def made(type_: type[Record], **given: Any) -> Record:  # noqa: ANN401
    """Return a record of which only what is given matters."""
    blank: dict[object, Any] = {bytes: b"", str: "", int: 0}
    fields = msgspec.structs.fields(type_)
    blank[Standing] = Standing.REVIEW
    needed = {each.name: blank.get(each.type) for each in fields if each.required}
    return type_(**needed | given)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return desk.open_vault(tmp_path, "shop")


@pytest.mark.parametrize(
    ("type_", "ours", "theirs"),
    [
        (QuestionRecord, {"authorisation": OURS}, {"authorisation": THEIRS}),
        (QuestionRecord, {"proof": b"x" + OURS + b"x"}, {"proof": b"x" + THEIRS}),
        (ReceivedRecord, {"claim": OURS}, {"claim": THEIRS}),
        (ReviewRecord, {"claim": OURS}, {"claim": THEIRS}),
        (QueuedRecord, {"reference": "F-1"}, {"reference": "F-11"}),
        (DeliveryRecord, {"subject": OURS}, {"subject": THEIRS}),
        (AccessRecord, {"subject": OURS}, {"subject": b""}),
        (ControlRecord, {"authorisation": OURS}, {"authorisation": THEIRS}),
        (ControlRecord, {"before": "ORD-1"}, {"before": "ORD-2"}),
        (ControlRecord, {"after": "ORD-1"}, {"after": None}),
        (ProofRecord, {"claim": OURS}, {"claim": THEIRS}),
    ],
)
def test_what_is_about_these_things_is_found_and_nothing_else(
    vault: Vault, type_: type[Record], ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    with vault.changes():
        number = keep(vault, made(type_, **ours))
        keep(vault, made(type_, **theirs))
    assert [each for each, _ in holdings.of(vault, Things(**THINGS))] == [number]


def test_a_proof_that_was_brought_goes_with_the_answer_that_it_was_shown_for(vault: Vault) -> None:
    with vault.changes():
        shown = keep(vault, made(ProofRecord, document=f"{JWT}~disclosed~", day="2026-01-01"))
        keep(vault, made(ProofRecord, document="another.jwt.x~", day="2026-01-01"))
        asked = keep(vault, made(QuestionRecord, authorisation=OURS, proof=f"..{JWT}~".encode()))
    assert {each for each, _ in holdings.of(vault, Things(**THINGS))} == {shown, asked}
    old = {each for each, _ in holdings.of(vault, Things(before="2026-01-02"))}
    assert len(old) == 2
    assert not list(holdings.of(vault, Things(before="2026-01-01")))


def test_a_proof_that_was_brought_goes_with_the_prescription_that_it_renewed(vault: Vault) -> None:
    with vault.changes():
        brought = keep(vault, made(ProofRecord, document=f"{JWT}~day~"), "P-1")
        keep(vault, made(ProofRecord, document="another.jwt.x~"), "P-2")
    held = made(PrescriptionRecord, reference="ORD-1", renewed=["claim P-2", "proof P-1"])
    assert isinstance(held, PrescriptionRecord)
    things = Things()
    things.add_prescription(held)
    assert [each for each, _ in holdings.of(vault, things)] == [brought]
    things.proofs = {"gone"}
    things.shown = []
    assert not list(holdings.of(vault, things))


def test_an_answer_that_stays_keeps_no_proof_of_what_goes(vault: Vault) -> None:
    with vault.changes():
        keep(vault, made(QuestionRecord, authorisation=THEIRS, proof=OURS), "a question")
    things = Things(**THINGS)
    with vault.changes():
        for number, record in list(holdings.of(vault, things)):
            holdings.destroy(vault, number, record, things)
    ((_, left),) = every(vault, QuestionRecord)
    assert (left.authorisation, left.proof) == (THEIRS, None)


def test_a_claim_that_came_too_late_is_erased_under_each_id_that_it_had() -> None:
    record = made(ClaimRecord, claim=OURS, lapsed=[(THEIRS, 3)], marks={})
    assert isinstance(record, ClaimRecord)
    things = Things()
    things.add_claim(record)
    assert things.ids == {OURS, created_id(THEIRS, 3)}


def test_a_transaction_goes_that_is_about_nothing_else(vault: Vault) -> None:
    sender = desk.sender("shop", MemoryNode())
    locks = [lock_of(sender.chain_id, sender.member, mark) for mark in (MARK, OTHER_MARK)]
    made_of: list[list[Call]] = [
        [PrescriptionCommit(OURS), MarkLock(locks[0])],
        [ClaimAccept(OURS, None)],
        [PrescriptionCommit(OURS), PrescriptionCommit(THEIRS)],
        [MarkLock(locks[0]), MarkLock(locks[1])],
        [ClaimAccept(THEIRS, None)],
    ]
    with vault.changes():
        for calls in made_of:
            sign_and_keep(vault, sender, calls)
    numbers = [number for number, _ in holdings.of(vault, Things(**THINGS))]
    assert len(numbers) == 2
    assert numbers == sorted(numbers)[:2]


def test_the_transactions_of_a_claim_go_with_it(tmp_path: Path) -> None:
    street = Street.of(tmp_path)
    things = Things()
    ((_, paper), *_) = every(street.shop_vault, PrescriptionRecord)
    things.add_prescription(paper)
    for _, claim in every(street.shop_vault, ClaimRecord):
        if claim.prescription_reference == paper.reference:
            things.add_claim(claim)
    kinds = {type(record).__name__ for _, record in holdings.of(street.shop_vault, things)}
    assert kinds == {"PrescriptionRecord", "ClaimRecord"}  # those of a lot are of others too
    street.close()
