"""The tree of RFC 6962: against the vectors of others and against its own definition."""

import json
from base64 import b64decode
from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import BadProof
from ledger.hashing import Hash
from ledger.merkle import (
    EMPTY_ROOT,
    Frontier,
    NodeAt,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_at,
    root_of_leaves,
    verify_consistency,
    verify_inclusion,
)

VECTORS: Final[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "rfc6962_merkle.json").read_text(encoding="ascii")
)
PROOFS: Final[dict[str, list[dict[str, Any]]]] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "merkle_proofs.json").read_text(encoding="ascii")
)
# Two equal roots of 12 bytes: nobody's hashes. Only length is looked at here, and not there.
STRICTER: Final = {("consistency", "additional/sizes-are-equal-one-and-proof-is-empty")}
LEAVES: Final = [leaf_hash(bytes.fromhex(leaf)) for leaf in VECTORS["leaves"]]
ROOTS: Final = [Hash(bytes.fromhex(root)) for root in VECTORS["roots"]]
MANY: Final = [leaf_hash(number.to_bytes(2)) for number in range(40)]


def _proof(case: dict[str, Any]) -> list[Hash]:
    return [Hash(bytes.fromhex(node)) for node in case["proof"]]


def _defined_root(leaves: Sequence[Hash]) -> Hash:
    """Return the root as RFC 6962, 2.1 defines it."""
    if not leaves:
        return Hash(sha256(b"").digest())
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(_defined_root(leaves[:split]), _defined_root(leaves[split:]))


def _stored(leaves: Sequence[Hash]) -> tuple[Frontier, NodeAt]:
    nodes: dict[tuple[int, int], Hash] = {}

    def store(level: int, index: int, hash_: Hash) -> None:
        assert (level, index) not in nodes
        nodes[level, index] = hash_

    frontier = Frontier().append(leaves, store)
    return frontier, lambda level, index: nodes[level, index]


def _refused(verify: Callable[..., None], *arguments: object) -> None:
    with pytest.raises(BadProof, match=r"^proof fails: "):
        verify(*arguments)


def test_roots_are_those_of_the_vectors() -> None:
    assert EMPTY_ROOT.hex() == VECTORS["empty_root"]
    assert root_of_leaves([]) == EMPTY_ROOT
    assert [root_of_leaves(LEAVES[:size]) for size in range(1, 9)] == ROOTS


@pytest.mark.parametrize("case", VECTORS["inclusion"])
def test_inclusion_proofs_are_those_of_the_vectors(case: dict[str, Any]) -> None:
    index, size, proof = case["index"], case["size"], _proof(case)
    _, node_at = _stored(LEAVES)
    assert list(inclusion_proof(index, size, node_at)) == proof
    verify_inclusion(ROOTS[size - 1], size, index, LEAVES[index], proof)


@pytest.mark.parametrize("case", VECTORS["consistency"])
def test_consistency_proofs_are_those_of_the_vectors(case: dict[str, Any]) -> None:
    old, new, proof = case["old"], case["new"], _proof(case)
    _, node_at = _stored(LEAVES)
    assert list(consistency_proof(old, new, node_at)) == proof
    verify_consistency(ROOTS[old - 1], old, ROOTS[new - 1], new, proof)


def _verdict(kind: str, case: dict[str, Any]) -> bool:
    """Return whether a case of transparency-dev/merkle verifies here."""

    def hashes(*names: str) -> list[bytes]:
        return [b64decode(case[name]) for name in names]

    proof = [b64decode(each) for each in case["proof"]]
    try:
        if kind == "inclusion":
            root, leaf = hashes("root", "leafHash")
            verify_inclusion(root, case["treeSize"], case["leafIdx"], leaf, proof)
        else:
            old, new = hashes("root1", "root2")
            verify_consistency(old, case["size1"], new, case["size2"], proof)
    except BadProof:
        return False
    return True


@pytest.mark.parametrize("kind", PROOFS)
def test_all_verdicts_on_proofs_are_those_of_others_but_where_hashes_are_none(kind: str) -> None:
    cases = PROOFS[kind]
    assert len(cases) == 98
    other = {each["name"] for each in cases if _verdict(kind, each) is each["wantErr"]}
    assert other == {name for group, name in STRICTER if group == kind}


def test_every_root_is_as_defined_whether_appended_or_read_from_nodes() -> None:
    _, node_at = _stored(MANY)
    for size in range(len(MANY) + 1):
        expected = _defined_root(MANY[:size])
        assert root_of_leaves(MANY[:size]) == expected
        assert root_at(size, node_at) == expected


@given(cuts=st.lists(st.integers(0, len(MANY)), max_size=5))
def test_a_frontier_grows_alike_in_any_pieces(cuts: list[int]) -> None:
    frontier = Frontier()
    edges = [0, *sorted(cuts), len(MANY)]
    for low, high in pairwise(edges):
        frontier = frontier.append(MANY[low:high])
    assert frontier == Frontier().append(MANY)
    assert frontier.size == len(MANY)
    assert len(frontier.peaks) == len(MANY).bit_count()


