"""Two blocks of one chain that a quorum committed each, and that are not of one log: proof of it.

Whoever holds the genesis sees that at least quorum + quorum - n of the validators signed both.
"""

from typing import Annotated, Final

import msgspec

from ledger.decided import Decided
from ledger.encoding import Struct
from ledger.errors import BadProof, Mismatch
from ledger.merkle import verify_consistency
from ledger.plain import document, parse_document
from ledger.receipt import MAX_JSON_LENGTH
from ledger.validators import Bytes32, ValidatorSet

FORMAT: Final = "depoli/split-view/1"


class SplitView(Struct):
    """What was seen first, what was shown after that, and what the log of that began with."""

    first: Decided
    second: Decided  # of the same height or a later one
    root: Bytes32  # of the log of `second` when it was as long as that of `first`
    proof: Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=64)]  # RFC 6962, 2.1.2

    def verify(self, chain_id: bytes, validators: ValidatorSet) -> None:
        """Raise `LedgerError` unless both were committed and one contradicts the other.

        `validators` are those of height 1. Root and proof do not matter where the two are of one
        height, or the later log is the shorter one.
        """
        for each in (self.first, self.second):
            each.verify(chain_id, validators)
        first, second = self.first.header, self.second.header
        if second.height < first.height:
            raise Mismatch("height of the second", f"at least {first.height}", second.height)
        if second.height == first.height:
            if second.hash == first.hash:
                raise BadProof("the two are one block")
            return
        if second.log_size < first.log_size:
            return
        verify_consistency(self.root, first.log_size, second.log_root, second.log_size, self.proof)
        if self.root == first.log_root:
            raise BadProof("the second log continues the first")


def to_json(found: SplitView) -> str:
    """Return it as a JSON object, for a file that people keep."""
    return document(FORMAT, found)


def parse_json(text: str) -> SplitView:
    """Return what is in this JSON, or raise `Malformed`. It is not verified yet."""
    length = 2 * MAX_JSON_LENGTH
    return parse_document(text, FORMAT, SplitView, kind="split view", max_length=length)
