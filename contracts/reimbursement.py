"""The proof of the day of the last reimbursement, as it travels with the answer of that day.

It is a statement of the payer that paid, or the document of the earlier claim itself, of which
nothing but the invoice date is disclosed. Both are shown to one payer for one question.
"""

from enum import IntEnum
from typing import Annotated, Final

import msgspec

from contracts.errors import BadDocument
from contracts.key_binding import Binding, Presentation, parse_presentation
from ledger.encoding import Struct, decode
from ledger.errors import Malformed
from ledger.hashing import Domain, Hash, hash_of

MAX_PROOF_BYTES: Final = 16 << 10  # of either proof; a statement of a payer has some thousand


class Source(IntEnum):
    """Whose word it is; the numbers never change."""

    PAYER = 1  # of the earlier claim; `of` is its member id
    CLAIM = 2  # the shop's own earlier claim; `of` is that one's id


_SIZES: Final = {Source.PAYER: 16, Source.CLAIM: 32}


class LastReimbursement(Struct):
    """A day and who says it."""

    source: Source
    of: Annotated[bytes, msgspec.Meta(min_length=16, max_length=32)]
    presentation: Annotated[bytes, msgspec.Meta(max_length=MAX_PROOF_BYTES)]  # ASCII

    def parsed(self) -> Presentation:
        """Return what is shown; raise `BadDocument`."""
        try:
            return parse_presentation(self.presentation.decode("ascii"))
        except UnicodeDecodeError:
            raise BadDocument("it is not ASCII") from None


def parse_last_reimbursement(data: bytes) -> LastReimbursement:
    """Return the proof that `data` encodes, or raise `BadDocument`."""
    try:
        found = decode(data, LastReimbursement)
    except Malformed as error:
        raise BadDocument(str(error)) from None
    if len(found.of) != _SIZES[found.source]:
        raise BadDocument("it does not say whose word it is")
    return found


def binding_to(
    chain_id: bytes,
    recipient: bytes,
    authorisation: bytes,
    question: bytes,
    *,
    issued: int,
    expires: int,
) -> Binding:
    """Return how a proof is bound to who asked, on which chain, of what, and which question."""
    audience = f"{chain_id.hex()}.{recipient.hex()}"
    nonce = f"{authorisation.hex()}.{question.hex()}"
    return Binding(audience, nonce, issued, expires)


def salt_of(proof: bytes) -> Hash:
    """Return the salt of the answer that a proof is for: its commitment stands for the proof too.

    Every proof holds a signature over what was drawn at random, so that nobody guesses it.
    """
    return hash_of(Domain.PROOF, proof)
