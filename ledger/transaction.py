"""A transaction: a list of calls under one signature, and nothing that its contracts mean.

Calls are opaque here; `contracts.calls` parses them. On the wire a transaction is the pair
[unsigned bytes, signature], so that what was signed is never encoded a second time.
"""

from functools import cached_property
from typing import Annotated, Final

import msgspec

from ledger import merkle
from ledger.encoding import U63_MAX, Struct, decode, encode
from ledger.errors import Malformed
from ledger.hashing import Domain, Hash, hash_of
from ledger.keys import Signer
from ledger.validators import Bytes16, Bytes32

VERSION: Final = 1
MAX_CALLS: Final = 256
MAX_CALL_BYTES: Final = 16 << 10  # a settlement of 256 claims, with room
MAX_TRANSACTION_BYTES: Final = 64 << 10  # a lot of 256 claims, and one frame
MAX_LIFETIME_S: Final = 24 * 3600  # how long an id must be remembered against replay

Call = Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_CALL_BYTES)]


class Unsigned(Struct):
    """What a member signs."""

    version: Annotated[int, msgspec.Meta(ge=VERSION, le=VERSION)]
    chain_id: Bytes32
    sender: Bytes16
    key_id: Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]
    valid_until: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]  # block time, unix seconds
    nonce: Bytes16
    calls: Annotated[tuple[Call, ...], msgspec.Meta(min_length=1, max_length=MAX_CALLS)]


class _Wire(Struct):
    unsigned: bytes
    signature: Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


class Transaction:
    """A parsed transaction with the bytes that it came in."""

    def __init__(self, raw: bytes, unsigned_bytes: bytes, body: Unsigned, signature: bytes) -> None:
        self.raw = raw
        self.unsigned_bytes = unsigned_bytes
        self.body = body
        self.signature = signature
        self.id: Hash = hash_of(Domain.TRANSACTION, unsigned_bytes)
        self.parsed_calls: object | None = None  # kept by who parses them, so that it is done once

    @cached_property
    def leaf(self) -> Hash:
        """Its leaf in the transactions root, over the bytes with the signature (RFC 6962)."""
        return merkle.leaf_hash(self.raw)

    @property
    def signed_message(self) -> bytes:
        """The bytes that the signature covers."""
        return signing_bytes(self.id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transaction) and self.raw == other.raw

    def __hash__(self) -> int:
        return int.from_bytes(self.id[:8])


def signing_bytes(transaction_id: bytes) -> bytes:
    """Return what is signed for the transaction with this id."""
    return b"depoli/sign/transaction/1\x00" + transaction_id


def sign(body: Unsigned, key: Signer) -> Transaction:
    """Return `body` signed with `key`."""
    unsigned_bytes = encode(body)
    signature = key.sign(signing_bytes(hash_of(Domain.TRANSACTION, unsigned_bytes)))
    raw = encode(_Wire(unsigned_bytes, signature))
    return Transaction(raw, unsigned_bytes, body, signature)


def parse(raw: bytes) -> Transaction:
    """Return the transaction in `raw`, its signature not yet verified, or raise `Malformed`."""
    if len(raw) > MAX_TRANSACTION_BYTES:
        raise Malformed("transaction", f"{len(raw)} bytes, at most {MAX_TRANSACTION_BYTES}")
    wire = decode(raw, _Wire, kind="transaction")
    body = decode(wire.unsigned, Unsigned, kind="transaction")
    return Transaction(raw, wire.unsigned, body, wire.signature)


def id_of(raw: bytes) -> Hash:
    """Return the id of the transaction in `raw`, which is one; else it may raise `Malformed`."""
    return hash_of(Domain.TRANSACTION, decode(raw, _Wire, kind="transaction").unsigned)


def created_id(transaction_id: bytes, position: int) -> Hash:
    """Return the id of what the call at `position` creates: a claim, a settlement."""
    return hash_of(Domain.CALL, transaction_id, position.to_bytes(4))
