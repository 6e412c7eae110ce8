"""Documents: what a prescription and a claim may hold, and what a verifier is shown of them."""

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import documents, sd_jwt
from contracts.calls import Leg, Part
from contracts.commitment import mark_of
from contracts.documents import CLAIM, PRESCRIPTION, DocumentType
from contracts.errors import BadDocument
from contracts.sd_jwt import SdJwt
from ledger.keys import SigningKey

KEY = SigningKey(bytes(range(32)))
KEY_ID = bytes(range(8))
SECRET = bytes(range(100, 132))

SIGHT = {
    "right_sphere": -250,
    "right_cylinder": 175,
    "right_axis": 75,
    "left_sphere": -225,
    "left_add": 200,
    "left_prism": [[150, "up"], [50, "in"]],
    "date_written": "2026-02-28",
    "prescriber": "10000000009",
}
PRESCRIBED = SIGHT | documents.mark_fields(SECRET, 0)
CLAIMED = {
    "right_lens": "VM1",
    "left_lens": "VM2",
    "frame": "M03",
    "supplements": ["SV4", "SV4"],
    "lenses_cents": 32_000,
    "frame_cents": 10_000,
    "invoice_date": "2024-02-29",
    "leg": 1,
    "prescription": "ab" * 32,
    "insured": "A-1234",
}


def salts(type_: DocumentType, seed: str = "") -> list[bytes]:
    return [sha256(f"{seed}{number}".encode()).digest() for number in range(len(type_.fields))]


def issue(type_: DocumentType, values: dict[str, Any]) -> SdJwt:
    return documents.issue(type_, values, salts(type_), key_id=KEY_ID, key=KEY)


def verify(document: SdJwt, type_: DocumentType, commitment: bytes | None = None) -> dict[str, Any]:
    return documents.verify(
        str(document), type_, public=KEY.public, commitment=commitment or document.commitment
    )


@pytest.mark.parametrize(("type_", "values"), [(PRESCRIPTION, PRESCRIBED), (CLAIM, CLAIMED)])
def test_a_document_shows_what_was_issued_and_null_for_the_rest(
    type_: DocumentType, values: dict[str, Any]
) -> None:
    found = verify(issue(type_, values), type_)
    assert found == dict.fromkeys(type_.fields) | values


def test_a_mark_is_opened_alone_and_the_secret_stays() -> None:
    document = issue(PRESCRIPTION, PRESCRIBED)
    name = documents.mark_field(Leg.COMPLEMENTARY, Part.LENSES)
    shown = documents.present(document, [name])
    expected = mark_of(SECRET, Leg.COMPLEMENTARY, Part.LENSES, 0)
    assert verify(shown, PRESCRIPTION, document.commitment) == {name: expected.hex()}
    assert SECRET.hex() not in str(shown)
    assert len(shown.disclosures) == 1


def test_documents_of_one_type_are_signed_over_the_same_number_of_fields() -> None:
    bare = issue(CLAIM, {"invoice_date": "2026-01-01", "leg": 0, "prescription": "00" * 32})
    full = issue(CLAIM, CLAIMED)
    assert len(bare.jwt) == len(full.jwt)
    assert len(bare.digests) == len(full.digests) == len(CLAIM.fields)


def test_a_field_that_is_not_at_hand_cannot_be_presented() -> None:
    shown = documents.present(issue(CLAIM, CLAIMED), ["frame"])
    with pytest.raises(BadDocument, match="not at hand"):
        documents.present(shown, ["leg"])


def test_another_document_is_not_the_one_committed() -> None:
    document = issue(CLAIM, CLAIMED)
    with pytest.raises(BadDocument, match="committed"):
        verify(document, CLAIM, issue(CLAIM, CLAIMED | {"leg": 0}).commitment)


def test_a_claim_is_no_prescription() -> None:
    with pytest.raises(BadDocument, match="type"):
        verify(issue(CLAIM, CLAIMED), PRESCRIPTION)


def test_another_issuer_is_refused() -> None:
    document = issue(CLAIM, CLAIMED)
    with pytest.raises(BadDocument, match="signature"):
        documents.verify(
            str(document),
            CLAIM,
            public=SigningKey(bytes(32)).public,
            commitment=document.commitment,
        )


