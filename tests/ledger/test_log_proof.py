"""Proofs as tools of transparency logs keep them: what they show, and what is none."""

from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.checkpoint import Checkpoint, Note, NoteKey, origin
from ledger.cosignature import Cosigner, cosign
from ledger.errors import BadProof, BadSignature, Malformed
from ledger.hashing import Hash
from ledger.log_proof import MAX_BYTES, MAX_HASHES, LogProof, parse
from ledger.merkle import Frontier, inclusion_proof, leaf_hash
from tests.ledger.examples import CHAIN, header, key

ENTRIES: Final = [f"entry {number}".encode() for number in range(11)]
NODES: Final[dict[tuple[int, int], Hash]] = {}
LOG: Final = Frontier().append(
    [leaf_hash(each) for each in ENTRIES],
    lambda level, index, node: NODES.update({(level, index): node}),
)
CHECKPOINT: Final = Checkpoint.of(header(7, log_size=LOG.size, log_root=LOG.root))
LINE: Final = cosign(CHECKPOINT.encode(), "witness.example/w1", key(9), time=1_800_000_000)
NOTE: Final = Note(CHECKPOINT.encode(), (CHECKPOINT.sign(key(1)), LINE))
WITNESS: Final = Cosigner("witness.example/w1", key(9).public)


def _log(number: int) -> NoteKey:
    return NoteKey(origin(CHAIN), key(number).public)


def _proof(index: int) -> LogProof:
    proof = inclusion_proof(index, LOG.size, lambda level, at: NODES[level, at])
    return LogProof(ENTRIES[index], index, proof, NOTE)


PROOF: Final = _proof(3)
TEXT: Final = PROOF.encode().decode()


@pytest.mark.parametrize("index", range(11))
def test_every_entry_has_a_proof_that_is_read_back_and_verifies(index: int) -> None:
    found = parse(_proof(index).encode())
    assert found == _proof(index)
    assert found.verify([_log(2), _log(1)], [WITNESS]) == CHECKPOINT


def test_its_text_is_that_of_the_specification() -> None:
    lines = TEXT.split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    assert lines[1] == "extra ZW50cnkgMw=="
    assert lines[2] == "index 3"
    assert lines[3 + len(PROOF.proof)] == ""
    assert TEXT.endswith("\n\n" + NOTE.encode().decode())


def test_a_log_of_one_entry_needs_no_hashes() -> None:
    alone = Checkpoint.of(header(1, log_size=1, log_root=leaf_hash(b"one")))
    found = LogProof(b"one", 0, (), Note(alone.encode(), (alone.sign(key(1)),)))
    assert parse(found.encode()) == found
    found.verify([_log(1)])


def test_nobody_else_signed_it_and_nothing_else_is_in_it() -> None:
    with pytest.raises(BadSignature, match="none of the known keys"):
        PROOF.verify([_log(2)])
    with pytest.raises(BadSignature, match="did not cosign"):
        PROOF.verify([_log(1)], [WITNESS, Cosigner("witness.example/w2", key(9).public)])
    for lie in (
        replace(PROOF, entry=b"entry 4"),
        replace(PROOF, index=4),
        replace(PROOF, index=11),
        replace(PROOF, proof=PROOF.proof[1:]),
    ):
        with pytest.raises(BadProof):
            lie.verify([_log(1)])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("@v1", "@v2"),
        ("extra ZW50cnkgMw==\n", ""),
        ("extra ", "Extra "),
        ("extra ", "extra  "),
        ("ZW50cnkgMw==", "ZW50cnkgMx=="),
        ("index 3", "index 03"),
        ("index 3", "index -3"),
        ("index 3", "index 9223372036854775808"),
        ("index 3", "index"),
        ("index 3", "index 3\nAAAA"),
        ("index 3", "index 3" + "\n" + "\n".join(["A" * 43 + "="] * MAX_HASHES)),
        ("\n\n", "\n"),
        ("\n\ndepoli", "\n\n\ndepoli"),
        ("\u2014", "-"),
    ],
)
def test_what_is_no_proof_is_refused(old: str, new: str) -> None:
    assert old in TEXT
    with pytest.raises(Malformed):
        parse(TEXT.replace(old, new, 1).encode())


@pytest.mark.parametrize("data", [b"", b"\xff", b"x" * (MAX_BYTES + 1), b"a\n\nb"])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse(data)


@given(junk=st.text(max_size=4), at=st.integers(0, 600), length=st.integers(0, 3))
def test_any_text_is_a_proof_or_refused(junk: str, at: int, length: int) -> None:
    text = (TEXT[:at] + junk + TEXT[at + length :]).encode()
    try:
        assert parse(text).encode() == text
    except Malformed:
        return
