"""Verified signatures: a good one is verified once, a bad one never passes."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from ledger import keys
from ledger.errors import BadSignature
from ledger.keys import P256SigningKey, Role
from node.signatures import VerifiedSignatures
from tests.chainmaker import key_of
from tests.node.cluster import ALONE, make_genesis, prescription

KEY = key_of("shop-a", Role.TRANSACTION)
OTHER = key_of("shop-b", Role.TRANSACTION)


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The messages whose signatures were really verified."""
    seen: list[bytes] = []
    verify = keys.verify

    def count(public: bytes, message: bytes, signature: bytes, *, what: str) -> None:
        seen.append(message)
        verify(public, message, signature, what=what)

    monkeypatch.setattr(keys, "verify", count)
    return seen


def test_a_good_signature_is_verified_once(verified: list[bytes]) -> None:
    signatures, transaction = VerifiedSignatures(), prescription(make_genesis(ALONE), "one")
    verified.clear()  # a genesis verifies its own
    for _ in range(3):
        signatures.verify(transaction, KEY.public)
    assert len(verified) == 1


def test_a_bad_signature_is_refused_every_time(verified: list[bytes]) -> None:
    signatures, good = VerifiedSignatures(), KEY.sign(b"message")
    signatures.verify_raw(KEY.public, b"message", good, "it")
    for public, message, signature in (
        (OTHER.public, b"message", good),
        (KEY.public, b"massage", good),
        (KEY.public, b"message", OTHER.sign(b"message")),
        (KEY.public, b"message", good[:-1] + bytes((good[-1] ^ 1,))),
    ):
        for _ in range(2):
            with pytest.raises(BadSignature, match="it"):
                signatures.verify_raw(public, message, signature, "it")
    assert len(verified) == 1 + 4 * 2


def test_keys_of_either_length_are_told_apart(verified: list[bytes]) -> None:
    """What is remembered of a P-256 signature is not that of a shorter key and a longer message."""
    signatures, key = VerifiedSignatures(), P256SigningKey(bytes(31) + b"\x01")
    good = key.sign(b"message")
    for _ in range(2):
        signatures.verify_raw(key.public, b"message", good, "it")
    assert len(verified) == 1
    shifted = key.public[32:] + good[:-1]
    with pytest.raises(BadSignature):
        signatures.verify_raw(key.public[:32], good[-1:] + b"message", shifted, "it")


def test_one_bad_among_many_is_refused() -> None:
    signatures = VerifiedSignatures()
    triples = [(KEY.public, bytes((n,)), KEY.sign(bytes((n,)))) for n in range(5)]
    signatures.verify_all(triples, "votes")
    with pytest.raises(BadSignature, match="votes"):
        signatures.verify_all([*triples, (KEY.public, b"x", bytes(64))], "votes")


def test_the_oldest_are_forgotten(verified: list[bytes]) -> None:
    signatures = VerifiedSignatures(remembered=2)
    for message in (b"1", b"2", b"3", b"3", b"2", b"1"):
        signatures.verify_raw(KEY.public, message, KEY.sign(message), "it")
    assert verified == [b"1", b"2", b"3", b"1"]
    assert len(signatures._good) == 2


def test_threads_may_share_it() -> None:
    signatures = VerifiedSignatures(remembered=10)
    triples = [(KEY.public, bytes((n,)), KEY.sign(bytes((n,)))) for n in range(50)]
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(signatures.verify_all, triples, "it") for _ in range(8)]:
            done.result()
    assert len(signatures._good) <= 10
