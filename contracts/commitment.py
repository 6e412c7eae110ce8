"""Commitments: Pedersen's to amounts, one-use marks and their locks, the hash of a document.

Amounts are cents of a euro. C = amount·G + blinding·H in the prime-order subgroup of edwards25519
(T. P. Pedersen, CRYPTO '91); G is the base point of RFC 8032, H a point whose discrete logarithm
nobody knows, because it is the hash of a public sentence. The blinding hides the amount whatever
an adversary can compute. The multiplications are libsodium's, by PyNaCl.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Annotated, Final, NewType

import msgspec
import nacl.bindings as sodium
from nacl.exceptions import CryptoError

from contracts.calls import Leg, Part
from contracts.errors import BadOpening, BadScalar, NotAPoint
from ledger.encoding import U32_MAX, Struct
from ledger.hashing import Domain, Hash, hash_of

Point = NewType("Point", bytes)

POINT_BYTES: Final = 32
SCALAR_BYTES: Final = 32
ORDER: Final = (1 << 252) + 27742317777372353535851937790883648493  # L of RFC 8032, 5.1
AMOUNT_MAX: Final = U32_MAX  # cents of one claim: above 42 million euros
TOTAL_MAX: Final = (1 << 46) - 1  # of 10,000 claims, and exact in every program's JSON
IDENTITY: Final = Point(b"\x01" + bytes(31))
H_TAG: Final = b"depoli/pedersen/second-generator/1"
# crypto_core_ed25519_from_uniform(SHA-256(H_TAG)), which a test derives again.
H: Final = Point(bytes.fromhex("ebd56e071b12031ec079c8abc5a301746138baf7a412e1860b6864c2453889da"))
SECRET_BYTES: Final = 32
SALT_BYTES: Final = 32


class Opening(Struct):
    """What opens a commitment: secret, but for whom the amount concerns."""

    amount: Annotated[int, msgspec.Meta(ge=0, le=TOTAL_MAX)]  # cents
    blinding: Annotated[
        bytes, msgspec.Meta(min_length=SCALAR_BYTES, max_length=SCALAR_BYTES)
    ]  # little-endian, below ORDER

    def commitment(self) -> Point:
        """Return the commitment that this opens."""
        return commit(self.amount, self.blinding)


def commit(amount: int, blinding: bytes) -> Point:
    """Return amount·G + blinding·H; raise `BadScalar` where one is out of range."""
    if not 0 <= amount <= TOTAL_MAX:
        raise BadScalar("the amount")
    if len(blinding) != SCALAR_BYTES or int.from_bytes(blinding, "little") >= ORDER:
        raise BadScalar("the blinding")
    hidden = (
        Point(sodium.crypto_scalarmult_ed25519_noclamp(blinding, H)) if any(blinding) else IDENTITY
    )
    if amount == 0:  # the library refuses a zero scalar
        return hidden
    shown = sodium.crypto_scalarmult_ed25519_base_noclamp(amount.to_bytes(SCALAR_BYTES, "little"))
    return _add(shown, hidden)


def blinding_from(uniform: bytes) -> bytes:
    """Return the blinding in 64 uniformly random bytes; raise `BadScalar` if they are not 64."""
    if len(uniform) != sodium.crypto_core_ed25519_NONREDUCEDSCALARBYTES:
        raise BadScalar("the randomness of a blinding")
    return sodium.crypto_core_ed25519_scalar_reduce(uniform)


def parse_point(data: bytes) -> Point:
    """Return `data` as the one encoding of a point of edwards25519, or raise `NotAPoint`.

    It may have a component of small order: who accepts it has seen it opened, which shows that it
    has none. Adding the identity decodes and encodes it, at a quarter of the cost of a full check.
    """
    if len(data) != POINT_BYTES:
        raise NotAPoint(data)
    try:
        again = sodium.crypto_core_ed25519_add(data, IDENTITY)
    except CryptoError:
        raise NotAPoint(data) from None
    if again != data:
        raise NotAPoint(data)
    return Point(data)


def verify_opening(point: bytes, opening: Opening) -> None:
    """Raise `BadOpening` unless `opening` opens `point`, which is then of the prime-order group."""
    try:
        found = opening.commitment()
    except BadScalar:
        raise BadOpening from None
    if not sodium.sodium_memcmp(found, point):
        raise BadOpening


def sum_points(points: Iterable[bytes]) -> Point:
    """Return the sum, which commits to the sum of the amounts; raise `NotAPoint`."""
    total = IDENTITY
    for point in points:
        total = _add(total, point)
    return total


def difference(total: bytes, points: Iterable[bytes]) -> Point:
    """Return `total` less the sum of `points`; raise `NotAPoint`."""
    try:
        return Point(sodium.crypto_core_ed25519_sub(total, sum_points(points)))
    except CryptoError:
        raise NotAPoint(total) from None


def sum_openings(openings: Sequence[Opening]) -> Opening:
    """Return the opening of the sum of what `openings` open; raise `BadScalar` above TOTAL_MAX."""
    amount = sum(opening.amount for opening in openings)
    if amount > TOTAL_MAX:
        raise BadScalar("the sum of the amounts")
    blinding = sum(int.from_bytes(opening.blinding, "little") for opening in openings) % ORDER
    return Opening(amount, blinding.to_bytes(SCALAR_BYTES, "little"))


def mark_of(secret: bytes, leg: Leg, part: Part, ordinal: int) -> Hash:
    """Return the mark of one item: of a prescription's secret, whose leg, what, and which time.

    `ordinal` is 0 for the first reimbursement under the prescription.
    """
    if len(secret) != SECRET_BYTES:
        raise BadScalar("the secret of a prescription")
    if not 0 <= ordinal <= U32_MAX:
        raise BadScalar("the ordinal of a mark")
    return hash_of(Domain.MARK, secret, bytes((leg, part)), ordinal.to_bytes(4))


def lock_of(chain_id: bytes, member: bytes, mark: bytes) -> Hash:
    """Return the lock by which `member` announces that it will use `mark`."""
    return hash_of(Domain.LOCK, chain_id, member, mark)


def document_commitment(jwt: bytes) -> Hash:
    """Return what stands on the chain for a document: SHA-256 of the signed JWT's text.

    Without disclosures and without a tilde: anybody who holds it recomputes it with sha256sum.
    """
    return Hash(sha256(jwt).digest())


def payment_commitment(salt: bytes, reference: bytes) -> Hash:
    """Return what stands on the chain for the reference of a payment; the salt hides it."""
    if len(salt) != SALT_BYTES:
        raise BadScalar("the salt of a payment")
    return hash_of(Domain.PAYMENT, salt, reference)


def erasure_commitment(salt: bytes, disclosed: bytes) -> Hash:
    """Return what stands on the chain for what is to be erased, by its id; the salt hides it."""
    if len(salt) != SALT_BYTES:
        raise BadScalar("the salt of an erasure")
    return hash_of(Domain.ERASURE, salt, disclosed)


def _add(left: bytes, right: bytes) -> Point:
    try:
        return Point(sodium.crypto_core_ed25519_add(left, right))
    except CryptoError:
        raise NotAPoint(right) from None
