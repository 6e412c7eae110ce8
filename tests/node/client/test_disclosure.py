"""What a payer is shown: nothing beyond its business, and every false word of it is named."""

import asyncio
import dataclasses
import json
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import documents, sd_jwt
from contracts.commitment import Opening
from contracts.documents import CLAIM, PRESCRIPTION
from contracts.errors import BadDocument
from contracts.genesis import Founder, MemberKey
from contracts.identifiers import nir_key
from contracts.registry import Family
from ledger.keys import Algorithm, Role
from node.client import disclosure as disclosures
from node.client import lots
from node.client.client import ClaimView, MemberView
from node.client.disclosure import Disclosed, Disclosure, parse_disclosure, verify
from node.client.documents import issue_claim, issue_prescription
from node.client.errors import ClientError, NotReadable, NotVerified
from node.client.records import ClaimRecord, PrescriptionRecord, find
from node.client.sealing import seal, unseal
from tests.contracts.world import id_of, key_of
from tests.node.client import desk
from tests.node.client.desk import MEMBERS, MemoryNode, as_request, example

NOW = int(time.time())


@dataclasses.dataclass
class Case:
    """A claim on a chain, and what its shop discloses of it."""

    record: ClaimRecord
    prescription: PrescriptionRecord
    view: ClaimView
    disclosure: Disclosure
    submitter: MemberView

    def verify(self, disclosure: Disclosure | None = None, **view: Any) -> Disclosed:  # noqa: ANN401
        seen = msgspec.structs.replace(self.view, **view)
        return verify(
            disclosure or self.disclosure,
            seen,
            self.submitter,
            recipient=id_of("insurer"),
            now=NOW,
        )

    def changed(self, **fields: Any) -> Disclosure:  # noqa: ANN401
        return dataclasses.replace(self.disclosure, **fields)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    node = MemoryNode()
    sender = desk.sender("shop", node)
    document = example(10, authorisation="PEC-1")
    with desk.open_vault(tmp_path_factory.mktemp("shop"), "shop") as vault:
        with vault.changes():
            lots.prepare(vault, sender, as_request(document), MEMBERS.id_of)
        (record,) = asyncio.run(
            lots.submit(vault, node, sender, ["F2025-0010"], wait_s=5, say=desk.silent)
        )
        assert record.claim is not None
        found = find(vault, PrescriptionRecord, "F2025-0010")
        assert found is not None
        made = disclosures.make(record, found[1], lots.opening_of(record), now=NOW)
        view = asyncio.run(node.claim(record.claim))
        submitter = asyncio.run(node.member(bytes.fromhex(view.submitter)))
        yield Case(record, found[1], view, made, submitter)


def fact(refusal: pytest.ExceptionInfo[NotVerified]) -> str:
    return refusal.value.fact


def test_a_payer_learns_what_it_needs(case: Case) -> None:
    shown = case.verify()
    assert shown.codes == case.record.codes
    assert shown.category == "c"
    assert shown.opening.amount == case.record.amount_cents
    assert shown.lenses_cents + (shown.frame_cents or 0) == case.record.amount_cents
    assert (shown.insured, shown.authorisation) == (case.record.insured, "PEC-1")
    assert shown.invoice_date == case.record.invoice_date


def test_a_payer_learns_nothing_else_of_the_prescription(case: Case) -> None:
    held, values = documents.parse(case.disclosure.prescription_document, PRESCRIPTION)
    assert set(values) == {"mark_complementary_lenses", "mark_complementary_frame"}
    assert len(held.digests) == len(PRESCRIPTION.fields)
    text = case.disclosure.to_json()
    assert case.prescription.secret.hex().encode() not in text
    hidden = sd_jwt.parse(case.prescription.document).disclosures
    salts = [each.salt for each in hidden if each.name not in values]
    assert len(salts) == len(PRESCRIPTION.fields) - 2
    assert not any(salt.encode() in text for salt in salts)


def test_a_disclosure_survives_its_file(case: Case) -> None:
    assert parse_disclosure(case.disclosure.to_json(), "d.json") == case.disclosure


@pytest.mark.parametrize(
    ("changes", "false"),
    [
        ({"recipient": bytes(16)}, "recipient"),
        ({"purpose": "marketing"}, "purpose"),
        ({"expires": NOW - 1}, "expiry"),
        ({"claim": bytes(32)}, "claim"),
        ({"opening": Opening(13_001, bytes(32))}, "amount"),
    ],
)
def test_a_false_word_around_the_documents_is_named(
    case: Case, changes: dict[str, Any], false: str
) -> None:
    with pytest.raises(NotVerified) as refusal:
        case.verify(case.changed(**changes))
    assert fact(refusal) == false


