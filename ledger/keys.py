"""Keys and signatures: one rule of validity for each algorithm.

Ed25519 (RFC 8032) as libsodium judges it, by PyNaCl, is *the* rule: libraries disagree on edge
cases, and two libraries that vote are a fork. Keys are made from seeds that are handed in, because
this package draws no chance.
"""

from enum import IntEnum
from typing import NewType

import nacl.bindings as sodium
from nacl.exceptions import BadSignatureError

from ledger.errors import BadKey, BadSignature
from ledger.hashing import Domain, hash_of

PublicKey = NewType("PublicKey", bytes)
Signature = NewType("Signature", bytes)
KeyId = NewType("KeyId", bytes)

SEED_BYTES = 32
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
KEY_ID_BYTES = 8


class Algorithm(IntEnum):
    """How a key signs; the number stands in the record."""

    ED25519 = 1
    P256 = 2  # reserved: 33-byte compressed keys, 64-byte low-s signatures


class Role(IntEnum):
    """What a key may do; the number stands in the record."""

    TRANSACTION = 1
    CONSENSUS = 2
    CHECKPOINT = 3
    SEALING = 4
    TLS = 5


class SigningKey:
    """An Ed25519 key pair made from its 32-byte seed (RFC 8032, 5.1.5). It never prints itself."""

    __slots__ = ("_secret", "public")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise BadKey(f"a seed has {SEED_BYTES} bytes, not {len(seed)}")
        public, self._secret = sodium.crypto_sign_seed_keypair(seed)
        self.public = PublicKey(public)

    def sign(self, message: bytes) -> Signature:
        """Return the 64-byte signature of `message`; the same message gives the same bytes."""
        return Signature(sodium.crypto_sign(message, self._secret)[:SIGNATURE_BYTES])


def verify(public: bytes, message: bytes, signature: bytes, *, what: str) -> None:
    """Raise `BadSignature` unless `signature` is Ed25519 of `message` under `public`.

    libsodium's checks: s < L, R and the key canonical and not of small order, no cofactor.
    """
    if len(public) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        raise BadSignature(what)
    try:
        sodium.crypto_sign_open(signature + message, public)
    except BadSignatureError:
        raise BadSignature(what) from None


def parse_public_key(data: bytes) -> PublicKey:
    """Return `data` as an Ed25519 key of the prime-order subgroup, or raise `BadKey`."""
    if len(data) != PUBLIC_KEY_BYTES:
        raise BadKey(f"an Ed25519 key has {PUBLIC_KEY_BYTES} bytes, not {len(data)}")
    if not sodium.crypto_core_ed25519_is_valid_point(data):
        raise BadKey("not a canonical point of the prime-order subgroup of edwards25519")
    return PublicKey(data)


def key_id(role: Role, algorithm: Algorithm, public: bytes) -> KeyId:
    """Return the 8 bytes by which transactions name a member's key."""
    digest = hash_of(Domain.KEY, bytes((role, algorithm)), public)
    return KeyId(digest[:KEY_ID_BYTES])
