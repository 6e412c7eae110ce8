"""The one rule for Ed25519, against the vectors of others and at its edges."""

import json
from hashlib import sha512
from pathlib import Path
from typing import Any, Final

import nacl.bindings as sodium
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import BadKey, BadSignature
from ledger.hashing import Domain, hash_of
from ledger.keys import Algorithm, Role, SigningKey, key_id, parse_public_key, verify

VECTORS: Final = Path(__file__).parent.parent / "vectors"
L: Final = 2**252 + 27742317777372353535851937790883648493
IDENTITY: Final = (1).to_bytes(32, "little")
ORDER_8: Final = bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")
SEED: Final = bytes(range(32))


def _cases(name: str) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((VECTORS / name).read_text(encoding="ascii"))
    return cases


def _holds(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        verify(public, message, signature, what="a test")
    except BadSignature:
        return False
    return True


def test_every_verdict_of_wycheproof_is_ours() -> None:
    cases = _cases("wycheproof_ed25519.json")
    decided = [case for case in cases if case["result"] != "acceptable"]
    assert len(decided) > 150
    for case in decided:
        data = (bytes.fromhex(case[part]) for part in ("key", "message", "signature"))
        assert _holds(*data) == (case["result"] == "valid"), case


def test_keys_that_wycheproof_leaves_to_choice_cannot_be_registered() -> None:
    """Where it says acceptable, the key is of small or mixed order."""
    left_open = [c for c in _cases("wycheproof_ed25519.json") if c["result"] == "acceptable"]
    assert {flag for case in left_open for flag in case["flags"]} == {
        "SmallOrderPublicKey",
        "MixedOrderPublicKey",
    }
    for case in left_open:
        with pytest.raises(BadKey):
            parse_public_key(Algorithm.ED25519, bytes.fromhex(case["key"]))
        if case["flags"] == ["SmallOrderPublicKey"]:
            data = (bytes.fromhex(case[part]) for part in ("key", "message", "signature"))
            assert not _holds(*data)


@pytest.mark.parametrize("case", _cases("rfc8032_ed25519.json"), ids=lambda case: case["name"])
def test_keys_and_signatures_are_those_of_rfc_8032(case: dict[str, str]) -> None:
    key, message = SigningKey(bytes.fromhex(case["seed"])), bytes.fromhex(case["message"])
    assert key.public.hex() == case["key"]
    assert key.sign(message).hex() == case["signature"]
    public = parse_public_key(Algorithm.ED25519, key.public)
    verify(public, message, bytes.fromhex(case["signature"]), what="it")


@given(seed=st.binary(min_size=32, max_size=32), message=st.binary(max_size=300))
def test_what_we_sign_another_library_verifies(seed: bytes, message: bytes) -> None:
    key = SigningKey(seed)
    signature = key.sign(message)
    verify(key.public, message, signature, what="it")
    Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
    assert key.sign(message) == signature


@given(message=st.binary(max_size=50), at=st.integers(0, 63), bit=st.integers(0, 7))
def test_no_bit_of_a_signature_may_differ(message: bytes, at: int, bit: int) -> None:
    key = SigningKey(SEED)
    signature = bytearray(key.sign(message))
    signature[at] ^= 1 << bit
    assert not _holds(key.public, message, bytes(signature))


def _signature(nonce: int, r: bytes, message: bytes, public: bytes) -> bytes:
    """Return s made with the secret of `SEED` for this R, whatever it is."""
    secret = int.from_bytes(sha512(SEED).digest()[:32], "little") & ((1 << 254) - 8) | 1 << 254
    k = int.from_bytes(sha512(r + public + message).digest(), "little") % L
    return r + ((nonce + k * secret) % L).to_bytes(32, "little")


def _point(scalar: int) -> bytes:
    return sodium.crypto_scalarmult_ed25519_base_noclamp(scalar.to_bytes(32, "little"))


def test_s_is_below_the_order_of_the_group() -> None:
    public = SigningKey(SEED).public
    good = _signature(7, _point(7), b"m", public)
    assert _holds(public, b"m", good)
    higher = int.from_bytes(good[32:], "little") + L
    assert not _holds(public, b"m", good[:32] + higher.to_bytes(32, "little"))


def test_there_is_no_cofactor_in_the_equation() -> None:
    """R off by a point of order 8 satisfies 8sB = 8R + 8kA, not sB = R + kA."""
    public = SigningKey(SEED).public
    moved = sodium.crypto_core_ed25519_add(_point(7), ORDER_8)
    assert not _holds(public, b"m", _signature(7, moved, b"m", public))


def test_r_of_small_order_is_refused_though_the_equation_holds() -> None:
    public = SigningKey(SEED).public
    assert not _holds(public, b"m", _signature(0, IDENTITY, b"m", public))


@pytest.mark.parametrize(
    ("public", "signature"),
    [(b"", bytes(64)), (bytes(31), bytes(64)), (bytes(33), bytes(64)), (SEED, b""), (SEED, SEED)],
)
def test_other_lengths_are_refused(public: bytes, signature: bytes) -> None:
    with pytest.raises(BadSignature, match="signature of a letter does not verify"):
        verify(public, b"m", signature, what="a letter")


@pytest.mark.parametrize(
    "public",
    [
        pytest.param(bytes(31), id="too short"),
        pytest.param(bytes(33), id="too long"),
        pytest.param(IDENTITY, id="the identity"),
        pytest.param((2**255 - 20).to_bytes(32, "little"), id="of order two"),
        pytest.param(bytes(32), id="of order four"),
        pytest.param(ORDER_8, id="of order eight"),
        pytest.param((1 | 1 << 255).to_bytes(32, "little"), id="the identity with a sign"),
        pytest.param((2**255 - 16).to_bytes(32, "little"), id="not canonical: p + 3"),
        pytest.param((2).to_bytes(32, "little"), id="not on the curve"),
    ],
)
def test_a_key_that_is_no_point_of_the_prime_order_subgroup_is_refused(public: bytes) -> None:
    with pytest.raises(BadKey, match=r"^unusable public key: "):
        parse_public_key(Algorithm.ED25519, public)


def test_a_key_of_mixed_order_is_refused() -> None:
    mixed = sodium.crypto_core_ed25519_add(SigningKey(SEED).public, ORDER_8)
    with pytest.raises(BadKey):
        parse_public_key(Algorithm.ED25519, mixed)


@given(junk=st.binary(max_size=40))
def test_any_bytes_are_a_key_or_refused(junk: bytes) -> None:
    try:
        assert parse_public_key(Algorithm.ED25519, junk) == junk
    except BadKey:
        return


def test_a_seed_has_32_bytes() -> None:
    for wrong in (b"", bytes(31), bytes(64)):
        with pytest.raises(BadKey, match="a seed has 32 bytes"):
            SigningKey(wrong)


def test_a_signing_key_does_not_show_its_secret() -> None:
    key = SigningKey(SEED)
    for text in (repr(key), str(key)):
        assert SEED.hex() not in text
        assert repr(SEED) not in text


def test_a_key_id_tells_role_algorithm_and_key_apart() -> None:
    public = SigningKey(SEED).public
    expected = hash_of(Domain.KEY, b"\x01\x01", public)[:8]
    assert key_id(Role.TRANSACTION, Algorithm.ED25519, public) == expected
    ids = {key_id(role, algorithm, public) for role in Role for algorithm in Algorithm}
    assert len(ids) == len(Role) * len(Algorithm)
