"""A consistency proof: the log of one committed block begins the log of a later one.

Whoever kept an old header, receipt or checkpoint sees by it that nothing was taken out of the log,
changed or put in between since. It holds no entry, so whoever may read none may have it.
"""

from itertools import takewhile
from typing import Annotated, Final

import msgspec

from ledger.block import Header
from ledger.certificate import CommitCertificate
from ledger.encoding import Struct
from ledger.errors import Mismatch
from ledger.merkle import verify_consistency
from ledger.plain import document, parse_document
from ledger.receipt import MAX_CHANGES, MAX_JSON_LENGTH, Change, Voters
from ledger.validators import Bytes32

FORMAT: Final = "depoli/consistency/1"


class Certified(Struct):
    """A header, and the signatures of the quorum that committed it."""

    header: Header
    certificate: CommitCertificate


class Consistency(Struct):
    """Two committed headers, and that the log of the first begins that of the second."""

    first: Certified
    second: Certified
    proof: Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=64)]  # RFC 6962, 2.1.2
    changes: Annotated[tuple[Change, ...], msgspec.Meta(max_length=MAX_CHANGES)]  # of validators

    def verify(self, chain_id: bytes, voters: Voters) -> Voters:
        """Return who voted on the second; raise `LedgerError` naming the first false fact.

        `voters` are those whom the reader trusts already, of genesis or above a verified header
        below the first; `changes` are all from there on.
        """
        first, second = self.first.header, self.second.header
        if second.height <= first.height:
            raise Mismatch("height of the second", f"above {first.height}", second.height)
        early = tuple(takewhile(lambda each: each.header.height < first.height, self.changes))
        voters = voters.follow(chain_id, early)
        voters.require_signed(first, self.first.certificate, chain_id)
        voters = voters.follow(chain_id, self.changes[len(early) :])
        voters.require_signed(second, self.second.certificate, chain_id)
        verify_consistency(
            first.log_root, first.log_size, second.log_root, second.log_size, self.proof
        )
        return voters


def to_json(found: Consistency) -> str:
    """Return it as a JSON object, for a file that people keep."""
    return document(FORMAT, found)


def parse_json(text: str) -> Consistency:
    """Return the proof in this JSON, or raise `Malformed`. It is not verified yet."""
    length = MAX_JSON_LENGTH
    return parse_document(text, FORMAT, Consistency, kind="consistency proof", max_length=length)
