"""An entry: one call and its outcome, a leaf of the log."""

from typing import Annotated

import msgspec

from ledger import merkle
from ledger.encoding import U32_MAX, U63_MAX, Struct, encode
from ledger.hashing import Hash
from ledger.transaction import Call
from ledger.validators import Bytes16, Bytes32

APPLIED = 0


class Outcome(Struct):
    """What became of a call: code 0 applied, else the code of the refusal with its evidence."""

    code: Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
    evidence: Annotated[
        tuple[Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)], ...], msgspec.Meta(max_length=4)
    ] = ()


class Entry(Struct):
    """One call, when and by whom it was made, and its outcome."""

    height: Annotated[int, msgspec.Meta(ge=1, le=U63_MAX)]
    index: Annotated[int, msgspec.Meta(ge=0, le=U32_MAX)]  # within the block
    time: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]  # of the block, unix seconds
    sender: Bytes16
    transaction: Bytes32
    position: Annotated[int, msgspec.Meta(ge=0, le=255)]  # within the transaction
    call: Call
    outcome: Outcome

    def leaf(self) -> Hash:
        """Return the leaf hash of this entry in the log (RFC 6962, 2.1)."""
        return merkle.leaf_hash(encode(self))
