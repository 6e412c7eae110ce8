"""A commit certificate: a quorum of validators committed this block.

Nothing is derived from a certificate but "a quorum signed this id at this height": two correct
nodes may hold different certificates for one block (other rounds, other signers).
"""

from functools import cached_property
from typing import Annotated

import msgspec

from ledger.encoding import U32_MAX, U63_MAX, Struct, encode
from ledger.errors import BadSignature, Mismatch, NoQuorum
from ledger.hashing import Domain, Hash, hash_of
from ledger.keys import verify
from ledger.validators import MAX_VALIDATORS, Bytes32, ValidatorSet

KIND_PREPARE = b"prepare"
KIND_COMMIT = b"commit"


class Seal(Struct):
    """One validator's signature, by its index in the set of the height."""

    validator: Annotated[int, msgspec.Meta(ge=0, lt=MAX_VALIDATORS)]
    signature: Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


Seals = Annotated[tuple[Seal, ...], msgspec.Meta(max_length=MAX_VALIDATORS)]


class CommitCertificate(Struct, dict=True):
    """Commit signatures of a quorum over (chain, height, round, block id)."""

    height: Annotated[int, msgspec.Meta(ge=1, le=U63_MAX)]
    round: Annotated[int, msgspec.Meta(ge=0, le=U32_MAX)]
    block_id: Bytes32
    seals: Seals

    @cached_property
    def hash(self) -> Hash:
        """The hash that the next header carries."""
        return hash_of(Domain.CERTIFICATE, encode(self))

    def verify(self, chain_id: bytes, validators: ValidatorSet) -> None:
        """Raise unless a quorum of `validators` signed; `validators` must be those of the height.

        `NoQuorum`, `BadSignature` or `Mismatch` (order of the indices).
        """
        message = vote_signing_bytes(KIND_COMMIT, chain_id, self.height, self.round, self.block_id)
        verify_seals(self.seals, message, validators)


def verify_seals(seals: tuple[Seal, ...], message: bytes, validators: ValidatorSet) -> None:
    """Raise unless a quorum of distinct `validators` signed `message`.

    Indices must strictly increase: so a signer counts once, whatever the number of signatures.
    """
    verify_signers(seals, validators)
    for seal in seals:
        key = validators.members[seal.validator].consensus_key
        verify(key, message, seal.signature, what=f"validator {seal.validator}")


def verify_signers(seals: tuple[Seal, ...], validators: ValidatorSet) -> None:
    """Raise unless the seals name a quorum of distinct `validators`; no signature is verified."""
    last = -1
    for seal in seals:
        if seal.validator <= last:
            raise Mismatch("seal order", f"above {last}", seal.validator)
        if seal.validator >= len(validators):
            raise BadSignature(f"validator {seal.validator} of {len(validators)}")
        last = seal.validator
    if len(seals) < validators.quorum:
        raise NoQuorum(len(seals), validators.quorum)


def vote_signing_bytes(
    kind: bytes, chain_id: bytes, height: int, round_: int, block_id: bytes
) -> bytes:
    """Return what a validator signs to prepare or commit: a fixed layout, kind first."""
    return (
        b"depoli/consensus/1/" + kind + b"\x00" + chain_id
        + height.to_bytes(8) + round_.to_bytes(4) + block_id
    )  # fmt: skip
