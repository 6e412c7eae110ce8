"""Proofs that an entry is in the log, as the tools of transparency logs keep them.

c2sp.org/tlog-proof: a text with the entry's number, its inclusion proof, and the checkpoint. Ours
has the encoded entry as its extra data, so that it can be checked alone. It is as good as the keys
that signed the checkpoint: a receipt shows a quorum, this one validator and the witnesses that one
trusts.
"""

from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ledger.checkpoint import (
    MAX_NOTE_BYTES,
    Checkpoint,
    Note,
    NoteKey,
    parse_base64,
    parse_checkpoint,
    parse_note,
    parse_number,
)
from ledger.cosignature import Cosigner
from ledger.errors import Malformed
from ledger.hashing import HASH_BYTES, Hash
from ledger.merkle import leaf_hash, verify_inclusion

MAX_HASHES: Final = 63
MAX_BYTES: Final = MAX_NOTE_BYTES + (192 << 10)  # with an entry of the longest call
_FIRST: Final = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class LogProof:
    """Where an entry is in the log of a checkpoint; nothing of it is verified."""

    entry: bytes  # encoded
    index: int
    proof: tuple[Hash, ...]
    checkpoint: Note

    def encode(self) -> bytes:
        """Return the text."""
        lines = (
            _FIRST,
            f"extra {b64encode(self.entry).decode()}",
            f"index {self.index}",
            *(b64encode(each).decode() for each in self.proof),
            "",
        )
        return "".join(f"{line}\n" for line in lines).encode() + self.checkpoint.encode()

    def verify(self, logs: Iterable[NoteKey], witnesses: Iterable[Cosigner] = ()) -> Checkpoint:
        """Return the checkpoint of a log that has the entry, or raise `LedgerError`.

        One of `logs` must have signed it, and every one of `witnesses`.
        """
        self.checkpoint.verify_any(logs)
        for witness in witnesses:
            witness.verify(self.checkpoint)
        found = parse_checkpoint(self.checkpoint.text)
        leaf = leaf_hash(self.entry)
        verify_inclusion(found.root, found.size, self.index, leaf, self.proof)
        return found


def parse(data: bytes) -> LogProof:
    """Return the proof in a text that holds its entry, or raise `Malformed`."""
    if len(data) > MAX_BYTES:
        raise Malformed("proof", f"{len(data)} bytes, at most {MAX_BYTES}")
    try:
        head, _, note = data.decode().partition("\n\n")
    except UnicodeDecodeError:
        raise Malformed("proof", "not UTF-8") from None
    match head.split("\n"):
        case [first, extra, index, *hashes] if first == _FIRST and len(hashes) <= MAX_HASHES:
            pass
        case _:
            raise Malformed("proof", "not its first line, the entry, an index and up to 63 hashes")
    if not extra.startswith("extra ") or not index.startswith("index "):
        raise Malformed("proof", "no entry as its extra data, or no index")
    proof = tuple(Hash(parse_base64(each, "proof")) for each in hashes)
    if any(len(each) != HASH_BYTES for each in proof):
        raise Malformed("proof", "not all of it are hashes")
    found = LogProof(
        parse_base64(extra.removeprefix("extra "), "proof"),
        parse_number(index.removeprefix("index "), "proof"),
        proof,
        parse_note(note.encode()),
    )
    parse_checkpoint(found.checkpoint.text)
    if found.encode() != data:
        raise Malformed("proof", "not the canonical text")
    return found