def test_an_amount_with_its_own_blinding_opens_nothing_else(case: Case) -> None:
    opening = Opening(case.disclosure.opening.amount - 1, case.disclosure.opening.blinding)
    with pytest.raises(NotVerified) as refusal:
        case.verify(case.changed(opening=opening))
    assert fact(refusal) == "amount"


@pytest.mark.parametrize(
    ("view", "false"),
    [
        ({"payer": "00" * 16}, "payer"),
        ({"document": "00" * 32}, "claim document"),
        ({"prescription": "00" * 32}, "prescription"),
        ({"leg": "base"}, "claim document"),
        ({"marks": ()}, "mark"),
        ({"submitter": "00" * 16}, "submitter"),
        ({"submitter": id_of("rival").hex()}, "submitter"),
    ],
)
def test_a_claim_that_is_another_on_the_chain_is_named(
    case: Case, view: dict[str, Any], false: str
) -> None:
    with pytest.raises(NotVerified) as refusal:
        case.verify(**view)
    assert fact(refusal) == false


@pytest.mark.parametrize("name", [*CLAIM.fields])
def test_every_field_of_the_claim_that_is_changed_is_noticed(case: Case, name: str) -> None:
    document = sd_jwt.parse(case.disclosure.claim_document)
    forged = [
        sd_jwt.make_disclosure(b"s" * 32, each.name, "V01") if each.name == name else each
        for each in document.disclosures
    ]
    text = str(dataclasses.replace(document, disclosures=tuple(forged)))
    with pytest.raises(NotVerified) as refusal:
        case.verify(case.changed(claim_document=text))
    assert fact(refusal) == "claim document"


@pytest.mark.parametrize("name", [*CLAIM.fields])
def test_every_field_of_the_claim_that_is_withheld_is_noticed(case: Case, name: str) -> None:
    document = sd_jwt.parse(case.disclosure.claim_document)
    rest = documents.present(document, [n for n in CLAIM.fields if n != name])
    with pytest.raises(NotVerified) as refusal:
        case.verify(case.changed(claim_document=str(rest)))
    assert name in str(refusal.value)


def test_a_payer_refuses_to_be_shown_more(case: Case) -> None:
    held = sd_jwt.parse(case.prescription.document)
    names = ["mark_complementary_lenses", "mark_complementary_frame", "right_sphere"]
    text = str(documents.present(held, names))
    with pytest.raises(NotVerified) as refusal:
        case.verify(case.changed(prescription_document=text))
    assert "right_sphere is no business of a payer" in str(refusal.value)


def test_the_mark_of_another_part_is_noticed(case: Case) -> None:
    text = str(documents.present(sd_jwt.parse(case.prescription.document), ["mark_base_lenses"]))
    with pytest.raises(NotVerified):
        case.verify(case.changed(prescription_document=text))


def test_a_document_under_another_key_is_noticed(case: Case) -> None:
    forged = issue_claim(as_request(example(10)), case.prescription.commitment, key_of("rival"))
    with pytest.raises(NotVerified) as refusal:
        case.verify(case.changed(claim_document=str(forged)), document=forged.commitment.hex())
    assert "signed by a key that the submitter never had" in str(refusal.value)


def test_two_documents_of_one_prescription_have_nothing_in_common(case: Case) -> None:
    request = as_request(example(10))
    assert request.prescribed is not None
    key = key_of("shop")
    one, other = (
        issue_prescription(request.prescribed.prescription, bytes(32), key) for _ in range(2)
    )
    assert not set(one.digests) & set(other.digests)
    assert one.commitment != other.commitment
    assert len(one.jwt) == len(other.jwt) == len(case.prescription.document.split("~")[0])


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_file_is_read_or_refused(data: bytes) -> None:
    with pytest.raises(NotReadable):
        parse_disclosure(data, "d.json")


@given(
    st.dictionaries(
        st.sampled_from(
            ["claim", "recipient", "expires", "cents", "blinding", "claim_document", "purpose"]
        ),
        st.none() | st.integers() | st.text(max_size=70) | st.lists(st.integers(), max_size=2),
    )
)
def test_any_field_of_a_file_is_read_or_refused(case: Case, fields: dict[str, Any]) -> None:
    value = json.loads(case.disclosure.to_json()) | fields
    try:
        parsed = parse_disclosure(json.dumps(value).encode(), "d.json")
        case.verify(parsed)
    except ClientError:
        return
    assert parsed == case.disclosure or parsed.expires != case.disclosure.expires


