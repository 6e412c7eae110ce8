"""Keys and signatures: one rule of validity for each algorithm.

Ed25519 (RFC 8032) as libsodium judges it, by PyNaCl, is *the* rule: libraries disagree on edge
cases, and two libraries that vote are a fork. ECDSA on P-256 (FIPS 186-5), by `cryptography`, is
for keys that sign transactions and for nothing else; what libraries leave open there (the form of
a key, which of two signatures) is decided here. Keys are made from secrets that are handed in,
because this package draws no chance.
"""

from enum import IntEnum
from functools import lru_cache
from typing import ClassVar, Final, NewType, Protocol

import nacl.bindings as sodium
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from nacl.exceptions import BadSignatureError

from ledger.errors import BadKey, BadSignature
from ledger.hashing import Domain, hash_of

PublicKey = NewType("PublicKey", bytes)
Signature = NewType("Signature", bytes)
KeyId = NewType("KeyId", bytes)

SEED_BYTES = 32
PUBLIC_KEY_BYTES = 32  # of Ed25519
P256_KEY_BYTES = 33  # 02 or 03, and x
SIGNATURE_BYTES = 64  # of either algorithm
KEY_ID_BYTES = 8

_HALF: Final = SIGNATURE_BYTES // 2
P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
P256_HIGHEST_S: Final = P256_ORDER // 2  # of s and order − s the lower one is the signature
_CURVE: Final = ec.SECP256R1()
_VERIFYING: Final = ec.ECDSA(hashes.SHA256())
_SIGNING: Final = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)  # RFC 6979


class Algorithm(IntEnum):
    """How a key signs; the number stands in the record."""

    ED25519 = 1
    P256 = 2


class Role(IntEnum):
    """What a key may do; the number stands in the record."""

    TRANSACTION = 1
    CONSENSUS = 2
    CHECKPOINT = 3
    SEALING = 4
    TLS = 5
    HUMAN = 6  # signs transactions too, and is held by a person

    @property
    def signs_transactions(self) -> bool:
        """Whether a transaction may be signed by a key of this role."""
        return self in (Role.TRANSACTION, Role.HUMAN)

    def allows(self, algorithm: Algorithm) -> bool:
        """Return whether a key of this role may be of `algorithm`: but for transactions Ed25519."""
        return algorithm is Algorithm.ED25519 or self.signs_transactions


class Signer(Protocol):
    """A key pair that signs transactions, of whatever algorithm."""

    @property
    def algorithm(self) -> Algorithm:
        """How it signs."""

    @property
    def public(self) -> PublicKey:
        """Its public part, in the form that the record holds."""

    def sign(self, message: bytes) -> Signature:
        """Return the 64-byte signature of `message`."""


class SigningKey:
    """An Ed25519 key pair made from its 32-byte seed (RFC 8032, 5.1.5). It never prints itself."""

    __slots__ = ("_secret", "public")
    algorithm: ClassVar[Algorithm] = Algorithm.ED25519

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise BadKey(f"a seed has {SEED_BYTES} bytes, not {len(seed)}")
        public, self._secret = sodium.crypto_sign_seed_keypair(seed)
        self.public = PublicKey(public)

    def sign(self, message: bytes) -> Signature:
        """Return the 64-byte signature of `message`; the same message gives the same bytes."""
        return Signature(sodium.crypto_sign(message, self._secret)[:SIGNATURE_BYTES])


