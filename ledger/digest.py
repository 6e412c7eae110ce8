"""The state digest: a homomorphic hash of a set of key/value pairs (LtHash).

1,024 lanes of 16 bits, added lane by lane modulo 2^16: so the digest of a set does not depend on
the order in which it came about, and changing one key costs the same whatever the size of the set.
Lewi, Kim, Maykov, Weis, "Securing Update Propagation with Homomorphic Hashing", eprint 2019/227;
with SHAKE-128 (FIPS 202) in the place of BLAKE2Xb.
"""

from collections.abc import Iterable
from functools import cached_property
from hashlib import shake_128
from typing import Final

from ledger.errors import Malformed
from ledger.hashing import Domain, Hash, hash_of

LANES: Final = 1024
LANE_BYTES: Final = 2
SUM_BYTES: Final = LANES * LANE_BYTES

# Arithmetic on all lanes at once: the even lanes, then the odd ones, each with 16 bits of room.
_EVEN: Final = int.from_bytes(b"\xff\xff\x00\x00" * (LANES // 2), "little")
_CARRY: Final = int.from_bytes(b"\x00\x00\x01\x00" * (LANES // 2), "little")
_MAX_TERMS: Final = 0xFFFF  # additions that fit in the room of a lane

Pair = tuple[bytes, bytes]


class StateDigest:
    """The sum over the state at one height; an immutable value."""

    __slots__ = ("__dict__", "_even", "_odd")

    def __init__(self, even: int = 0, odd: int = 0) -> None:
        self._even, self._odd = even, odd

    @classmethod
    def parse(cls, data: bytes) -> "StateDigest":
        """Return the sum in these `SUM_BYTES` bytes, lanes little-endian; raise `Malformed`."""
        if len(data) != SUM_BYTES:
            raise Malformed("state sum", f"{len(data)} bytes, not {SUM_BYTES}")
        lanes = int.from_bytes(data, "little")
        return cls(lanes & _EVEN, lanes >> 16 & _EVEN)

    def to_bytes(self) -> bytes:
        """Return the lanes, little-endian."""
        return (self._even | self._odd << 16).to_bytes(SUM_BYTES, "little")

    @cached_property
    def hash(self) -> Hash:
        """The hash that headers carry."""
        return hash_of(Domain.STATE_DIGEST, self.to_bytes())

    def updated(self, removed: Iterable[Pair], added: Iterable[Pair]) -> "StateDigest":
        """Return the sum without the pairs `removed` and with the pairs `added`."""
        plus_even, plus_odd = _sum(added)
        minus_even, minus_odd = _sum(removed)
        return StateDigest(
            self._even + plus_even + _CARRY - minus_even & _EVEN,
            self._odd + plus_odd + _CARRY - minus_odd & _EVEN,
        )


def _sum(pairs: Iterable[Pair]) -> tuple[int, int]:
    even = total = 0
    for count, (key, value) in enumerate(pairs, 1):
        lanes = int.from_bytes(_element(key, value), "little")
        even += lanes & _EVEN
        total += lanes
        if count % _MAX_TERMS == 0:
            even, total = even & _EVEN, (even & _EVEN) + ((total - even >> 16 & _EVEN) << 16)
    return even & _EVEN, total - even >> 16 & _EVEN  # what is not in the even lanes is in the odd


def _element(key: bytes, value: bytes) -> bytes:
    tag = Domain.STATE_ELEMENT + len(key).to_bytes(4) + key
    return shake_128(tag + value).digest(SUM_BYTES)
