"""An envelope: what one member writes to another, sealed, and signed by who writes it.

Nodes hand it from one to the other and read nothing but the outside. Only the recipient opens the
content, and only the recipient's own signed answer says that it came: nodes promise nothing.
"""

from typing import Annotated, Final

import msgspec

from ledger.encoding import U63_MAX, Struct, decode, encode
from ledger.errors import Malformed, Mismatch
from ledger.hashing import Domain, Hash, hash_of
from ledger.keys import KEY_ID_BYTES, SIGNATURE_BYTES, Signer, verify
from ledger.validators import Bytes16, Bytes32

VERSION: Final = 1
MAX_CONTENT_BYTES: Final = 64 << 10  # ten disclosures; whoever has more writes twice
MAX_ENVELOPE_BYTES: Final = MAX_CONTENT_BYTES + 256  # what stands around the content has room
MAX_LIFETIME_S: Final = 90 * 86_400  # as long as decisions on a claim take


class Unsigned(Struct):
    """What the sender signs."""

    version: Annotated[int, msgspec.Meta(ge=VERSION, le=VERSION)]
    chain_id: Bytes32
    sender: Bytes16
    key_id: Annotated[bytes, msgspec.Meta(min_length=KEY_ID_BYTES, max_length=KEY_ID_BYTES)]
    recipient: Bytes16
    nonce: Bytes16  # random: the same content twice is two envelopes
    expires: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]  # unix seconds; kept by nobody after
    content: Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_CONTENT_BYTES)]  # sealed


class _Wire(Struct):
    unsigned: bytes
    signature: Annotated[
        bytes, msgspec.Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)
    ]


class Envelope:
    """A parsed envelope with the bytes that it came in; its id says every byte that was signed."""

    __slots__ = ("body", "id", "raw", "signature")

    def __init__(self, raw: bytes, unsigned_bytes: bytes, body: Unsigned, signature: bytes) -> None:
        self.raw, self.body, self.signature = raw, body, signature
        self.id: Hash = hash_of(Domain.ENVELOPE, unsigned_bytes)

    def verify(self, chain_id: bytes, public: bytes) -> None:
        """Raise `LedgerError` unless it is of this chain and signed with this key.

        Whether the sender holds the key named by key_id, and when, the chain's registry tells.
        """
        if self.body.chain_id != chain_id:
            raise Mismatch("chain id of the envelope", chain_id, self.body.chain_id)
        verify(public, signing_bytes(self.id), self.signature, what="envelope")


def signing_bytes(envelope_id: bytes) -> bytes:
    """Return what is signed for the envelope with this id."""
    return b"depoli/sign/envelope/1\x00" + envelope_id


def sign(body: Unsigned, key: Signer) -> Envelope:
    """Return `body` signed with `key`."""
    unsigned_bytes = encode(body)
    signature = key.sign(signing_bytes(hash_of(Domain.ENVELOPE, unsigned_bytes)))
    return Envelope(encode(_Wire(unsigned_bytes, signature)), unsigned_bytes, body, signature)


def parse(raw: bytes) -> Envelope:
    """Return the envelope in `raw`, its signature not yet verified, or raise `Malformed`."""
    if len(raw) > MAX_ENVELOPE_BYTES:
        raise Malformed("envelope", f"{len(raw)} bytes, at most {MAX_ENVELOPE_BYTES}")
    wire = decode(raw, _Wire, kind="envelope")
    body = decode(wire.unsigned, Unsigned, kind="envelope")
    return Envelope(raw, wire.unsigned, body, wire.signature)