class P256SigningKey:
    """A P-256 key pair made from its secret scalar, 32 bytes big-endian. It never prints itself."""

    __slots__ = ("_secret", "public")
    algorithm: ClassVar[Algorithm] = Algorithm.P256

    def __init__(self, secret: bytes) -> None:
        if len(secret) != SEED_BYTES:
            raise BadKey(f"a secret has {SEED_BYTES} bytes, not {len(secret)}")
        scalar = int.from_bytes(secret)
        if not 0 < scalar < P256_ORDER:
            raise BadKey(
                "a secret of P-256 is neither zero nor at or above the order: draw another"
            )
        self._secret = ec.derive_private_key(scalar, _CURVE)
        point = self._secret.public_key().public_numbers()
        self.public = PublicKey(bytes((2 | point.y & 1,)) + point.x.to_bytes(_HALF))

    def sign(self, message: bytes) -> Signature:
        """Return the 64-byte signature of `message`; the same message gives the same bytes."""
        r, s = decode_dss_signature(self._secret.sign(message, _SIGNING))
        return Signature(r.to_bytes(_HALF) + min(s, P256_ORDER - s).to_bytes(_HALF))


def verify(public: bytes, message: bytes, signature: bytes, *, what: str) -> None:
    """Raise `BadSignature` unless `signature` is of `message` under `public`.

    The length of the key tells the algorithm: 32 bytes are Ed25519, 33 are P-256.
    """
    if len(signature) != SIGNATURE_BYTES:
        raise BadSignature(what)
    try:
        if len(public) == PUBLIC_KEY_BYTES:
            _verify_ed25519(public, message, signature)
        else:
            _verify_p256(public, message, signature)
    except (BadSignatureError, InvalidSignature, BadKey):
        raise BadSignature(what) from None


def parse_public_key(algorithm: Algorithm, data: bytes) -> PublicKey:
    """Return `data` as a public key in the one form that may be registered, or raise `BadKey`."""
    if algorithm is Algorithm.ED25519:
        _require_ed25519(data)
    else:
        _p256(data)
    return PublicKey(data)


def algorithm_of(public: bytes) -> Algorithm:
    """Return the algorithm of a key that was parsed: its length tells it."""
    return Algorithm.ED25519 if len(public) == PUBLIC_KEY_BYTES else Algorithm.P256


def key_id(role: Role, algorithm: Algorithm, public: bytes) -> KeyId:
    """Return the 8 bytes by which transactions name a member's key."""
    digest = hash_of(Domain.KEY, bytes((role, algorithm)), public)
    return KeyId(digest[:KEY_ID_BYTES])


def _verify_ed25519(public: bytes, message: bytes, signature: bytes) -> None:
    """Check as libsodium: s < L, R and the key canonical and not of small order, no cofactor."""
    sodium.crypto_sign_open(signature + message, public)


def _require_ed25519(data: bytes) -> None:
    """Raise `BadKey` unless `data` is a point of the prime-order subgroup."""
    if len(data) != PUBLIC_KEY_BYTES:
        raise BadKey(f"an Ed25519 key has {PUBLIC_KEY_BYTES} bytes, not {len(data)}")
    if not sodium.crypto_core_ed25519_is_valid_point(data):
        raise BadKey("not a canonical point of the prime-order subgroup of edwards25519")


def _verify_p256(public: bytes, message: bytes, signature: bytes) -> None:
    """Check r and s, each 32 bytes big-endian: in range, s the lower of two, the equation."""
    point = _p256(public)
    r, s = int.from_bytes(signature[:_HALF]), int.from_bytes(signature[_HALF:])
    if not (0 < r < P256_ORDER and 0 < s <= P256_HIGHEST_S):
        raise InvalidSignature
    point.verify(encode_dss_signature(r, s), message, _VERIFYING)


@lru_cache(maxsize=4096)  # a square root for each; one that is remembered takes some 2 kB
def _p256(data: bytes) -> ec.EllipticCurvePublicKey:
    """Return the point of a compressed P-256 key, or raise `BadKey`; the group has no others."""
    if len(data) != P256_KEY_BYTES or data[0] not in (2, 3):
        raise BadKey(f"a P-256 key has {P256_KEY_BYTES} bytes and begins with 02 or 03")
    try:
        # OpenSSL refuses an x that is not below p, and one that is of no point.
        return ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, data)
    except ValueError:
        raise BadKey("not a canonical point of P-256") from None
