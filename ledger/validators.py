"""Who votes at a height: the ordered set, its quorum and its leaders."""

from functools import cached_property
from typing import Annotated, Final, NewType

import msgspec

from ledger.encoding import Struct, encode
from ledger.errors import Mismatch
from ledger.hashing import Domain, Hash, hash_of

MemberId = NewType("MemberId", bytes)
MEMBER_ID_BYTES: Final = 16
EVERYONE: Final = MemberId(b"*" + bytes(15))  # the reserved member whose chain concerns everyone
MAX_VALIDATORS: Final = 100

Bytes16 = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Bytes32 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class Validator(Struct):
    """One vote: the member that casts it and the keys it is known by."""

    member: Bytes16
    consensus_key: Bytes32  # signs proposals and votes
    checkpoint_key: Bytes32  # signs C2SP checkpoints
    node_key: Bytes32  # the key in the TLS certificate of the node


class ValidatorSet(Struct, dict=True):
    """The validators of one height, in the order of their turns. No two share a member or key."""

    members: Annotated[tuple[Validator, ...], msgspec.Meta(min_length=1, max_length=MAX_VALIDATORS)]

    def __post_init__(self) -> None:
        for field in ("member", "consensus_key", "checkpoint_key", "node_key"):
            values = [getattr(validator, field) for validator in self.members]
            if len(set(values)) != len(values):
                raise ValueError(f"two validators share a {field}")

    def __len__(self) -> int:
        """Return n."""
        return len(self.members)

    @cached_property
    def quorum(self) -> int:
        """The number of distinct signers that decides."""
        return quorum(len(self.members))

    @cached_property
    def hash(self) -> Hash:
        """The hash that headers carry."""
        return hash_of(Domain.VALIDATORS, encode(self))

    def index_of(self, consensus_key: bytes) -> int | None:
        """Return the index of the validator with this consensus key, or None."""
        return self._indices.get(consensus_key)

    @cached_property
    def _indices(self) -> dict[bytes, int]:
        return {validator.consensus_key: index for index, validator in enumerate(self.members)}

    def verify_hash(self, expected: bytes) -> None:
        """Raise `Mismatch` unless this is the set that `expected` names."""
        if self.hash != expected:
            raise Mismatch("validators", expected, self.hash)


def faulty(n: int) -> int:
    """Return f, the most validators of n that may be faulty."""
    return (n - 1) // 3


def quorum(n: int) -> int:
    """Return q = ⌈2n/3⌉, so that two quorums share at least f + 1 validators.

    Never 2f + 1, which forks where n ≠ 3f + 1 (arXiv 1901.07160).
    """
    return (n + faulty(n)) // 2 + 1
