"""A mailbox: where a member has its post brought to, signed by that member.

Whoever says that it takes a member's post shows this, or nobody believes it. The newest counts.
"""

from typing import Annotated, Final

import msgspec

from ledger.encoding import U63_MAX, Struct, decode, encode
from ledger.errors import Malformed, Mismatch
from ledger.hashing import Domain, Hash, hash_of
from ledger.keys import KEY_ID_BYTES, SIGNATURE_BYTES, Signer, verify
from ledger.validators import Bytes16, Bytes32

VERSION: Final = 1
MAX_MAILBOX_BYTES: Final = 256


class Unsigned(Struct):
    """What the member signs."""

    version: Annotated[int, msgspec.Meta(ge=VERSION, le=VERSION)]
    chain_id: Bytes32
    member: Bytes16
    key_id: Annotated[bytes, msgspec.Meta(min_length=KEY_ID_BYTES, max_length=KEY_ID_BYTES)]
    node_key: Bytes32  # of the node that the post is brought to
    issued: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]  # unix seconds; a later one replaces it


class _Wire(Struct):
    unsigned: bytes
    signature: Annotated[
        bytes, msgspec.Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)
    ]


class Mailbox:
    """A parsed mailbox with the bytes that it came in."""

    __slots__ = ("body", "hash", "raw", "signature")

    def __init__(self, raw: bytes, unsigned_bytes: bytes, body: Unsigned, signature: bytes) -> None:
        self.raw, self.body, self.signature = raw, body, signature
        self.hash: Hash = hash_of(Domain.MAILBOX, unsigned_bytes)

    def verify(self, chain_id: bytes, public: bytes) -> None:
        """Raise `LedgerError` unless it is of this chain and signed with this key.

        Whether the member holds the key named by key_id, and when, the chain's registry tells.
        """
        if self.body.chain_id != chain_id:
            raise Mismatch("chain id of the mailbox", chain_id, self.body.chain_id)
        verify(public, signing_bytes(self.hash), self.signature, what="mailbox")


def signing_bytes(mailbox_hash: bytes) -> bytes:
    """Return what is signed for the mailbox with this hash."""
    return b"depoli/sign/mailbox/1\x00" + mailbox_hash


def sign(body: Unsigned, key: Signer) -> Mailbox:
    """Return `body` signed with `key`."""
    unsigned_bytes = encode(body)
    signature = key.sign(signing_bytes(hash_of(Domain.MAILBOX, unsigned_bytes)))
    return Mailbox(encode(_Wire(unsigned_bytes, signature)), unsigned_bytes, body, signature)


def parse(raw: bytes) -> Mailbox:
    """Return the mailbox in `raw`, its signature not yet verified, or raise `Malformed`."""
    if len(raw) > MAX_MAILBOX_BYTES:
        raise Malformed("mailbox", f"{len(raw)} bytes, at most {MAX_MAILBOX_BYTES}")
    wire = decode(raw, _Wire, kind="mailbox")
    body = decode(wire.unsigned, Unsigned, kind="mailbox")
    return Mailbox(raw, wire.unsigned, body, wire.signature)
