"""SD-JWTs: the RFC's own examples, and everything that must not pass for one."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import sd_jwt, strict_json
from contracts.errors import BadDocument
from contracts.sd_jwt import (
    Disclosure,
    SdJwt,
    decode_base64url,
    encode_base64url,
    issue,
    make_disclosure,
    parse,
    parse_disclosure,
    verify_jws,
)
from ledger.keys import P256SigningKey, SigningKey

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "sd_jwt.json").read_text("utf-8"))
KEY = SigningKey(bytes(range(32)))
KEY_ID = bytes(range(8))


def salt(number: int) -> bytes:
    return sha256(number.to_bytes(4)).digest()


def document(**fields: Any) -> SdJwt:  # noqa: ANN401
    made = [make_disclosure(salt(n), name, value) for n, (name, value) in enumerate(fields.items())]
    return issue(made, "test+sd-jwt", KEY_ID, KEY)


@pytest.mark.parametrize("vector", VECTORS["disclosures"], ids=lambda vector: vector["what"])
def test_disclosures_of_the_rfc_are_read(vector: dict[str, str]) -> None:
    found = parse_disclosure(vector["text"])
    assert (found.salt, found.name, found.value) == (
        vector["salt"],
        vector["name"],
        vector["value"],
    )
    if vector["digest"] is not None:
        assert found.digest == vector["digest"]


def test_a_disclosure_of_an_array_element_is_refused() -> None:
    with pytest.raises(BadDocument):
        parse_disclosure(VECTORS["array_element"])


def test_the_signature_of_rfc_8037_verifies_and_is_made_again() -> None:
    jws = VECTORS["jws"]
    verify_jws(jws["signed"], jws["signature"], decode_base64url(jws["public"]))
    key = SigningKey(decode_base64url(jws["seed"]))
    assert encode_base64url(key.sign(jws["signed"].encode())) == jws["signature"]
    with pytest.raises(BadDocument):
        verify_jws(jws["signed"] + "x", jws["signature"], decode_base64url(jws["public"]))


def test_a_document_names_the_algorithm_of_its_key() -> None:
    key = P256SigningKey(bytes(range(1, 33)))
    made = issue([make_disclosure(salt(0), "a", 1)], "test+sd-jwt", KEY_ID, key)
    found = parse(str(made))
    assert (found.algorithm, document(a=1).algorithm) == ("ES256", "EdDSA")
    found.verify(key.public)
    with pytest.raises(BadDocument, match="the algorithm that it names, ES256"):
        found.verify(KEY.public)
    with pytest.raises(BadDocument, match="the algorithm that it names, EdDSA"):
        document(a=1).verify(key.public)
    with pytest.raises(BadDocument, match="does not verify"):
        found.verify(P256SigningKey(bytes(31) + b"\x01").public)


def test_a_document_reads_back_as_issued() -> None:
    made = document(sphere=-125, frame=None, supplements=["SV1", "SV1"])
    found = parse(str(made))
    assert found == made
    found.verify(KEY.public)
    assert {d.name: d.value for d in found.disclosures} == {
        "sphere": -125,
        "frame": None,
        "supplements": ["SV1", "SV1"],
    }


def test_the_commitment_is_the_sha_256_of_the_jwt_without_disclosures() -> None:
    text = str(document(a=1, b=2))
    jwt = text.split("~", 1)[0]
    assert parse(text).commitment == parse(jwt + "~").commitment == sha256(jwt.encode()).digest()


def test_what_is_signed_does_not_tell_values_or_order() -> None:
    signed = document(a=1, b=2, c=3).jwt.split(".")[1]
    payload = json.loads(decode_base64url(signed))
    assert payload.keys() == {"_sd", "_sd_alg"}
    assert payload["_sd"] == sorted(payload["_sd"])


def test_fields_may_be_left_out_and_reordered() -> None:
    jwt, first, second, third, _ = str(document(a=1, b=2, c=3)).split("~")
    found = parse(f"{jwt}~{third}~{first}~")
    assert [d.name for d in found.disclosures] == ["c", "a"]
    assert second not in str(found)


def test_another_value_salt_or_name_is_not_the_one_that_was_signed() -> None:
    jwt, *_ = str(document(a=1)).split("~")
    for changed in (
        make_disclosure(salt(0), "a", 2),
        make_disclosure(salt(1), "a", 1),
        make_disclosure(salt(0), "b", 1),
    ):
        with pytest.raises(BadDocument, match="not the one that was signed"):
            parse(f"{jwt}~{changed.text}~")


def test_a_field_is_not_disclosed_twice() -> None:
    jwt, text, _ = str(document(a=1)).split("~")
    with pytest.raises(BadDocument, match="twice"):
        parse(f"{jwt}~{text}~{text}~")


def test_another_key_did_not_sign_it() -> None:
    found = parse(str(document(a=1)))
    with pytest.raises(BadDocument, match="signature"):
        found.verify(SigningKey(bytes(32)).public)


def resigned(header: object, payload: object) -> str:
    signed = ".".join(
        encode_base64url(strict_json.compact(part).encode()) for part in (header, payload)
    )
    return f"{signed}.{encode_base64url(KEY.sign(signed.encode()))}~"


HEADER = {"alg": "EdDSA", "kid": "00", "typ": "test+sd-jwt"}
PAYLOAD: dict[str, object] = {"_sd": [], "_sd_alg": "sha-256"}
DIGEST = encode_base64url(bytes(32))
OTHER = encode_base64url(b"\x01" * 32)


def test_a_document_resigned_as_it_was_is_accepted() -> None:
    parse(resigned(HEADER, PAYLOAD)).verify(KEY.public)


@pytest.mark.parametrize(
    ("header", "payload"),
    [
        (HEADER | {"alg": "none"}, PAYLOAD),
        (HEADER | {"alg": "ES384"}, PAYLOAD),
        (HEADER | {"alg": ["EdDSA"]}, PAYLOAD),
        (HEADER | {"crit": ["b64"]}, PAYLOAD),
        ({"alg": "EdDSA", "kid": "00"}, PAYLOAD),
        (HEADER | {"typ": 1}, PAYLOAD),
        (HEADER | {"kid": None}, PAYLOAD),
        (HEADER, PAYLOAD | {"_sd_alg": "md5"}),
        (HEADER, PAYLOAD | {"iat": 1_790_000_000}),
        (HEADER, PAYLOAD | {"sub": "somebody"}),
        (HEADER, {"_sd": []}),
        (HEADER, []),
        ([], PAYLOAD),
        (HEADER, PAYLOAD | {"_sd": "x"}),
        (HEADER, PAYLOAD | {"_sd": [1]}),
        (HEADER, PAYLOAD | {"_sd": [DIGEST[:-1]]}),
        (HEADER, PAYLOAD | {"_sd": [DIGEST, DIGEST]}),
        (HEADER, PAYLOAD | {"_sd": [OTHER, DIGEST]}),
        (HEADER, PAYLOAD | {"_sd": [DIGEST[:-1] + "B"]}),
        (HEADER, PAYLOAD | {"_sd": [DIGEST[:-1] + "="]}),
        (HEADER, PAYLOAD | {"_sd": [encode_base64url(salt(n)) for n in range(65)]}),
    ],
)
def test_what_is_not_of_our_form_is_refused(header: object, payload: object) -> None:
    with pytest.raises(BadDocument):
        parse(resigned(header, payload))


GOOD = str(document(a=1))
GOOD_JWT = GOOD.partition("~")[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "~",
        "~~",
        "a.b.c~",
        GOOD[:-1],
        GOOD + "x",
        GOOD + "~",
        GOOD.replace(".", "", 1),
        GOOD.replace(".", "=.", 1),
        GOOD.replace("~", "~\n", 1),
        GOOD.replace("~", "é~", 1),
        "A" * (sd_jwt.MAX_BYTES + 1),
        GOOD_JWT + "~" * 70,
        GOOD_JWT + "~" + "A" * 5000 + "~",
        GOOD_JWT + "AAAA~",
    ],
)
def test_texts_that_are_no_sd_jwt_are_refused(text: str) -> None:
    with pytest.raises(BadDocument):
        parse(text)


@pytest.mark.parametrize(
    "array",
    [
        b"[]",
        b'["salt", "name"]',
        b'["salt", "name", 1, 2]',
        b'["salt", 1, 1]',
        b'[1, "name", 1]',
        b'["salt", "_sd", []]',
        b'["salt", "...", 1]',
        b'["salt", "_sd_alg", "x"]',
        b'["salt", "name", 1.5]',
        b'["salt", "name", 1e3]',
        b'["salt", "name", NaN]',
        b'["salt", "name", Infinity]',
        b'["salt", "name", 1234567890123456789]',
        b'["salt", "name", {"a": 1, "a": 2}]',
        b'["salt", "name", "\\ud800"]',
        b'["salt", "name", ' + b"[" * 2000 + b"]" * 2000 + b"]",
        b'"name"',
        b'{"a": 1}',
        b"\xff",
        b"",
    ],
)
def test_what_is_no_disclosure_is_refused(array: bytes) -> None:
    with pytest.raises(BadDocument):
        parse_disclosure(encode_base64url(array))


@given(st.text(max_size=300) | st.text("ABab01-_.~=", max_size=300))
def test_any_text_is_an_sd_jwt_or_refused(text: str) -> None:
    try:
        found = parse(text)
    except BadDocument:
        return
    assert str(found) == text


@given(st.data())
def test_a_changed_character_never_verifies(data: st.DataObject) -> None:
    text = str(document(a=1, b=None))
    index = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(max_codepoint=127).filter(lambda c: c != text[index]))
    changed = text[:index] + other + text[index + 1 :]
    with pytest.raises(BadDocument):
        parse(changed).verify(KEY.public)


@given(st.binary(max_size=40))
def test_base64url_has_one_form(data: bytes) -> None:
    text = encode_base64url(data)
    assert decode_base64url(text) == data
    for other in (text + "=", text + "\n", " " + text, text.replace("-", "+").replace("_", "/")):
        if other != text:
            with pytest.raises(BadDocument):
                decode_base64url(other)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**16), 10**16) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)


@given(st.text(min_size=1, max_size=12), json_values)
def test_any_value_is_disclosed_as_it_was_given(name: str, value: object) -> None:
    made = make_disclosure(salt(0), name, value)
    if name in {"_sd", "...", "_sd_alg"}:
        return
    assert parse_disclosure(made.text) == Disclosure(made.text, made.salt, name, value)
