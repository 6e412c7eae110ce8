"""Our SD-JWTs at the reference implementation and its own at ours; the RFC's examples at both."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from jwcrypto.jwk import JWK
from jwcrypto.jws import InvalidJWSSignature
from sd_jwt.common import SDObj
from sd_jwt.holder import SDJWTHolder
from sd_jwt.issuer import SDJWTIssuer
from sd_jwt.verifier import SDJWTVerifier

from contracts import documents, sd_jwt
from contracts.documents import CLAIM, PRESCRIPTION, SALT_BYTES
from contracts.errors import BadDocument
from contracts.sd_jwt import (
    SdJwt,
    decode_base64url,
    encode_base64url,
    parse,
    parse_disclosure,
    verify_jws,
)
from ledger.keys import Algorithm, P256SigningKey, Signer, SigningKey

RFC = json.loads((Path(__file__).parents[1] / "vectors" / "sd_jwt_rfc9901.json").read_text("utf-8"))
KEYS: dict[str, Signer] = {
    "EdDSA": SigningKey(bytes(range(32))),
    "ES256": P256SigningKey(bytes(range(1, 33))),
}
KEY_ID = bytes(range(8))
FIELDS: dict[str, Any] = {
    "right_lens": "VU2",
    "left_lens": None,
    "supplements": ["SV4", "SV1"],
    "lenses_cents": 11_800,
    "invoice_date": "2025-05-09",
    "leg": 1,
    "prescription": "ab" * 32,
}
SECRET = bytes(range(100, 132))


def document(key: Signer, type_: documents.DocumentType = CLAIM) -> SdJwt:
    values = FIELDS
    if type_ is PRESCRIPTION:
        values = {
            "date_written": "2025-01-02",
            "right_sphere": -425,
            "right_prism": [[150, "in"]],
            **documents.mark_fields(SECRET, 0),
        }
    salts = [sha256(bytes([n])).digest()[:SALT_BYTES] for n in range(len(type_.fields))]
    return documents.issue(type_, values, salts, key_id=KEY_ID, key=key)


def as_jwk(key: Signer) -> JWK:
    """Return a public key as others write it (RFC 7517, RFC 8037)."""
    if key.algorithm is Algorithm.ED25519:
        return JWK(kty="OKP", crv="Ed25519", x=encode_base64url(key.public))
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key.public)
    numbers = point.public_numbers()
    return JWK(
        kty="EC",
        crv="P-256",
        x=encode_base64url(numbers.x.to_bytes(32)),
        y=encode_base64url(numbers.y.to_bytes(32)),
    )


def verified_by_theirs(text: str, key: JWK, algorithm: str) -> dict[str, Any]:
    """Return what the reference implementation reads, the signature verified."""

    class Verifier(SDJWTVerifier):  # type: ignore[misc]
        def _verify_sd_jwt(self, find_key: Any, sign_alg: str | None = None) -> None:  # noqa: ANN401
            del sign_alg
            super()._verify_sd_jwt(find_key, algorithm)

    found: dict[str, Any] = Verifier(text, lambda _issuer, _header: key).get_verified_payload()
    return found


def issued_by_theirs(claims: dict[Any, Any], **options: Any) -> str:  # noqa: ANN401
    private = JWK(
        kty="OKP",
        crv="Ed25519",
        x=encode_base64url(KEYS["EdDSA"].public),
        d=encode_base64url(bytes(range(32))),
    )
    header = {"typ": "other+sd-jwt", "kid": KEY_ID.hex()}
    made = SDJWTIssuer(claims, private, sign_alg="EdDSA", extra_header_parameters=header, **options)
    text: str = made.sd_jwt_issuance
    return text


# --- ours at theirs ------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", [CLAIM, PRESCRIPTION], ids=["claim", "prescription"])
@pytest.mark.parametrize("algorithm", KEYS)
def test_they_verify_our_documents_and_read_the_same(
    algorithm: str, type_: documents.DocumentType
) -> None:
    key = KEYS[algorithm]
    made = document(key, type_)
    found = verified_by_theirs(str(made), as_jwk(key), algorithm)
    assert found == {each.name: each.value for each in made.disclosures}
    shown = documents.present(made, [*type_.fields][:3])
    found = verified_by_theirs(str(shown), as_jwk(key), algorithm)
    assert found == {each.name: each.value for each in shown.disclosures}
    assert len(found) == 3


@pytest.mark.parametrize("algorithm", KEYS)
def test_their_holder_shows_a_part_of_ours_and_we_read_it(algorithm: str) -> None:
    made = document(KEYS[algorithm])
    holder = SDJWTHolder(str(made))
    holder.create_presentation({"right_lens": True, "lenses_cents": True})
    shown, values = documents.parse(holder.sd_jwt_presentation, CLAIM)
    shown.verify(KEYS[algorithm].public)
    assert values == {"right_lens": "VU2", "lenses_cents": 11_800}
    assert shown.commitment == made.commitment


@pytest.mark.parametrize("algorithm", KEYS)
def test_what_was_changed_neither_of_us_takes(algorithm: str) -> None:
    key = KEYS[algorithm]
    text = str(document(key))
    header, _, rest = text.partition(".")
    payload, _, signature = rest.partition(".")
    data = decode_base64url(payload)
    changed = encode_base64url(data.replace(b'"_sd":["', b'"_sd":["A', 1)[:-2] + b"}")
    other = document(KEYS["ES256" if algorithm == "EdDSA" else "EdDSA"])
    for bad in (f"{header}.{changed}.{signature}", text.replace(signature[:20], "A" * 20, 1)):
        with pytest.raises(Exception):  # noqa: B017, PT011 - theirs have no type of their own
            verified_by_theirs(bad, as_jwk(key), algorithm)
        with pytest.raises(BadDocument):
            parse(bad).verify(key.public)
    with pytest.raises(InvalidJWSSignature):
        verified_by_theirs(str(other), as_jwk(key), algorithm)


# --- theirs at ours ------------------------------------------------------------------------------


def test_we_read_what_they_issue_where_it_is_flat() -> None:
    text = issued_by_theirs({SDObj("a"): 1, SDObj("b"): ["x", {"y": None}], SDObj("c"): "é"})
    found = parse(text)
    found.verify(KEYS["EdDSA"].public)
    assert {each.name: each.value for each in found.disclosures} == {
        "a": 1,
        "b": ["x", {"y": None}],
        "c": "é",
    }
    with pytest.raises(BadDocument, match="does not verify"):
        found.verify(SigningKey(bytes(32)).public)


def test_we_read_to_whom_they_bind_it() -> None:
    key = KEYS["EdDSA"].public
    text = issued_by_theirs({SDObj("a"): 1}, holder_key=as_jwk(KEYS["EdDSA"]))
    assert parse(text).holder == key
    assert parse(issued_by_theirs({SDObj("a"): 1})).holder is None


def test_digests_that_stand_for_nothing_are_allowed() -> None:
    found = parse(issued_by_theirs({SDObj("a"): 1}, add_decoy_claims=True))
    assert len(found.digests) > len(found.disclosures) == 1


@pytest.mark.parametrize(
    ("claims", "options", "reason"),
    [
        ({SDObj("a"): 1, "iss": "x"}, {}, "the payload"),
        ({SDObj("a"): {SDObj("b"): 1}}, {}, "is not the one that was signed"),
        ({"a": [SDObj("b")]}, {}, "the payload"),
        ({SDObj("a"): 1.5}, {}, "float|number"),
        ({SDObj("a"): 1}, {"holder_key": as_jwk(KEYS["ES256"])}, "the holder's key"),
        ({SDObj("a"): 1}, {"serialization_format": "json"}, "no signed JWT followed by a tilde"),
    ],
    ids=[
        "open claims",
        "in depth",
        "in a list",
        "a float",
        "bound to a key of another kind",
        "as JSON",
    ],
)
def test_what_our_documents_do_not_use_is_refused(
    claims: dict[Any, Any], options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(BadDocument, match=reason):
        parse(issued_by_theirs(claims, **options))


# --- the RFC's examples --------------------------------------------------------------------------


def parts_of(example: dict[str, Any]) -> tuple[str, list[str]]:
    """Return the signed JWT and the disclosures of an example."""
    jwt, *texts, _ = example["issued"].split("~")
    return jwt, texts


def digests_in(value: object) -> set[str]:
    """Return every digest that stands somewhere in a payload or in the value of a disclosure."""
    match value:
        case dict():
            own = {*value.get("_sd", ())}
            own |= {value["..."]} if isinstance(value.get("..."), str) else set()
            return own.union(*map(digests_in, value.values()))
        case list():
            return set().union(*map(digests_in, value))
        case _:
            return set()


@pytest.mark.parametrize("name", RFC["examples"])
def test_disclosures_of_the_examples_have_the_digests_that_were_signed(name: str) -> None:
    example = RFC["examples"][name]
    _, texts = parts_of(example)
    digests = digests_in(example["payload"])
    read = 0
    for text in texts:
        array = json.loads(decode_base64url(text))
        digests |= digests_in(array[-1])
    for text in texts:
        array = json.loads(decode_base64url(text))
        if len(array) == 2:  # of an element of an array, which our documents do not use
            with pytest.raises(BadDocument):
                parse_disclosure(text)
            continue
        found = parse_disclosure(text)
        read += 1
        assert [found.salt, found.name, found.value] == array
        assert found.digest in digests
    assert read


@pytest.mark.parametrize("name", RFC["examples"])
def test_signatures_of_the_examples_verify(name: str) -> None:
    jwt, _ = parts_of(RFC["examples"][name])
    signed, _, signature = jwt.rpartition(".")
    x, y = (decode_base64url(RFC["issuer_key"][each]) for each in ("x", "y"))
    public = bytes([2 + y[-1] % 2]) + x
    raw = decode_base64url(signature)
    if int.from_bytes(raw[32:]) > P256_ORDER // 2:
        # The higher of the two s that verify is what we refuse of ES256, of the RFC's too.
        with pytest.raises(BadDocument):
            verify_jws(signed, signature, public)
        raw = raw[:32] + (P256_ORDER - int.from_bytes(raw[32:])).to_bytes(32)
    verify_jws(signed, encode_base64url(raw), public)
    with pytest.raises(BadDocument):
        verify_jws(signed + "A", encode_base64url(raw), public)


P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.mark.parametrize("name", RFC["examples"])
@pytest.mark.parametrize("form", ["issued", "presented"])
def test_the_examples_as_a_whole_are_none_of_our_documents(name: str, form: str) -> None:
    with pytest.raises(BadDocument) as refusal:
        sd_jwt.parse(RFC["examples"][name][form])
    assert len(str(refusal.value)) < 200
