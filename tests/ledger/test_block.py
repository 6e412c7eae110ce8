"""A block: what its header binds."""

from hashlib import sha256

import msgspec
import pytest

from ledger.block import (
    BareBlock,
    Block,
    Body,
    CommittedBlock,
    Header,
    bare,
    evidence_root,
    is_bare,
    parent_commit_hash,
)
from ledger.encoding import decode, encode
from ledger.entry import Outcome
from ledger.errors import Malformed, Mismatch
from ledger.hashing import NO_HASH, Domain, hash_of
from ledger.merkle import EMPTY_ROOT, leaf_hash, node_hash
from tests.ledger.examples import certificate, header

PARENT = certificate(header(1))
BODY = Body(PARENT, (b"proof of a lie",), (b"first", b"second"))
HEADER = header(
    2,
    transactions_root=node_hash(leaf_hash(b"first"), leaf_hash(b"second")),
    parent_commit_hash=PARENT.hash,
    evidence_root=leaf_hash(b"proof of a lie"),
)


def test_the_hash_of_a_header_is_pinned() -> None:
    assert header(1).hash == sha256(b"depoli/header/1\x00" + encode(header(1))).digest()
    assert (
        header(1).hash.hex() == "3708d44921ecbe40feb9146e7482f23a5470af459a197f443b23f06e4118b86f"
    )


def test_every_field_of_a_header_is_in_its_hash() -> None:
    changes: dict[str, object] = {
        name: bytes((9,)) * len(old) if isinstance(old := getattr(HEADER, name), bytes) else old + 1
        for name in Header.__struct_fields__
    }
    changed = {msgspec.structs.replace(HEADER, **{name: new}).hash for name, new in changes.items()}
    assert len(changed | {HEADER.hash}) == len(Header.__struct_fields__) + 1


def test_an_outline_has_the_hashes_of_the_transactions_in_their_place() -> None:
    outline = Block(HEADER, BODY).outline()
    assert outline.leaves == (leaf_hash(b"first"), leaf_hash(b"second"))
    assert (outline.header, outline.parent_commit) == (HEADER, PARENT)
    outline.verify()


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("transactions_root", {"leaves": (leaf_hash(b"second"), leaf_hash(b"first"))}),
        ("transactions_root", {"leaves": ()}),
        ("parent_commit_hash", {"parent_commit": None}),
        ("parent_commit_hash", {"parent_commit": certificate(header(1), (2, 3, 4))}),
        ("evidence_root", {"evidence": ()}),
        ("evidence_root", {"evidence": (b"proof of a lie", b"another")}),
    ],
)
def test_an_outline_of_other_parts_is_refused(field: str, change: dict[str, object]) -> None:
    outline = msgspec.structs.replace(Block(HEADER, BODY).outline(), **change)
    with pytest.raises(Mismatch, match=f"^{field}: expected") as refused:
        outline.verify()
    assert refused.value.expected == getattr(HEADER, field)


def test_a_block_is_empty_without_transactions_and_evidence() -> None:
    bodies = [
        Body(PARENT, (), ()),
        Body(PARENT, (b"evidence",), ()),
        Body(PARENT, (), (b"transaction",)),
    ]
    assert [body.is_empty() for body in bodies] == [True, False, False]
    outlines = [Block(HEADER, body).outline() for body in bodies]
    assert [outline.is_empty() for outline in outlines] == [True, False, False]


def test_roots_of_nothing() -> None:
    assert evidence_root(()) == EMPTY_ROOT
    assert parent_commit_hash(None) == NO_HASH
    assert parent_commit_hash(PARENT) == hash_of(Domain.CERTIFICATE, encode(PARENT))


def test_a_committed_block_is_read_back_with_its_hash() -> None:
    committed = CommittedBlock(Block(HEADER, BODY), certificate(HEADER), (Outcome(0), Outcome(3)))
    found = decode(encode(committed), CommittedBlock)
    assert found == committed
    assert found.block.header.hash == committed.certificate.block_id


def test_without_its_body_a_block_keeps_header_and_certificate() -> None:
    whole = encode(CommittedBlock(Block(HEADER, BODY), certificate(HEADER), (Outcome(0),)))
    stripped = bare(whole)
    assert stripped == BareBlock(HEADER, certificate(HEADER))
    assert bare(encode(stripped)) == stripped
    assert [is_bare(each) for each in (whole, encode(stripped), b"")] == [False, True, False]
    for record in (b"", b"\x92", whole[:-1], encode(stripped)[:-1]):
        with pytest.raises(Malformed):
            bare(record)
