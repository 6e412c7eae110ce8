"""The rule for P-256, against the vectors of others and at its edges."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from ledger import keys
from ledger.encoding import decode, encode
from ledger.errors import BadKey, BadSignature, Malformed
from ledger.keys import (
    P256_HIGHEST_S,
    P256_ORDER,
    Algorithm,
    P256SigningKey,
    Role,
    SigningKey,
    algorithm_of,
    parse_public_key,
    verify,
)
from ledger.validators import Validator

VECTORS: Final = Path(__file__).parent.parent / "vectors"
P: Final = 2**256 - 2**224 + 2**192 + 2**96 - 1
B: Final = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
SECRET: Final = bytes(range(1, 33))
KEY: Final = P256SigningKey(SECRET)

# RFC 6979, A.2.5, with SHA-256: message, r, s.
RFC_6979_SECRET: Final = "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"
RFC_6979_X: Final = "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
RFC_6979: Final = [
    (
        b"sample",
        "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716",
        "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
    ),
    (
        b"test",
        "f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367",
        "019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083",
    ),
]

# The cases that Wycheproof calls valid and whose s is the higher of two; all others agree.
HIGH_S: Final = {
    "p1363": (
        "64 66 67 68 71 77 78 80 81 85 86 87 94 95 96 100 102 104 105 107 110 111 114 115 117"
        " 118 138 139 140 141 142 171 172 175 176 177 180 183 189 190 191 192 195 196 197 199"
        " 200 204 210 211 216 217 226 227 229 233 234 237 240 242 243 244 246 248 249 250 252"
        " 253 257 262"
    ),
    "der": "7",
}


def cases() -> list[dict[str, Any]]:
    text = (VECTORS / "wycheproof_p256.json").read_text(encoding="ascii")
    found: list[dict[str, Any]] = json.loads(text)
    return found


def holds(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        verify(public, message, signature, what="a test")
    except BadSignature:
        return False
    return True


def parts(case: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
    key, message, signature = (
        bytes.fromhex(case[part]) for part in ("key", "message", "signature")
    )
    return key, message, signature


def lowered(signature: bytes) -> bytes:
    """Return the other signature that the plain equation accepts as well."""
    return signature[:32] + (P256_ORDER - int.from_bytes(signature[32:])).to_bytes(32)


def test_every_verdict_of_wycheproof_is_ours_but_for_high_s() -> None:
    every, refused = cases(), []
    assert len(every) == 270
    for case in every:
        public, message, signature = parts(case)
        assert parse_public_key(Algorithm.P256, public) == public
        if holds(public, message, signature) != (case["result"] == "valid"):
            refused.append(case["id"])
            assert case["result"] == "valid", case
            assert int.from_bytes(signature[32:]) > P256_HIGHEST_S
            assert holds(public, message, lowered(signature))
    assert refused == [f"{form}-{n}" for form, text in HIGH_S.items() for n in text.split()]


def test_the_readme_lists_what_is_not_as_wycheproof_has_it() -> None:
    words = " ".join((VECTORS / "README.md").read_text(encoding="utf-8").split())
    for text in HIGH_S.values():
        assert text in words


@pytest.mark.parametrize(("message", "r", "s"), RFC_6979)
def test_signatures_are_those_of_rfc_6979_with_the_lower_s(message: bytes, r: str, s: str) -> None:
    key = P256SigningKey(bytes.fromhex(RFC_6979_SECRET))
    assert key.public.hex()[2:] == RFC_6979_X
    expected = bytes.fromhex(r + s)
    if int(s, 16) > P256_HIGHEST_S:
        assert not holds(key.public, message, expected)
        expected = lowered(expected)
    assert key.sign(message) == expected
    verify(key.public, message, expected, what="it")


@given(secret=st.integers(1, P256_ORDER - 1), message=st.binary(max_size=300))
def test_what_is_signed_verifies_and_is_always_the_same(secret: int, message: bytes) -> None:
    key = P256SigningKey(secret.to_bytes(32))
    signature = key.sign(message)
    assert algorithm_of(key.public) is key.algorithm is Algorithm.P256
    assert holds(parse_public_key(Algorithm.P256, key.public), message, signature)
    assert key.sign(message) == signature
    assert not holds(key.public, message, lowered(signature))
    assert not holds(key.public, message + b"x", signature)


@given(message=st.binary(max_size=50), at=st.integers(0, 63), bit=st.integers(0, 7))
def test_no_bit_of_a_signature_may_differ(message: bytes, at: int, bit: int) -> None:
    signature = bytearray(KEY.sign(message))
    signature[at] ^= 1 << bit
    assert not holds(KEY.public, message, bytes(signature))


@pytest.mark.parametrize("value", [0, P256_ORDER, P256_ORDER + 1, 2**256 - 1])
def test_r_and_s_are_above_zero_and_below_the_order(value: int) -> None:
    good = KEY.sign(b"m")
    assert not holds(KEY.public, b"m", value.to_bytes(32) + good[32:])
    assert not holds(KEY.public, b"m", good[:32] + value.to_bytes(32))


def test_s_may_be_half_of_the_order_and_not_more() -> None:
    """Made backwards: s is chosen, and the key is what it verifies under."""
    for s, allowed in ((P256_HIGHEST_S, True), (P256_HIGHEST_S + 1, False)):
        public, signature = made_for(s)
        assert holds(public, b"m", signature) == allowed
        assert holds(public, b"m", lowered(signature)) != allowed


def made_for(s: int) -> tuple[bytes, bytes]:
    """Return a key and its signature of b"m" with this s, of the nonce 1: R is the base point."""
    base = ec.derive_private_key(1, ec.SECP256R1()).public_key().public_numbers()
    r = base.x % P256_ORDER
    e = int.from_bytes(sha256(b"m").digest())
    secret = (s - e) * pow(r, -1, P256_ORDER) % P256_ORDER  # s·1 = e + r·secret
    return P256SigningKey(secret.to_bytes(32)).public, r.to_bytes(32) + s.to_bytes(32)


def x_without_a_point() -> int:
    return next(x for x in range(1, 100) if pow(x**3 - 3 * x + B, (P - 1) // 2, P) != 1)


def x_of_a_point_beyond_p() -> int:
    """Return an x whose point would be written once more, were x + p allowed in 32 bytes."""
    return next(x for x in range(1, 100) if pow(x**3 - 3 * x + B, (P - 1) // 2, P) == 1)


@pytest.mark.parametrize(
    "public",
    [
        pytest.param(b"", id="empty"),
        pytest.param(KEY.public[:-1], id="too short"),
        pytest.param(KEY.public + b"\x00", id="too long"),
        pytest.param(bytes(33), id="the point at infinity, padded"),
        pytest.param(b"\x00", id="the point at infinity"),
        pytest.param(b"\x04" + KEY.public[1:], id="begins as an uncompressed one"),
        pytest.param(b"\x06" + KEY.public[1:], id="begins as a hybrid one"),
        pytest.param(b"\x02" + x_without_a_point().to_bytes(32), id="not on the curve"),
        pytest.param(b"\x02" + (x_of_a_point_beyond_p() + P).to_bytes(32), id="x not below p"),
        pytest.param(b"\x03" + b"\xff" * 32, id="the highest x"),
        pytest.param(SigningKey(SECRET).public, id="an Ed25519 key"),
    ],
)
def test_a_key_that_is_no_compressed_point_is_refused(public: bytes) -> None:
    with pytest.raises(BadKey, match=r"^unusable public key: "):
        parse_public_key(Algorithm.P256, public)
    if len(public) != 32:
        assert not holds(public, b"m", KEY.sign(b"m"))


def test_the_uncompressed_form_of_a_good_key_is_refused() -> None:
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), KEY.public)
    numbers = point.public_numbers()
    long = b"\x04" + numbers.x.to_bytes(32) + numbers.y.to_bytes(32)
    with pytest.raises(BadKey):
        parse_public_key(Algorithm.P256, long)


@given(junk=st.binary(max_size=40))
def test_any_bytes_are_a_key_or_refused(junk: bytes) -> None:
    try:
        assert parse_public_key(Algorithm.P256, junk) == junk
    except BadKey:
        return


@pytest.mark.parametrize("wrong", [b"", bytes(31), bytes(33), bytes(32), P256_ORDER.to_bytes(32)])
def test_a_secret_is_a_scalar_of_32_bytes_below_the_order(wrong: bytes) -> None:
    with pytest.raises(BadKey):
        P256SigningKey(wrong)
    assert P256SigningKey((P256_ORDER - 1).to_bytes(32)).public[1:] == base_x()


def base_x() -> bytes:
    return P256SigningKey((1).to_bytes(32)).public[1:]


def test_a_signing_key_does_not_show_its_secret() -> None:
    for text in (repr(KEY), str(KEY)):
        assert SECRET.hex() not in text
        assert repr(SECRET) not in text


def test_only_keys_of_transactions_may_be_of_p256() -> None:
    allowed = {role for role in Role if role.allows(Algorithm.P256)}
    assert allowed == {Role.TRANSACTION, Role.HUMAN}
    assert all(role.allows(Algorithm.ED25519) for role in Role)


def test_a_validator_has_no_key_of_p256() -> None:
    """What votes, and what signs checkpoints and connections, has 32 bytes by its type."""
    mine = SigningKey(SECRET).public
    decode(encode(Validator(bytes(16), mine, mine, mine)), Validator)
    for place in range(3):
        fields = [mine, mine, mine]
        fields[place] = KEY.public
        with pytest.raises(Malformed):
            decode(encode((bytes(16), *fields)), Validator)


def test_what_keys_are_remembered_is_bounded() -> None:
    assert keys._p256.cache_info().maxsize == 4096