def test_a_frontier_is_a_value() -> None:
    before = Frontier().append(MANY[:3])
    after = before.append(MANY[3:4])
    assert before.root == _defined_root(MANY[:3])
    assert after.root == _defined_root(MANY[:4])


def test_the_nodes_that_are_told_are_the_perfect_subtrees() -> None:
    told: dict[tuple[int, int], Hash] = {}
    Frontier().append(MANY, lambda level, index, hash_: told.update({(level, index): hash_}))
    assert len(told) == sum(len(MANY) >> level for level in range(6))
    for (level, index), hash_ in told.items():
        assert hash_ == _defined_root(MANY[index << level : (index + 1) << level])


def test_every_leaf_of_every_tree_is_proved_and_only_at_its_place() -> None:
    _, node_at = _stored(MANY)
    for size in range(1, 20):
        root = _defined_root(MANY[:size])
        for index in range(size):
            proof = inclusion_proof(index, size, node_at)
            verify_inclusion(root, size, index, MANY[index], proof)
            for other in range(size + 2):
                if other != index:
                    _refused(verify_inclusion, root, size, other, MANY[index], proof)
            _refused(verify_inclusion, root, size, index, MANY[index + 1], proof)
            _refused(verify_inclusion, root, size, index, MANY[index], (*proof, root))
            _refused(verify_inclusion, MANY[39], size, index, MANY[index], proof)
            for cut in range(len(proof)):
                shorter = proof[:cut] + proof[cut + 1 :]
                _refused(verify_inclusion, root, size, index, MANY[index], shorter)
                spoiled = (*proof[:cut], MANY[39], *proof[cut + 1 :])
                _refused(verify_inclusion, root, size, index, MANY[index], spoiled)


def test_every_tree_is_proved_to_begin_every_later_one_and_no_other_does() -> None:
    _, node_at = _stored(MANY)
    for new in range(20):
        for old in range(new + 1):
            first, second = _defined_root(MANY[:old]), _defined_root(MANY[:new])
            proof = consistency_proof(old, new, node_at)
            verify_consistency(first, old, second, new, proof)
            _refused(verify_consistency, MANY[39], old, second, new, proof)
            if 0 < old < new:
                _refused(verify_consistency, first, old, MANY[39], new, proof)
                _refused(verify_consistency, first, old, second, new, ())
            _refused(verify_consistency, first, old, second, new, (*proof, second))
            _refused(verify_consistency, second, new + 1, first, new, proof)
            for cut in range(len(proof)):
                shorter = proof[:cut] + proof[cut + 1 :]
                _refused(verify_consistency, first, old, second, new, shorter)
                spoiled = (*proof[:cut], MANY[39], *proof[cut + 1 :])
                _refused(verify_consistency, first, old, second, new, spoiled)


def test_the_empty_tree_begins_every_tree_and_holds_nothing() -> None:
    """RFC 9162 asks for 0 < old; that nothing precedes everything needs no proof."""
    verify_consistency(EMPTY_ROOT, 0, ROOTS[7], 8, ())
    _refused(verify_consistency, ROOTS[0], 0, ROOTS[7], 8, ())
    _refused(verify_inclusion, EMPTY_ROOT, 0, 0, EMPTY_ROOT, ())
    assert leaf_hash(b"") != EMPTY_ROOT


def test_an_index_is_not_negative() -> None:
    _refused(verify_inclusion, ROOTS[0], 1, -1, LEAVES[0], ())
    _refused(verify_consistency, ROOTS[0], -1, ROOTS[0], 1, ())


@pytest.mark.parametrize("length", [0, 31, 33])
def test_what_is_no_hash_proves_nothing(length: int) -> None:
    short = bytes(length)
    _refused(verify_inclusion, short, 1, 0, short, ())
    _refused(verify_inclusion, ROOTS[1], 2, 0, LEAVES[0], (short,))
    _refused(verify_consistency, short, 1, short, 1, ())
    _refused(verify_consistency, ROOTS[0], 1, ROOTS[1], 2, (short,))


def test_a_border_moved_between_leaf_and_sibling_proves_nothing() -> None:
    """The same 64 bytes are hashed, cut elsewhere."""
    both = LEAVES[0] + LEAVES[1]
    _refused(verify_inclusion, ROOTS[1], 2, 0, both[:31], (both[31:],))


@given(
    size=st.integers(-1, 2**63),
    index=st.integers(-1, 2**63),
    proof=st.lists(st.binary(min_size=32, max_size=32), max_size=70),
)
def test_any_proof_ends(size: int, index: int, proof: list[bytes]) -> None:
    _refused(verify_inclusion, bytes(32), size, index, bytes(32), proof)
    if 0 <= index < size:
        _refused(verify_consistency, b"\x01" * 32, index, bytes(32), size, proof)