@pytest.mark.parametrize(
    ("type_", "changed"),
    [
        (PRESCRIPTION, {"right_sphere": -251}),
        (PRESCRIPTION, {"right_sphere": 6025}),
        (PRESCRIPTION, {"right_sphere": -2.5}),
        (PRESCRIPTION, {"right_sphere": "-250"}),
        (PRESCRIPTION, {"right_sphere": True}),
        (PRESCRIPTION, {"right_cylinder": 0}),
        (PRESCRIPTION, {"right_cylinder": -25}),
        (PRESCRIPTION, {"right_axis": 0}),
        (PRESCRIPTION, {"right_axis": 181}),
        (PRESCRIPTION, {"right_axis": 900}),
        (PRESCRIPTION, {"right_axis": None}),
        (PRESCRIPTION, {"right_cylinder": None}),
        (PRESCRIPTION, {"left_cylinder": 25}),
        (PRESCRIPTION, {"left_add": 0}),
        (PRESCRIPTION, {"left_prism": []}),
        (PRESCRIPTION, {"left_prism": [[150, "sideways"]]}),
        (PRESCRIPTION, {"left_prism": [[0, "up"]]}),
        (PRESCRIPTION, {"left_prism": [[150, "up"]] * 3}),
        (PRESCRIPTION, {"left_prism": "up"}),
        (PRESCRIPTION, {"date_written": "2026-02-29"}),
        (PRESCRIPTION, {"date_written": "2100-02-28"}),
        (PRESCRIPTION, {"date_written": "2026-13-01"}),
        (PRESCRIPTION, {"date_written": "2026-00-10"}),
        (PRESCRIPTION, {"date_written": "2026-01-00"}),
        (PRESCRIPTION, {"date_written": "2026-1-1"}),
        (PRESCRIPTION, {"date_written": "２０26-01-01"}),  # noqa: RUF001 - wide digits
        (PRESCRIPTION, {"date_written": None}),
        (PRESCRIPTION, {"prescriber": "Dr Dupont"}),
        (PRESCRIPTION, {"prescriber": "1" * 12}),
        (PRESCRIPTION, {"ordinal": -1}),
        (PRESCRIPTION, {"ordinal": 1}),  # the marks are of ordinal 0
        (PRESCRIPTION, {"mark_secret": "00" * 32}),
        (PRESCRIPTION, {"mark_secret": None}),
        (PRESCRIPTION, {"mark_base_frame": "00" * 32}),
        (PRESCRIPTION, {"name": "Dupont"}),
        (CLAIM, {"right_lens": "V1"}),
        (CLAIM, {"right_lens": "vm1"}),
        (CLAIM, {"right_lens": "2202452"}),  # a detailed LPP code
        (CLAIM, {"supplements": []}),
        (CLAIM, {"supplements": ["SV1"] * 9}),
        (CLAIM, {"supplements": [None]}),
        (CLAIM, {"lenses_cents": -1}),
        (CLAIM, {"lenses_cents": 1_000_001}),
        (CLAIM, {"leg": 2}),
        (CLAIM, {"leg": None}),
        (CLAIM, {"prescription": "AB" * 32}),
        (CLAIM, {"prescription": "ab" * 31}),
        (CLAIM, {"insured": "A" * 21}),
        (CLAIM, {"insured": "Dupont, Jean"}),
        (CLAIM, {"insured": ""}),
        (CLAIM, {"pathology": "glaucoma"}),
    ],
    ids=str,
)
def test_a_document_holds_nothing_else(type_: DocumentType, changed: dict[str, Any]) -> None:
    values = (PRESCRIBED if type_ is PRESCRIPTION else CLAIMED) | changed
    with pytest.raises(BadDocument):
        issue(type_, values)
    # Nor is it believed when somebody signs it nevertheless.
    complete = dict.fromkeys(type_.fields) | values
    made = [
        sd_jwt.make_disclosure(sha256(name.encode()).digest(), name, value)
        for name, value in complete.items()
    ]
    signed = sd_jwt.issue(made, type_.type, KEY_ID, KEY)
    with pytest.raises(BadDocument):
        verify(signed, type_)


def forged(disclosures: list[sd_jwt.Disclosure]) -> SdJwt:
    return sd_jwt.issue(disclosures, CLAIM.type, KEY_ID, KEY)


def test_a_document_with_a_field_less_is_refused() -> None:
    made = list(issue(CLAIM, CLAIMED).disclosures)[:-1]
    with pytest.raises(BadDocument, match="fields"):
        verify(forged(made), CLAIM)


def test_a_short_salt_is_refused() -> None:
    made = list(issue(CLAIM, CLAIMED).disclosures)
    made[0] = sd_jwt.make_disclosure(bytes(16), made[0].name, made[0].value)
    with pytest.raises(BadDocument, match="salt"):
        verify(forged(made), CLAIM)


def test_one_salt_for_two_fields_is_refused() -> None:
    made = list(issue(CLAIM, CLAIMED).disclosures)
    made[1] = sd_jwt.make_disclosure(
        sd_jwt.decode_base64url(made[0].salt), made[1].name, made[1].value
    )
    with pytest.raises(BadDocument, match="one salt"):
        verify(forged(made), CLAIM)


def test_an_issuer_must_bring_one_fresh_salt_per_field() -> None:
    drawn = salts(CLAIM)
    for wrong in (drawn[:-1], [*drawn[:-1], drawn[0]], [*drawn[:-1], bytes(16)]):
        with pytest.raises(AssertionError):
            documents.issue(CLAIM, CLAIMED, wrong, key_id=KEY_ID, key=KEY)


@given(st.dates(), st.booleans())
def test_a_day_is_one_of_the_calendar(day: Any, cut: bool) -> None:  # noqa: ANN401, FBT001
    text = day.isoformat()
    accepted = CLAIM.fields["invoice_date"](text[:-1] if cut else text)
    assert accepted == (not cut and 1900 <= day.year < 2100)


@given(st.sampled_from([PRESCRIPTION, CLAIM]), st.text(max_size=200))
def test_any_text_is_a_document_or_refused(type_: DocumentType, text: str) -> None:
    with pytest.raises(BadDocument):
        documents.verify(text, type_, public=KEY.public, commitment=bytes(32))
