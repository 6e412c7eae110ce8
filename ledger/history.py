"""A history: all entries that concern a member between two headers, and proof that none is missing.

Both headers carry the root of the map of heads, so each proves how many entries concerned the
member and the hash chain over them; the entries between must lead from the one to the other.
"""

from itertools import takewhile
from typing import Annotated, Final

import msgspec

from ledger.block import Header
from ledger.certificate import CommitCertificate
from ledger.encoding import Struct, decode
from ledger.entry import Entry
from ledger.errors import Mismatch
from ledger.heads import Head, HeadProof, first
from ledger.plain import document, parse_document
from ledger.receipt import MAX_CHANGES, MAX_JSON_LENGTH, Change, Voters
from ledger.validators import Bytes16

MAX_ENTRIES: Final = 65_536  # as many calls as one block may hold: a longer history is in parts
FORMAT: Final = "depoli/history/1"


class Standing(Struct):
    """A header that a quorum committed, and the member's head under it, or that it had none."""

    header: Header
    certificate: CommitCertificate
    proof: HeadProof

    def head(self, member: bytes) -> Head | None:
        """Return the head of `member`, None if it had none; raise `BadProof`."""
        return self.proof.verify(self.header.heads_root, member)


class History(Struct):
    """The entries that concern a member, above one header and up to another."""

    member: Bytes16
    start: Standing | None  # None: from the beginning of the chain on
    end: Standing
    entries: Annotated[tuple[Entry, ...], msgspec.Meta(max_length=MAX_ENTRIES)]  # in their order
    changes: Annotated[tuple[Change, ...], msgspec.Meta(max_length=MAX_CHANGES)]  # of validators

    def verify(self, chain_id: bytes, voters: Voters) -> Voters:
        """Return who votes after its end; raise `LedgerError` naming the first false fact.

        `voters` are those whom the reader trusts already: those of genesis, or those that a
        verified header or history led to; `changes` are all from there on.
        """
        before = 0
        head = None
        if self.start is not None:
            start = self.start.header
            early = tuple(takewhile(lambda each: each.header.height < start.height, self.changes))
            voters = voters.follow(chain_id, early)
            voters.require_signed(start, self.start.certificate, chain_id)
            before, head = start.height, self.start.head(self.member)
            changes = self.changes[len(early) :]
        else:
            changes = self.changes
        voters = voters.follow(chain_id, changes)
        end = self.end.header
        if end.height <= before:
            raise Mismatch("height of the end", f"above {before}", end.height)
        voters.require_signed(end, self.end.certificate, chain_id)
        verify_entries(head, self.entries, self.end.head(self.member))
        return voters


def verify_entries(before: Head | None, entries: tuple[Entry, ...], after: Head | None) -> None:
    """Raise `Mismatch` unless these entries, all of them in this order, lead to the head `after`.

    None is the head of whom nothing concerned yet.
    """
    expected = (0 if after is None else after.count) - (0 if before is None else before.count)
    if len(entries) != expected:
        raise Mismatch("number of entries", expected, len(entries))
    head = before
    for entry in entries:
        leaf = entry.leaf()
        head = first(leaf) if head is None else head.extend(leaf)
    if head != after:
        raise Mismatch("head after the entries", after and after.hash, head and head.hash)


def to_json(history: History) -> str:
    """Return it as a JSON object, for a file that people keep."""
    return document(FORMAT, history)


def parse_json(text: str) -> History:
    """Return the history in this JSON, or raise `Malformed`. It is not verified yet."""
    length = MAX_JSON_LENGTH
    return parse_document(text, FORMAT, History, kind="history", max_length=length)


def parse(data: bytes) -> History:
    """Return the history that `encode` wrote, or raise `Malformed`. It is not verified yet."""
    return decode(data, History)
