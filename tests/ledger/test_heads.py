"""The map of heads: its root depends on its content only, and its proofs show one truth."""

from hashlib import sha256
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.encoding import decode, encode
from ledger.errors import BadProof
from ledger.hashing import NO_HASH, Domain, Hash, hash_of
from ledger.heads import DEPTH, Head, HeadProof, Heads, Leaf, first
from ledger.validators import EVERYONE, MemberId

# Few distinct bytes: ids that share long prefixes, and some that differ in the last bit only.
members = st.builds(
    lambda start, end: MemberId(start + bytes(13) + end),
    st.sampled_from([b"\x00\x00", b"\x00\x01", b"\x80\x00", b"\xff\xff"]),
    st.sampled_from([b"\x00", b"\x01", b"\x02", b"\x80", b"\xff"]),
)
heads = st.builds(Head, st.integers(1, 5), st.binary(min_size=32, max_size=32))
maps = st.dictionaries(members, heads, max_size=9)


def _defined_root(content: dict[MemberId, Head], depth: int = 0) -> Hash:
    if not content:
        return NO_HASH
    if len(content) == 1:
        ((member, head),) = content.items()
        return hash_of(Domain.HEADS_LEAF, member, head.count.to_bytes(8), head.hash)
    halves: list[dict[MemberId, Head]] = [{}, {}]
    for member, head in content.items():
        halves[int.from_bytes(member) >> (DEPTH - 1 - depth) & 1][member] = head
    left, right = (_defined_root(half, depth + 1) for half in halves)
    return hash_of(Domain.HEADS_NODE, left, right)


def _refused(proof: HeadProof, root: bytes, member: bytes) -> None:
    with pytest.raises(BadProof):
        proof.verify(root, member)


def test_a_chain_of_heads_counts_and_binds_every_entry_in_order() -> None:
    leaves = [sha256(bytes((number,))).digest() for number in range(3)]
    head = first(leaves[0]).extend(leaves[1]).extend(leaves[2])
    expected = bytes(32)
    for leaf in leaves:
        expected = sha256(b"depoli/head/1\x00" + expected + leaf).digest()
    assert head == Head(3, expected)
    assert first(leaves[1]).extend(leaves[0]).extend(leaves[2]) != head


@settings(max_examples=max(10, settings().max_examples // 4))
@given(content=maps, order=st.randoms(use_true_random=False))
def test_the_root_is_as_defined_in_whatever_order_it_came_about(
    content: dict[MemberId, Head], order: Random
) -> None:
    expected = _defined_root(content)
    assert Heads(content).root == expected
    items = list(content.items())
    order.shuffle(items)
    grown = Heads()
    for member, head in items:
        grown = grown.updated({member: Head(9, NO_HASH)}).updated({member: head})
    assert grown.root == expected
    assert list(grown.items()) == sorted(content.items())


@given(content=maps, member=members)
def test_presence_and_absence_are_proved(content: dict[MemberId, Head], member: MemberId) -> None:
    tree = Heads(content)
    proof = tree.prove(member)
    assert tree.get(member) == content.get(member)
    assert proof.verify(tree.root, member) == content.get(member)
    assert decode(encode(proof), HeadProof) == proof


@given(content=maps, member=members, other=members, head=heads, data=st.data())
def test_a_spoiled_proof_proves_nothing(
    content: dict[MemberId, Head],
    member: MemberId,
    other: MemberId,
    head: Head,
    data: st.DataObject,
) -> None:
    tree = Heads(content)
    proof = tree.prove(member)
    for found in (None, Leaf(member, head), Leaf(other, head)):
        if found != proof.found:
            _refused(HeadProof(found, proof.siblings), tree.root, member)
    _refused(HeadProof(proof.found, (*proof.siblings, NO_HASH)), tree.root, member)
    _refused(HeadProof(proof.found, (*proof.siblings, head.hash)), tree.root, member)
    if proof.siblings:
        at = data.draw(st.integers(0, len(proof.siblings) - 1))
        rest = proof.siblings[:at], proof.siblings[at + 1 :]
        for sibling in (NO_HASH, head.hash):
            if sibling != proof.siblings[at]:
                spoiled = HeadProof(proof.found, (*rest[0], sibling, *rest[1]))
                _refused(spoiled, tree.root, member)
        _refused(HeadProof(proof.found, rest[0] + rest[1]), tree.root, member)


@given(content=maps, member=members, other=members)
def test_a_proof_says_of_another_member_what_is_true_or_nothing(
    content: dict[MemberId, Head], member: MemberId, other: MemberId
) -> None:
    tree = Heads(content)
    try:
        assert tree.prove(member).verify(tree.root, other) == content.get(other)
    except BadProof:
        assert member != other


@settings(max_examples=max(10, settings().max_examples // 4))
@given(content=maps, changes=maps)
def test_an_older_map_stays_what_it_was(
    content: dict[MemberId, Head], changes: dict[MemberId, Head]
) -> None:
    old = Heads(content)
    new = old.updated(changes)
    assert new.root == _defined_root(content | changes)
    assert old.root == _defined_root(content)
    assert dict(old.items()) == content


def test_two_members_that_differ_in_the_last_bit_fork_at_the_bottom() -> None:
    one, two = MemberId(bytes(16)), MemberId(bytes(15) + b"\x01")
    tree = Heads({one: Head(1, NO_HASH), two: Head(2, NO_HASH)})
    proof = tree.prove(two)
    assert len(proof.siblings) == DEPTH
    assert proof.verify(tree.root, two) == Head(2, NO_HASH)
    absent = MemberId(b"\x80" + bytes(15))
    assert tree.prove(absent).found is None
    assert len(tree.prove(absent).siblings) == 1
    assert tree.prove(absent).verify(tree.root, absent) is None
    _refused(proof, tree.root, one)
    _refused(HeadProof(proof.found, (*proof.siblings, one * 2)), tree.root, two)


def test_a_lone_member_is_not_proved_below_an_empty_fork() -> None:
    """The root of such a tree is not canonical; nothing is proved from it, not even what is so."""
    leaf = Leaf(bytes(16), Head(1, NO_HASH))
    for found, deepest in ((leaf, leaf.digest()), (None, NO_HASH)):
        root = hash_of(Domain.HEADS_NODE, deepest, NO_HASH)
        with pytest.raises(BadProof, match="longer than the tree is deep"):
            HeadProof(found, (NO_HASH,)).verify(root, bytes(16))


def test_a_leaf_off_the_members_path_proves_no_absence() -> None:
    """Else the leaf of the right half, shown as if in the left one, would hide the left one."""
    left, right = MemberId(bytes(16)), MemberId(b"\x80" + bytes(15))
    tree = Heads({left: Head(1, NO_HASH), right: Head(2, NO_HASH)})
    honest = tree.prove(right)
    with pytest.raises(BadProof, match="not on the member's path"):
        honest.verify(tree.root, left)


def test_the_empty_map_proves_that_nobody_is_in_it() -> None:
    assert Heads().root == NO_HASH
    assert Heads().prove(EVERYONE) == HeadProof(None, ())
    assert HeadProof(None, ()).verify(NO_HASH, EVERYONE) is None


@pytest.mark.parametrize("length", [0, 15, 17])
def test_what_is_no_member_id_is_not_proved_absent(length: int) -> None:
    with pytest.raises(BadProof, match="a member id has 16 bytes"):
        HeadProof(None, ()).verify(NO_HASH, bytes(length))
