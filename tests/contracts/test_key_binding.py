"""Showing a document to one recipient: what is bound, and what passes for nothing of the kind."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jwcrypto.jwk import JWK
from sd_jwt.verifier import SDJWTVerifier

from contracts import documents, sd_jwt
from contracts.documents import CLAIM, REIMBURSEMENT
from contracts.errors import BadDocument
from contracts.key_binding import Binding, parse_presentation, present
from contracts.sd_jwt import SdJwt, encode_base64url, encode_part
from ledger.keys import P256SigningKey, SigningKey
from tests.contracts.test_documents import CLAIMED, KEY, KEY_ID, issue, salts

HOLDER = SigningKey(bytes(range(50, 82)))
BINDING = Binding("chain.payer", "authorisation.question", 1_790_000_000, 1_790_000_600)
DAY = "2024-02-29"


def reimbursement(holder: bytes | None = HOLDER.public) -> SdJwt:
    return documents.issue(
        REIMBURSEMENT,
        {"invoice_date": DAY, "claim": "ab" * 32},
        salts(REIMBURSEMENT),
        key_id=KEY_ID,
        key=KEY,
        holder=holder,
    )


def alone() -> SdJwt:
    return documents.present(reimbursement(), ["invoice_date"])


def shown() -> str:
    return present(alone(), BINDING, HOLDER)


def replaced(part: int, **changes: Any) -> str:  # noqa: ANN401
    """Return what is shown with a part of its key binding JWT changed, and signed again."""
    document, _, last = shown().rpartition("~")
    parts = [json.loads(sd_jwt.decode_base64url(each)) for each in last.split(".")[:2]]
    parts[part] |= changes
    parts[part] = {name: value for name, value in parts[part].items() if value is not None}
    signed = ".".join(map(encode_part, parts))
    return f"{document}~{signed}.{encode_base64url(HOLDER.sign(signed.encode()))}"


def test_what_is_shown_is_bound_to_whom_and_for_what() -> None:
    found = parse_presentation(shown())
    found.verify(HOLDER.public)
    assert found.binding == BINDING
    document, values = documents.parse(found.shown, REIMBURSEMENT)
    assert values == {"invoice_date": DAY}
    assert document.holder == HOLDER.public
    with pytest.raises(BadDocument, match="does not verify"):
        found.verify(KEY.public)
    with pytest.raises(BadDocument, match="algorithm"):
        found.verify(P256SigningKey(bytes(range(1, 33))).public)


def test_the_library_of_the_rfc_reads_what_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    # It takes the holder's algorithm from here, and has no argument for it.
    monkeypatch.setattr("sd_jwt.verifier.DEFAULT_SIGNING_ALG", "EdDSA")
    key = JWK(kty="OKP", crv="Ed25519", x=encode_base64url(KEY.public))
    verified = SDJWTVerifier(
        shown(), lambda *_: key, BINDING.audience, BINDING.nonce
    ).get_verified_payload()
    assert verified["invoice_date"] == DAY
    assert "claim" not in verified


def test_showing_more_or_less_than_was_signed_is_noticed() -> None:
    whole, last = str(reimbursement()), shown().rpartition("~")[2]
    with pytest.raises(BadDocument, match="something else is shown"):
        parse_presentation(whole + last)


@pytest.mark.parametrize(
    "text",
    [
        str(reimbursement()),
        shown() + "~",
        shown() + ".x",
        "x" * 70_000,
        "é",
        replaced(0, typ="JWT"),
        replaced(0, alg="none"),
        replaced(0, kid="ab"),
        replaced(1, aud=1),
        replaced(1, nonce=1),
        replaced(1, exp=True),
        replaced(1, iat=-1),
        replaced(1, exp=None),
        replaced(1, sd_hash="x"),
    ],
)
def test_what_is_no_showing_of_ours_is_refused(text: str) -> None:
    with pytest.raises(BadDocument):
        parse_presentation(text)


@pytest.mark.parametrize("name", ["aud", "nonce"])
def test_a_showing_that_was_changed_does_not_verify(name: str) -> None:
    signature = shown().rpartition(".")[2]
    changed = f"{replaced(1, **{name: 'other'}).rpartition('.')[0]}.{signature}"
    with pytest.raises(BadDocument, match="does not verify"):
        parse_presentation(changed).verify(HOLDER.public)


@given(st.text(max_size=40) | st.binary(max_size=40).map(lambda data: data.decode("latin-1")))
def test_any_text_is_a_showing_or_refused(text: str) -> None:
    with pytest.raises(BadDocument):
        parse_presentation(text)


# --- the holder's key in a document ---------------------------------------------------------------


def test_a_type_names_a_holder_or_does_not() -> None:
    claim = issue(CLAIM, CLAIMED)
    bound = sd_jwt.issue(claim.disclosures, CLAIM.type, KEY_ID, KEY, holder=HOLDER.public)
    free = reimbursement()
    loose = sd_jwt.issue(free.disclosures, REIMBURSEMENT.type, KEY_ID, KEY)
    for document, type_ in ((bound, CLAIM), (loose, REIMBURSEMENT)):
        with pytest.raises(BadDocument, match="holder"):
            documents.parse(str(document), type_)
    assert documents.parse(str(free), REIMBURSEMENT)[0] == free


@pytest.mark.parametrize(
    "confirmation",
    [
        None,
        {},
        {"jwk": {}},
        {"jwk": {"crv": "Ed25519", "kty": "OKP", "x": 1}},
        {"jwk": {"crv": "Ed25519", "kty": "OKP", "x": "é"}},
        {"jwk": {"crv": "Ed25519", "kty": "OKP", "x": "AA"}},
        {"jwk": {"crv": "X25519", "kty": "OKP", "x": encode_base64url(HOLDER.public)}},
        {"jwk": {"crv": "Ed25519", "kty": "OKP", "x": encode_base64url(HOLDER.public)}, "kid": 1},
    ],
)
def test_a_holder_that_is_no_key_is_refused(confirmation: object) -> None:
    header, payload, _ = reimbursement().jwt.split(".")
    value = json.loads(sd_jwt.decode_base64url(payload)) | {"cnf": confirmation}
    signed = f"{header}.{encode_part(value)}"
    text = f"{signed}.{encode_base64url(KEY.sign(signed.encode()))}~"
    with pytest.raises(BadDocument):
        sd_jwt.parse(text)


def test_every_reimbursement_looks_the_same_but_for_its_digests() -> None:
    assert len(reimbursement().digests) == 2
    assert {len(str(alone())), len(str(documents.present(reimbursement(), ["invoice_date"])))} == {
        len(str(alone()))
    }
