"""A block: the header that validators vote on, and the body that its roots bind."""

from functools import cached_property
from typing import Annotated, Final

import msgspec

from ledger import merkle
from ledger.certificate import CommitCertificate
from ledger.encoding import U16_MAX, U32_MAX, U63_MAX, Struct, decode, encode
from ledger.entry import Outcome
from ledger.errors import Mismatch
from ledger.hashing import NO_HASH, Domain, Hash, hash_of
from ledger.validators import Bytes16, Bytes32

FIRST_VERSION: Final = 1  # of the rules, from genesis on
MAX_BLOCK_BYTES: Final = 4 << 20  # of transactions; relates to node.p2p's frames by being chunked
MAX_BLOCK_TRANSACTIONS: Final = 4096
MAX_EVIDENCE: Final = 16
MAX_EVIDENCE_BYTES: Final = 64 << 10

_BARE: Final = b"\x92"  # MessagePack: an array of two; that of a whole block has three

Version = Annotated[int, msgspec.Meta(ge=FIRST_VERSION, le=U16_MAX)]
Height = Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]
Round = Annotated[int, msgspec.Meta(ge=0, le=U32_MAX)]


class Header(Struct, dict=True):
    """What a quorum signs; its hash is the block's id and never changes."""

    version: Version  # of the rules in force at its height
    chain_id: Bytes32
    height: Height
    time: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]  # unix seconds, never before the parent's
    parent: Bytes32  # hash of the header below
    transactions_root: Bytes32  # RFC 6962 root over the transactions with their signatures
    log_size: Annotated[
        int, msgspec.Meta(ge=0, le=U63_MAX)
    ]  # entries since genesis, this block's included
    log_root: Bytes32
    heads_root: Bytes32
    state_digest: Bytes32
    validators_hash: Bytes32  # who signs this block
    next_validators_hash: Bytes32  # who signs the next one
    proposer: Bytes16  # member that first built it
    built_round: Round  # round in which it was first built
    parent_commit_hash: Bytes32  # of the canonical certificate of the parent, in this body
    evidence_root: Bytes32

    @cached_property
    def hash(self) -> Hash:
        """The block id."""
        return hash_of(Domain.HEADER, encode(self))


Evidence = Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_EVIDENCE_BYTES)]


class Body(Struct):
    """What a header's roots bind."""

    parent_commit: CommitCertificate | None  # None only at height 1
    evidence: Annotated[tuple[Evidence, ...], msgspec.Meta(max_length=MAX_EVIDENCE)]
    transactions: Annotated[
        tuple[bytes, ...], msgspec.Meta(max_length=MAX_BLOCK_TRANSACTIONS)
    ]  # with their signatures

    def is_empty(self) -> bool:
        """Return whether there is nothing in it that needed a block."""
        return not self.transactions and not self.evidence


class Block(Struct):
    """A header and its body."""

    header: Header
    body: Body

    def outline(self) -> "Outline":
        """Return what a proposal says of this block."""
        leaves = tuple(merkle.leaf_hash(raw) for raw in self.body.transactions)
        return Outline(self.header, self.body.parent_commit, self.body.evidence, leaves)


class Outline(Struct):
    """A block with the leaf hashes of its transactions in their place, as proposals carry it."""

    header: Header
    parent_commit: CommitCertificate | None
    evidence: Annotated[tuple[Evidence, ...], msgspec.Meta(max_length=MAX_EVIDENCE)]
    leaves: Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=MAX_BLOCK_TRANSACTIONS)]

    def is_empty(self) -> bool:
        """Return whether there is nothing in it that needed a block."""
        return not self.leaves and not self.evidence

    def verify(self) -> None:
        """Raise `Mismatch` unless these are the parts that the header binds."""
        for field, found in (
            ("transactions_root", merkle.root_of_leaves([Hash(leaf) for leaf in self.leaves])),
            ("parent_commit_hash", parent_commit_hash(self.parent_commit)),
            ("evidence_root", evidence_root(self.evidence)),
        ):
            expected = getattr(self.header, field)
            if expected != found:
                raise Mismatch(field, expected, found)


class Accusation(Struct):
    """What evidence proves: who broke the rules of agreement, when, and by which deed."""

    member: Bytes16  # the validator's
    height: Height  # of the deed
    offence: Bytes32  # names the deed, so that it is recorded once


class CommittedBlock(Struct):
    """What is kept of a decided block: a record of the segment files and of exports."""

    block: Block
    certificate: CommitCertificate
    outcomes: tuple[Outcome, ...]  # one per call, in the order of the entries


class BareBlock(Struct):
    """What is kept of a decided block whose body was pruned: the other record of those files."""

    header: Header
    certificate: CommitCertificate


def is_bare(record: bytes) -> bool:
    """Return whether a record of a segment file is a `BareBlock`; else it is a whole block."""
    return record[:1] == _BARE


def bare(record: bytes) -> BareBlock:
    """Return what a record of a segment file says without the body. Raises `Malformed`."""
    if is_bare(record):
        return decode(record, BareBlock)
    committed = decode(record, CommittedBlock)
    return BareBlock(committed.block.header, committed.certificate)


def evidence_root(evidence: tuple[bytes, ...]) -> Hash:
    """Return the RFC 6962 root over encoded evidence."""
    return merkle.root_of_leaves([merkle.leaf_hash(item) for item in evidence])


def parent_commit_hash(certificate: CommitCertificate | None) -> Hash:
    """Return the hash of the parent's certificate; zeros at height 1, which has none."""
    return NO_HASH if certificate is None else certificate.hash