def sealed_to(name: str) -> Founder:
    keys = (
        MemberKey(Role.TRANSACTION, Algorithm.ED25519, key_of(name).public),
        MemberKey(Role.SEALING, Algorithm.ED25519, key_of(name, Role.SEALING).public),
    )
    return Founder(name.encode(), Family.INSURER, b"FR", keys)


def test_only_the_recipient_unseals(case: Case) -> None:
    plain = case.disclosure.to_json()
    sealed = seal(plain, sealed_to("insurer"))
    assert case.disclosure.claim_document.encode() not in sealed
    assert sealed != seal(plain, sealed_to("insurer"))
    assert unseal(sealed, "d.json", desk.seed_of("insurer")) == plain
    for seed in (desk.seed_of("mutual"), None):
        with pytest.raises(NotVerified) as refusal:
            unseal(sealed, "d.json", seed)
        assert fact(refusal) == "seal"


def test_who_has_no_sealing_key_is_given_it_plain(case: Case) -> None:
    plain = case.disclosure.to_json()
    insurer = MEMBERS.find("insurer")
    assert seal(plain, insurer) == plain
    assert unseal(plain, "d.json", None) == plain


@pytest.mark.parametrize("change", [{"sealed": "x"}, {"sealed": 1}, {"more": 1}, {"sealed": ""}])
def test_a_sealed_file_that_was_changed_is_refused(case: Case, change: dict[str, Any]) -> None:
    sealed = json.loads(seal(case.disclosure.to_json(), sealed_to("insurer")))
    with pytest.raises(ClientError):
        unseal(json.dumps(sealed | change).encode(), "d.json", desk.seed_of("insurer"))


def saying(case: Case, **references: Any) -> Disclosed:  # noqa: ANN401
    """Verify a claim that the shop itself signed and committed to, with these references in it."""
    request = dataclasses.replace(as_request(example(10)), **references)
    made = issue_claim(request, case.prescription.commitment, key_of("shop"))
    text = str(documents.present(made, tuple(CLAIM.fields)))
    return case.verify(case.changed(claim_document=text), document=made.commitment.hex())


NUMBER = "2551199999999"  # of the form, and nobody's


@pytest.mark.parametrize(
    "number", [NUMBER, f"{NUMBER}{nir_key(NUMBER):02}", "1850599999999-42", "255-11-99-999-999"]
)
@pytest.mark.parametrize("field", ["insured", "authorisation"])
def test_a_social_security_number_is_refused_though_the_shop_signed_it(
    case: Case, field: str, number: str
) -> None:
    with pytest.raises(NotVerified, match="social security number") as refusal:
        saying(case, **{field: number})
    assert fact(refusal) == field
    assert number not in str(refusal.value)


@pytest.mark.parametrize("text", ["", "adh-1", "ADH 1", "MARTIN, Paul", "A" * 21, "ADH\n1", "É1"])
@pytest.mark.parametrize("field", ["insured", "authorisation"])
def test_no_reference_is_a_text(case: Case, field: str, text: str) -> None:
    with pytest.raises((NotVerified, BadDocument)):
        saying(case, **{field: text})


def test_somebody_must_be_named_by_the_payers_own_reference(case: Case) -> None:
    assert saying(case, insured=None, authorisation="PEC-1").authorisation == "PEC-1"
    assert saying(case, insured="ADH-1", authorisation=None).insured == "ADH-1"
    with pytest.raises(NotVerified) as refusal:
        saying(case, insured=None, authorisation=None)
    assert fact(refusal) == "insured"


def test_what_binds_a_disclosure_is_checked_before_what_it_says(case: Case) -> None:
    wrong = {"claim_document": "nothing", "prescription_document": "nothing"}
    for changes, false in (
        ({"recipient": bytes(16)}, "recipient"),
        ({"purpose": "authorisation"}, "purpose"),
        ({"expires": NOW - 1}, "expiry"),
        ({"claim": bytes(32)}, "claim"),
    ):
        with pytest.raises(NotVerified) as refusal:
            case.verify(case.changed(**(changes | wrong)))
        assert fact(refusal) == false
