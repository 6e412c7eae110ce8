"""Control by sampling of what an optician attests of itself: which are drawn, and what comes of it.

An answer's commitment stands on the chain before the block that draws it is made, and commits to
the attestation; so nobody chooses after the draw what was drawn. Who made the block had many blocks
to choose from: against a validator that an optician bought it is no defence (docs/attacks.md).
"""

from typing import Final

from contracts.early import PER_THOUSAND, Signed, sign
from contracts.errors import BadDocument
from ledger.encoding import Struct, decode, encode
from ledger.errors import Malformed
from ledger.hashing import Domain, hash_of
from ledger.keys import Role, Signer
from ledger.validators import Bytes16, Bytes32

DELAY: Final = 2  # blocks after the answer's: the next one may be on its way already
_DRAWN_BYTES: Final = 8


def drawn_at(height: int) -> int:
    """Return by which block an answer is drawn that stands in the block of this height."""
    return height + DELAY


def is_drawn(header: bytes, answer: bytes, control: int) -> bool:
    """Return whether `control` in a thousand draw this one.

    `header` is the hash of the drawing block's header, `answer` the answer's commitment.
    """
    number = int.from_bytes(hash_of(Domain.DRAW, header, answer)[:_DRAWN_BYTES])
    return number * PER_THOUSAND < control << 8 * _DRAWN_BYTES


class Finding(Struct):
    """What who looked into it says: that it is so, or is not. Nothing else of the prescriptions."""

    chain_id: Bytes32
    optician: Bytes16
    recipient: Bytes16
    authorisation: Bytes32
    attestation: Bytes32  # its id
    conform: bool

    def message(self) -> bytes:
        """Return what is signed."""
        return Domain.VERDICT + encode(self)


class Verdict(Struct):
    """A finding, signed by a health professional."""

    finding: Finding
    signed: Signed


def judge(finding: Finding, member: bytes, key: Signer, role: Role) -> Verdict:
    """Return the signed verdict."""
    return Verdict(finding, sign(finding.message(), member, key, role))


def parse_verdict(data: bytes) -> Verdict:
    """Return the verdict that `data` encodes, or raise `BadDocument`."""
    try:
        return decode(data, Verdict)
    except Malformed as error:
        raise BadDocument(str(error)) from None
