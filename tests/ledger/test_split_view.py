"""Evidence of two logs: what convicts, and what contradicts nothing."""

from typing import Final

import msgspec
import pytest
from hypothesis import given, settings

from ledger.decided import Decided
from ledger.errors import BadProof, LedgerError, Malformed, Mismatch, NoQuorum
from ledger.hashing import Hash
from ledger.merkle import Frontier, NodeAt, consistency_proof, leaf_hash, root_at
from ledger.split_view import SplitView, parse_json, to_json
from tests.ledger.examples import CHAIN, certificate, header, validators, values

VOTERS: Final = validators(1, 2, 3, 4)


def _log(*names: str) -> tuple[NodeAt, list[Hash]]:
    """Return the nodes of a log, and its root at every size."""
    nodes: dict[tuple[int, int], Hash] = {}
    frontier = Frontier()
    roots = [frontier.root]
    for name in names:
        leaf = leaf_hash(name.encode())
        frontier = frontier.append([leaf], lambda lv, ix, node: nodes.update({(lv, ix): node}))
        roots.append(frontier.root)
    return lambda level, index: nodes[level, index], roots


ONE, ROOTS = _log(*"abcdefg")
TWO, OTHERS = _log(*"abcdXfg")


def _at(height: int, size: int, roots: list[Hash]) -> Decided:
    found = header(height, log_size=size, log_root=roots[size])
    return Decided(found, certificate(found), ())


def _split(old: int, new: int) -> SplitView:
    root, proof = root_at(old, TWO), consistency_proof(old, new, TWO)
    return SplitView(_at(5, old, ROOTS), _at(9, new, OTHERS), root, proof)


@pytest.mark.parametrize(("old", "new"), [(5, 5), (5, 6), (5, 7), (6, 7), (7, 7)])
def test_a_log_that_does_not_continue_another_convicts(old: int, new: int) -> None:
    _split(old, new).verify(CHAIN, VOTERS)


@pytest.mark.parametrize(("old", "new"), [(0, 7), (1, 5), (4, 4), (4, 7)])
def test_a_log_that_continues_another_does_not(old: int, new: int) -> None:
    with pytest.raises(BadProof, match="continues the first"):
        _split(old, new).verify(CHAIN, VOTERS)


def test_a_root_that_the_second_log_never_had_does_not() -> None:
    found = _split(4, 7)
    for root, proof in ((OTHERS[5], found.proof), (OTHERS[5], ()), (ROOTS[7], found.proof)):
        lie = msgspec.structs.replace(found, root=root, proof=proof)
        with pytest.raises(BadProof):
            lie.verify(CHAIN, VOTERS)


def test_two_blocks_of_one_height_convict_and_one_block_does_not() -> None:
    one, two = _at(5, 7, ROOTS), _at(5, 7, OTHERS)
    SplitView(one, two, bytes(32), ()).verify(CHAIN, VOTERS)
    with pytest.raises(BadProof, match="one block"):
        SplitView(one, one, bytes(32), ()).verify(CHAIN, VOTERS)


def test_a_log_that_became_shorter_convicts() -> None:
    SplitView(_at(5, 7, ROOTS), _at(9, 6, ROOTS), bytes(32), ()).verify(CHAIN, VOTERS)
    with pytest.raises(Mismatch, match="height of the second"):
        SplitView(_at(9, 7, ROOTS), _at(5, 6, ROOTS), bytes(32), ()).verify(CHAIN, VOTERS)


def test_each_of_the_two_must_be_committed() -> None:
    found = _split(5, 7)
    for side in ("first", "second"):
        decided: Decided = getattr(found, side)
        weak = Decided(decided.header, certificate(decided.header, (1, 2)), ())
        with pytest.raises(NoQuorum):
            msgspec.structs.replace(found, **{side: weak}).verify(CHAIN, VOTERS)


@settings(max_examples=max(10, settings().max_examples // 4))
@given(found=values(SplitView))
def test_it_is_read_back_from_json_and_any_values_are_refused(found: SplitView) -> None:
    assert parse_json(to_json(found)) == found
    with pytest.raises(LedgerError):
        found.verify(CHAIN, VOTERS)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "depoli/decided/1"}'])
def test_what_is_no_split_view_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse_json(text)
