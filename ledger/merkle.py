"""The Merkle tree of RFC 6962 (and RFC 9162, section 2.1): roots, proofs, and their verification.

A tree of n leaves is told by its frontier: the roots of the perfect subtrees that n is the sum of.
Stored nodes are addressed (level, index): the node over leaves [index·2^level, (index+1)·2^level).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Final

from ledger.errors import BadProof
from ledger.hashing import HASH_BYTES, Hash

EMPTY_ROOT: Final = Hash(sha256(b"").digest())

NodeAt = Callable[[int, int], Hash]  # (level, index) -> hash of a perfect subtree


def leaf_hash(data: bytes) -> Hash:
    """Return the hash of a leaf (RFC 6962, 2.1: SHA-256(0x00 ‖ data))."""
    return Hash(sha256(b"\x00" + data).digest())


def node_hash(left: bytes, right: bytes) -> Hash:
    """Return the hash of a node (RFC 6962, 2.1: SHA-256(0x01 ‖ left ‖ right))."""
    return Hash(sha256(b"\x01" + left + right).digest())


@dataclass(frozen=True)
class Frontier:
    """The right edge of a tree: all that is needed to append to it and to tell its root."""

    size: int = 0
    peaks: tuple[Hash, ...] = ()  # perfect subtrees from the left, the largest first

    @cached_property
    def root(self) -> Hash:
        """The Merkle tree hash."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root

    def append(
        self, leaves: Iterable[Hash], store: Callable[[int, int, Hash], None] | None = None
    ) -> "Frontier":
        """Return the frontier with `leaves` after what it has.

        `store(level, index, hash)` is told every perfect subtree that this completes.
        """
        size, peaks = self.size, list(self.peaks)
        for leaf in leaves:
            level, index, hash_ = 0, size, leaf
            if store is not None:
                store(level, index, hash_)
            while index & 1:  # the subtree to the left is complete: join
                hash_ = node_hash(peaks.pop(), hash_)
                level, index = level + 1, index >> 1
                if store is not None:
                    store(level, index, hash_)
            peaks.append(hash_)
            size += 1
        return Frontier(size, tuple(peaks))


def root_of_leaves(leaves: Sequence[Hash]) -> Hash:
    """Return the root of the tree over these leaf hashes."""
    return Frontier().append(leaves).root


def root_at(size: int, node_at: NodeAt) -> Hash:
    """Return the root of the tree when it had `size` leaves, from stored nodes."""
    return EMPTY_ROOT if size == 0 else _range_root(0, size, node_at)


def inclusion_proof(index: int, size: int, node_at: NodeAt) -> tuple[Hash, ...]:
    """Return the proof that leaf `index` is in the tree of `size` leaves (RFC 6962, 2.1.1)."""
    assert 0 <= index < size
    proof: list[Hash] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            proof.append(_range_root(middle, high, node_at))
            high = middle
        else:
            proof.append(_range_root(low, middle, node_at))
            low = middle
    return tuple(reversed(proof))


def consistency_proof(old: int, new: int, node_at: NodeAt) -> tuple[Hash, ...]:
    """Return the proof that the tree of `old` leaves begins that of `new` (RFC 6962, 2.1.2)."""
    assert 0 <= old <= new
    if old in (0, new):
        return ()
    proof: list[Hash] = []
    low, high, whole = 0, new, True  # whole: [0, old) is a perfect node the verifier knows
    while old != high:
        middle = low + _split(high - low)
        if old <= middle:
            proof.append(_range_root(middle, high, node_at))
            high = middle
        else:
            proof.append(_range_root(low, middle, node_at))
            low, whole = middle, False
    if not whole:
        proof.append(_range_root(low, high, node_at))
    return tuple(reversed(proof))


def verify_inclusion(
    root: bytes, size: int, index: int, leaf: bytes, proof: Sequence[bytes]
) -> None:
    """Raise `BadProof` unless `leaf` is number `index` of the tree (RFC 9162, 2.1.3.2)."""
    if included_root(size, index, leaf, proof) != root:
        raise BadProof("it leads to another root")


def included_root(size: int, index: int, leaf: bytes, proof: Sequence[bytes]) -> Hash:
    """Return the root that a tree of `size` has if `leaf` is its number `index`, or `BadProof`."""
    if not 0 <= index < size:
        raise BadProof(f"index {index} outside a tree of {size}")
    _require_hashes(leaf, *proof)
    node, last = index, size - 1
    hash_ = Hash(leaf)
    for sibling in proof:
        if last == 0:
            raise BadProof("too long")
        if node & 1 or node == last:
            hash_ = node_hash(sibling, hash_)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            hash_ = node_hash(hash_, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise BadProof("too short")
    return hash_


def verify_consistency(
    old_root: bytes, old: int, new_root: bytes, new: int, proof: Sequence[bytes]
) -> None:
    """Raise `BadProof` unless the old tree begins the new one (RFC 9162, 2.1.4.2).

    Stricter than some: a proof between equal sizes, or from the empty tree, must be empty.
    """
    if not 0 <= old <= new:
        raise BadProof(f"a tree of {new} cannot follow one of {old}")
    _require_hashes(old_root, new_root, *proof)
    if old in (0, new):
        if proof:
            raise BadProof("too long")
        if old == new and old_root != new_root:
            raise BadProof("one size, two roots")
        if old == 0 and old_root != EMPTY_ROOT:
            raise BadProof("not the root of the empty tree")
        return
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, Hash(old_root))
    if not path:
        raise BadProof("too short")
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    first = second = Hash(path[0])
    for sibling in path[1:]:
        if last == 0:
            raise BadProof("too long")
        if node & 1 or node == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise BadProof("too short")
    if first != old_root or second != new_root:
        raise BadProof("it leads to other roots")


def _require_hashes(*hashes: bytes) -> None:
    """Raise `BadProof` at another length: a longer left half could stand in for a right one."""
    if any(len(hash_) != HASH_BYTES for hash_ in hashes):
        raise BadProof("not all of it are hashes")


def _split(n: int) -> int:
    """Return the largest power of two below n."""
    return 1 << ((n - 1).bit_length() - 1)


def _range_root(low: int, high: int, node_at: NodeAt) -> Hash:
    """Return the root over leaves [low, high), `low` being a start of a subtree of the tree."""
    peaks: list[Hash] = []
    while low < high:
        level = (high - low).bit_length() - 1
        peaks.append(node_at(level, low >> level))
        low += 1 << level
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root
