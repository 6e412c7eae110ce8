"""A receipt: all that an outsider needs to see that a call was recorded, and with what outcome.

It starts from two facts that the outsider knows otherwise, the chain id and the validators of the
genesis, and follows the validators from there. It says that a quorum committed a log that holds the
entry; it does not say that nothing happened to the same claim since.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from ledger.block import Header
from ledger.certificate import CommitCertificate
from ledger.encoding import U63_MAX, Struct, decode
from ledger.entry import Entry
from ledger.errors import Mismatch
from ledger.merkle import verify_inclusion
from ledger.plain import document, parse_document
from ledger.validators import Bytes32, ValidatorSet

MAX_CHANGES: Final = 1024  # changes of validators since genesis
MAX_JSON_LENGTH: Final = 64 << 20  # each change can hold a hundred validators and signatures
FORMAT: Final = "depoli/receipt/1"


class Change(Struct):
    """A block after which others vote: its header names them, those before them signed it."""

    header: Header
    certificate: CommitCertificate
    validators: ValidatorSet  # from the next height on


class Receipt(Struct):
    """An entry, its place in the log of a committed block, and how to come to trust that block."""

    entry: Entry
    log_index: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]  # number of the entry since genesis
    proof: Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=63)]  # RFC 6962, 2.1.1
    header: Header  # of the entry's block or any later one
    certificate: CommitCertificate
    changes: Annotated[tuple[Change, ...], msgspec.Meta(max_length=MAX_CHANGES)]  # all, in order

    def verify(self, chain_id: bytes, validators: ValidatorSet) -> None:
        """Raise `LedgerError` naming the first false fact; `validators` are those of height 1."""
        verify_from_genesis(self.header, self.certificate, self.changes, chain_id, validators)
        if self.entry.height > self.header.height:
            raise Mismatch("height of the entry", f"up to {self.header.height}", self.entry.height)
        if self.entry.height == self.header.height and self.entry.time != self.header.time:
            raise Mismatch("time of the entry", self.header.time, self.entry.time)
        leaf = self.entry.leaf()
        verify_inclusion(
            self.header.log_root, self.header.log_size, self.log_index, leaf, self.proof
        )


def to_json(receipt: Receipt) -> str:
    """Return the receipt as a JSON object, for a file that people keep."""
    return document(FORMAT, receipt)


def parse_json(text: str) -> Receipt:
    """Return the receipt in this JSON, or raise `Malformed`. It is not verified yet."""
    length = MAX_JSON_LENGTH
    return parse_document(text, FORMAT, Receipt, kind="receipt", max_length=length)


def parse(data: bytes) -> Receipt:
    """Return the receipt that `encode` wrote, or raise `Malformed`. It is not verified yet."""
    return decode(data, Receipt)


@dataclass(frozen=True, slots=True)
class Voters:
    """Who votes above a height, as far as is known: what a reader trusts of a chain."""

    above: int  # the block that made it so; 0: the genesis
    validators: ValidatorSet

    def follow(self, chain_id: bytes, changes: Sequence[Change]) -> "Voters":
        """Return who votes after these changes; raise `LedgerError` at the first false one."""
        voters = self
        for change in changes:
            voters.require_signed(change.header, change.certificate, chain_id)
            change.validators.verify_hash(change.header.next_validators_hash)
            voters = Voters(change.header.height, change.validators)
        return voters

    def require_signed(
        self, header: Header, certificate: CommitCertificate, chain_id: bytes
    ) -> None:
        """Raise `LedgerError` unless a quorum of them signed `header`."""
        verify_block(header, certificate, chain_id, self.validators, above=self.above)


def verify_from_genesis(
    header: Header,
    certificate: CommitCertificate,
    changes: Sequence[Change],
    chain_id: bytes,
    validators: ValidatorSet,
) -> ValidatorSet:
    """Return who voted on `header`; raise `LedgerError` unless a quorum of them signed it.

    `validators` are those of height 1, `changes` all since, in order.
    """
    voters = Voters(0, validators).follow(chain_id, changes)
    voters.require_signed(header, certificate, chain_id)
    return voters.validators


def verify_block(
    header: Header,
    certificate: CommitCertificate,
    chain_id: bytes,
    validators: ValidatorSet,
    *,
    above: int,
) -> None:
    """Raise `LedgerError` unless `validators` signed `header`, of a height above `above`."""
    for field, expected, found in (
        ("chain id of the header", chain_id, header.chain_id),
        ("height of the certificate", header.height, certificate.height),
        ("block of the certificate", header.hash, certificate.block_id),
        ("validators of the header", validators.hash, header.validators_hash),
    ):
        if found != expected:
            raise Mismatch(field, expected, found)
    if header.height <= above:
        raise Mismatch("height of the header", f"above {above}", header.height)
    certificate.verify(chain_id, validators)
