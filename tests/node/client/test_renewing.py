"""A lawful renewal on one prescription: the next marks, once the last reimbursement is proved."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.calls import ClaimSubmit, PrescriptionSupersede, parse_call
from contracts.commitment import mark_of
from node.client import day_proofs, lots, prescriptions
from node.client.errors import NotFound, Refused
from node.client.reading import parse_object
from node.client.records import AuthorisationRecord, PrescriptionRecord, Progress
from node.client.request import ClaimRequest, HandedPrescription, handed_of
from tests.node.client import desk
from tests.node.client.desk import example
from tests.node.client.test_acts import asking, of, run
from tests.node.client.test_proofs import Proofs

ORDER = "ORD-0"


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Proofs]:
    made = Proofs.at(tmp_path)
    yield made
    for vault in made.vaults.values():
        vault.close()


def again(reference: str = "AGAIN", payer: str = "insurer") -> ClaimRequest:
    document = example(payer=payer, reference=reference)
    return desk.as_request(document | {"prescription_reference": ORDER})


def renew(town: Proofs, **ground: str) -> PrescriptionRecord:
    shop, sender = town.vaults["shop"], town.sender("shop")
    return run(prescriptions.renew(shop, town.node, sender, ORDER, **ground))


def test_the_next_marks_are_claimed_once_the_last_claim_was_accepted(town: Proofs) -> None:
    first = town.accepted("mutual")
    with pytest.raises(Refused, match="claimed already"):
        town.bring(again())
    before = prescriptions.load(town.vaults["shop"], ORDER)[1]
    renewed = renew(town, claim="EARLIER")
    assert (renewed.ordinal, renewed.is_committed) == (1, False)
    second = town.bring(again())
    assert (second.progress, second.ordinal) == (Progress.COMMITTED, 1)
    assert second.marks == {
        part: mark_of(renewed.secret, second.leg, part, 1)  # type: ignore[arg-type]
        for part in first.marks
    }
    assert not set(first.marks.values()) & set(second.marks.values())
    town.disclose_to("insurer", second)  # the payer finds the marks in what the shop signed
    claims = [
        call
        for entry in town.node.entries
        if isinstance(call := parse_call(entry.call), ClaimSubmit | PrescriptionSupersede)
    ]
    assert [type(call) for call in claims] == [ClaimSubmit, ClaimSubmit]  # nothing links them
    kept = prescriptions.load(town.vaults["shop"], ORDER)[1]
    assert kept.document_of(before.commitment) == before.document
    town.disclose_to("mutual", first)


def test_a_proof_that_a_patient_brought_counts_once(town: Proofs) -> None:
    carried = town.proved()
    run(day_proofs.take(town.vaults["shop"], town.node, carried, "PROOF-1"))
    one, two = renew(town, proof="PROOF-1"), renew(town, proof="PROOF-1")
    assert (one.ordinal, two.ordinal, one.commitment) == (1, 1, two.commitment)
    with pytest.raises(NotFound, match="PROOF-2"):
        renew(town, proof="PROOF-2")


def test_nothing_is_renewed_that_was_not_reimbursed(town: Proofs) -> None:
    town.bring(again("EARLIER", "mutual"))
    with pytest.raises(Refused, match="is submitted"):
        renew(town, claim="EARLIER")
    shop, sender = town.vaults["shop"], town.sender("shop")
    other = replace(again("OTHER"), prescription_reference="ORD-9")
    town.bring(other)
    with pytest.raises(Refused, match="not the last claim"):
        run(prescriptions.renew(shop, town.node, sender, ORDER, claim="OTHER"))
    assert prescriptions.load(shop, ORDER)[1].ordinal == 0


def test_a_claim_that_was_renewed_on_is_not_renewed_on_again(town: Proofs) -> None:
    town.accepted("mutual")
    assert renew(town, claim="EARLIER").ordinal == 1
    assert renew(town, claim="EARLIER").ordinal == 1
    record = lots.load(town.vaults["shop"], "EARLIER")[1]
    run(day_proofs.take(town.vaults["shop"], town.node, stated(town, of(record)), "PROOF-1"))
    with pytest.raises(Refused, match="is not on the chain"):
        renew(town, proof="PROOF-1")  # the marks of now were not claimed


def stated(town: Proofs, claim: bytes, payer: str = "mutual") -> day_proofs.Carried:
    """Return what a payer states of a claim that it accepted."""
    view = run(town.node.claim(claim))
    return day_proofs.prove(town.vaults[payer], town.sender(payer), view)


def test_what_was_agreed_before_a_renewal_is_claimed_with_its_own_marks(town: Proofs) -> None:
    asked = town.bring(replace(asking(), prescription_reference=ORDER), AuthorisationRecord)
    town.disclose(asked)
    assert run(town.acts("insurer").grant(of(asked), None, int(time.time()) + 1_000)).code == 0
    earlier = town.bring(replace(again("OLD", "mutual"), prescription_reference="ORD-8"))
    town.disclose_to("mutual", earlier)
    assert run(town.office("mutual").accept([of(earlier)], None))[0].code == 0
    carried = stated(town, of(earlier))
    run(day_proofs.take(town.vaults["shop"], town.node, carried, "PROOF-1"))
    renew(town, proof="PROOF-1")
    claim = town.bring(replace(again(), agreement="PEC-1"))
    assert (claim.progress, claim.ordinal) == (Progress.COMMITTED, 0)
    assert claim.prescription == asked.prescription


def test_another_shop_is_told_where_the_marks_stand(town: Proofs) -> None:
    document = {
        "format": "depoli/prescription/1",
        "secret": "ab" * 32,
        "ordinal": 2,
        "prescription": example()["prescription"],
    }
    handed = handed_of(document_of(document), today=desk.TODAY)
    vault, sender = town.vaults["shop"], town.sender("shop")
    with vault.changes():
        record, _ = lots.add_prescription(vault, sender, handed, "ORD-7")
    assert record.ordinal == 2
    for wrong in (-1, 1_001, True, "1"):
        with pytest.raises(Refused, match="ordinal"):
            handed_of(document_of(document | {"ordinal": wrong}), today=desk.TODAY)


def document_of(document: dict[str, object]) -> dict[str, object]:
    """Return it as a file holds it, numbers exact."""
    return parse_object(json.dumps(document).encode(), "file")


def test_a_prescription_begins_with_its_first_marks() -> None:
    handed = asking().prescribed
    assert isinstance(handed, HandedPrescription)
    assert handed.ordinal == 0
