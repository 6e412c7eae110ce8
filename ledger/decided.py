"""A block's header, and how to come to trust it: what a witness is shown beside a checkpoint.

It holds no entry, so whoever may read none may have it.
"""

from typing import Annotated, Final

import msgspec

from ledger.block import Header
from ledger.certificate import CommitCertificate
from ledger.encoding import Struct
from ledger.plain import document, parse_document
from ledger.receipt import MAX_CHANGES, MAX_JSON_LENGTH, Change, verify_from_genesis
from ledger.validators import ValidatorSet

FORMAT: Final = "depoli/decided/1"


class Decided(Struct):
    """A header that a quorum committed, and every change of validators from genesis up to it."""

    header: Header
    certificate: CommitCertificate
    changes: Annotated[tuple[Change, ...], msgspec.Meta(max_length=MAX_CHANGES)]  # in order

    def verify(self, chain_id: bytes, validators: ValidatorSet) -> ValidatorSet:
        """Return who voted on it; raise `LedgerError` naming the first false fact.

        `validators` are those of height 1.
        """
        return verify_from_genesis(
            self.header, self.certificate, self.changes, chain_id, validators
        )


def to_json(decided: Decided) -> str:
    """Return it as a JSON object, for a file that people keep."""
    return document(FORMAT, decided)


def parse_json(text: str) -> Decided:
    """Return what is in this JSON, or raise `Malformed`. It is not verified yet."""
    length = MAX_JSON_LENGTH
    return parse_document(text, FORMAT, Decided, kind="decided block", max_length=length)
