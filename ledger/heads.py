"""The heads map: each member's own hash chain over the entries that concern it, under one root.

A sparse Merkle tree over the 128 bits of the member id, most significant first. A subtree without
members hashes to 32 zeros; with one member, to that member's leaf, whatever its depth; with more,
to its two halves. So the root depends on the content only, and a proof shows presence or absence.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Final

import msgspec

from ledger.encoding import U63_MAX, Struct
from ledger.errors import BadProof
from ledger.hashing import NO_HASH, Domain, Hash, hash_of
from ledger.validators import MEMBER_ID_BYTES, Bytes16, Bytes32, MemberId

DEPTH: Final = 8 * MEMBER_ID_BYTES


class Head(Struct):
    """How many entries concern a member, and the hash chain over them."""

    count: Annotated[int, msgspec.Meta(ge=1, le=U63_MAX)]
    hash: Bytes32

    def extend(self, leaf: bytes) -> "Head":
        """Return the head after the entry with this leaf hash."""
        return Head(self.count + 1, hash_of(Domain.HEAD, self.hash, leaf))


def first(leaf: bytes) -> Head:
    """Return the head of a chain that begins with the entry with this leaf hash."""
    return Head(1, hash_of(Domain.HEAD, NO_HASH, leaf))


class Leaf(Struct):
    """A member and its head."""

    member: Bytes16
    head: Head

    def digest(self) -> Hash:
        """Return the hash of this leaf."""
        return hash_of(Domain.HEADS_LEAF, self.member, self.head.count.to_bytes(8), self.head.hash)


class HeadProof(Struct):
    """Shows a member's head under a root, or that it has none."""

    found: Leaf | None  # the leaf where the member's path ends: its own, another's, or none
    siblings: Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=DEPTH)]  # from the root down

    def verify(self, root: bytes, member: bytes) -> Head | None:
        """Return the head of `member` under `root`, None if it has none; raise `BadProof`."""
        if len(member) != MEMBER_ID_BYTES:
            raise BadProof(f"a member id has {MEMBER_ID_BYTES} bytes, not {len(member)}")
        path, depth = int.from_bytes(member), len(self.siblings)
        # A fork with an empty half would hold two members or more in the other: it cannot be last.
        if depth > DEPTH or (depth and self.siblings[-1] == NO_HASH):
            raise BadProof("it is longer than the tree is deep")
        if self.found is not None:
            other = int.from_bytes(self.found.member)
            if depth and (path ^ other) >> (DEPTH - depth):
                raise BadProof("the leaf is not on the member's path")
        hash_ = NO_HASH if self.found is None else self.found.digest()
        for level in range(depth - 1, -1, -1):
            sibling = self.siblings[level]
            pair = (sibling, hash_) if _bit(path, level) else (hash_, sibling)
            hash_ = hash_of(Domain.HEADS_NODE, *pair)
        if hash_ != root:
            raise BadProof("it leads to another root")
        return self.found.head if self.found is not None and self.found.member == member else None


class _Branch:
    __slots__ = ("hash", "left", "right")

    def __init__(self, left: "_Node", right: "_Node") -> None:
        self.left, self.right = left, right
        self.hash = hash_of(Domain.HEADS_NODE, _hash(left), _hash(right))


class _Tip:
    __slots__ = ("hash", "head", "path")

    def __init__(self, path: int, head: Head) -> None:
        self.path, self.head = path, head
        self.hash = Leaf(path.to_bytes(MEMBER_ID_BYTES), head).digest()


_Node = _Branch | _Tip | None


class Heads:
    """The map at one height: an immutable value; versions share what they have in common."""

    __slots__ = ("_tree",)

    def __init__(self, heads: Mapping[MemberId, Head] | None = None) -> None:
        self._tree: _Node = None
        for member, head in (heads or {}).items():
            self._tree = _put(self._tree, 0, _Tip(int.from_bytes(member), head))

    @property
    def root(self) -> Hash:
        """The hash that headers carry."""
        return _hash(self._tree)

    def get(self, member: bytes) -> Head | None:
        """Return the head of `member`, None if nothing concerned it yet."""
        tip = self._walk(int.from_bytes(member))[0]
        return tip.head if tip is not None and tip.path == int.from_bytes(member) else None

    def updated(self, heads: Mapping[MemberId, Head]) -> "Heads":
        """Return the map with these heads in place of the old ones."""
        result = Heads()
        result._tree = self._tree
        for member, head in heads.items():
            tip = _Tip(int.from_bytes(member), head)
            result._tree = _put(result._tree, 0, tip)
        return result

    def prove(self, member: bytes) -> HeadProof:
        """Return the proof of the head of `member`, or of its absence."""
        tip, siblings = self._walk(int.from_bytes(member))
        found = None if tip is None else Leaf(tip.path.to_bytes(MEMBER_ID_BYTES), tip.head)
        return HeadProof(found, tuple(siblings))

    def items(self) -> Iterator[tuple[MemberId, Head]]:
        """Yield members and heads in the order of the members' ids."""
        stack: list[_Node] = [self._tree]
        while stack:
            node = stack.pop()
            if isinstance(node, _Branch):
                stack += (node.right, node.left)
            elif node is not None:
                yield MemberId(node.path.to_bytes(MEMBER_ID_BYTES)), node.head

    def _walk(self, path: int) -> tuple[_Tip | None, list[Hash]]:
        node = self._tree
        siblings: list[Hash] = []
        while isinstance(node, _Branch):
            taken, other = node.left, node.right
            if _bit(path, len(siblings)):
                taken, other = other, taken
            siblings.append(_hash(other))
            node = taken
        return node, siblings


def _bit(path: int, depth: int) -> int:
    return path >> (DEPTH - 1 - depth) & 1


def _hash(node: _Node) -> Hash:
    return NO_HASH if node is None else node.hash


def _put(node: _Node, depth: int, tip: _Tip) -> _Node:
    if node is None or (isinstance(node, _Tip) and node.path == tip.path):
        return tip
    if isinstance(node, _Tip):  # two members share this prefix: make room
        pair: tuple[_Node, _Node] = (None, node) if _bit(node.path, depth) else (node, None)
        node = _Branch(*pair)
    if _bit(tip.path, depth):
        return _Branch(node.left, _put(node.right, depth + 1, tip))
    return _Branch(_put(node.left, depth + 1, tip), node.right)
