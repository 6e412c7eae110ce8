"""What a validator of a cluster says when it lies, and the evidence of it."""

import msgspec

from consensus.evidence import contradiction, encode
from consensus.messages import Commit, Prepare, Statement, signing_bytes
from contracts.genesis import SignedGenesis
from ledger.keys import Role
from tests.chainmaker import key_of, some_bytes
from tests.node.cluster import LABELS


def prepare(genesis: SignedGenesis, label: str, height: int, name: object) -> Prepare:
    """Return a validator's prepare of a block that only has a name."""
    bare = Prepare(height, 0, some_bytes(name), LABELS.index(label), bytes(64))
    return msgspec.structs.replace(bare, signature=signature(genesis, label, bare))


def commit(genesis: SignedGenesis, label: str, height: int, name: object) -> Commit:
    """Return its commit."""
    bare = Commit(height, 0, some_bytes(name), LABELS.index(label), bytes(64))
    return msgspec.structs.replace(bare, signature=signature(genesis, label, bare))


def signature(genesis: SignedGenesis, label: str, statement: Statement) -> bytes:
    """Return a validator's signature of anything."""
    return key_of(label, Role.CONSENSUS).sign(signing_bytes(statement, genesis.chain_id))


def proof(one: Statement, other: Statement) -> bytes:
    """Return the encoded evidence that two statements are."""
    found = contradiction(one, other)
    assert found is not None
    return encode(found)


def double_prepare(genesis: SignedGenesis, label: str, height: int) -> bytes:
    """Return evidence that a validator prepared two blocks in round 0."""
    return proof(*(prepare(genesis, label, height, name) for name in ("one", "two")))


def double_vote(genesis: SignedGenesis, label: str, height: int) -> bytes:
    """Return evidence that a validator committed two blocks in round 0."""
    return proof(*(commit(genesis, label, height, name) for name in ("one", "two")))


def crossed(genesis: SignedGenesis, label: str, height: int) -> bytes:
    """Return evidence that a validator committed another block than it prepared."""
    return proof(prepare(genesis, label, height, "one"), commit(genesis, label, height, "two"))
