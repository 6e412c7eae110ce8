"""What a store knows of blocks whose bodies are gone, carried over to one that is made anew.

A store that begins with a snapshot has the state and the edge of the log. The hashes of the log
below and the indexes of what was pruned nobody can make again from this node's disk.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from ledger import merkle
from ledger.block import Header
from ledger.errors import HashNotKept, LedgerError
from ledger.hashing import Hash
from ledger.store import Store, View
from node.applied import node_key, scan_all
from node.index import HISTORY, is_same_head

_TOGETHER: Final = 4096  # pairs that are written at once

Pairs = Iterable[tuple[bytes, bytes]]


def carry(old: View, store: Store, begun: Header) -> None:
    """Give a store that began at a header what an older one knows of the blocks up to it.

    Hashes of the log are taken where they lead to those that are there, and of what is not true
    none; indexes are taken as they are.
    """
    nodes = _nodes_below(old, store, begun.log_size)
    _put(store, ((key, value) for key, value in nodes if value is not None))
    for prefix in HISTORY:
        _put(store, _lacking(store, scan_all(old, prefix)))


def is_entry(held: View, begun: Header, number: int, leaf: Hash) -> bool | None:
    """Return whether an entry of the log up to `begun` has this hash, None where nothing tells.

    What the store holds counts as far as it leads to the root in that header.
    """

    def node_at(level: int, index: int) -> Hash:
        found = held.get(node_key(level, index))
        if found is None:
            raise HashNotKept(level, index)
        return Hash(found)

    size = begun.log_size
    try:
        proof = merkle.inclusion_proof(number, size, node_at)
        one, other = (
            merkle.included_root(size, number, each, proof) == begun.log_root
            for each in (leaf, node_at(0, number))
        )
    except (LedgerError, OSError):
        return None
    return one if one or other else None


def false_node(store: View, begun: Header) -> bytes | None:
    """Return a key of the log up to `begun` that does not lead to its peaks, None without any.

    What is not there is not false.
    """
    nodes = _nodes_below(store, store, begun.log_size)
    return next((key for key, value in nodes if value is None), None)


def _nodes_below(old: View, store: View, size: int) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield the nodes of an old store below the peaks that `store` has of a log of this size.

    None stands for one that is not what it must be; below it, and where one is not there, nothing
    is yielded.
    """
    waiting = []
    for level in range(size.bit_length()):
        place = level, (size >> level) - 1
        if size >> level & 1 and (peak := store.get(node_key(*place))) is not None:
            waiting.append((*place, peak))
    while waiting:
        level, index, root = waiting.pop()
        if level == 0:
            continue
        places = [(level - 1, 2 * index + side) for side in range(2)]
        left, right = (old.get(node_key(*place)) for place in places)
        if left is None or right is None:
            continue
        if merkle.node_hash(left, right) != root:
            yield node_key(*places[0]), None
            continue
        for place, node in zip(places, (left, right), strict=True):
            yield node_key(*place), node
            waiting.append((*place, node))


def _lacking(store: View, pairs: Pairs) -> Pairs:
    for key, value in pairs:
        seen = store.get(key)
        if seen is None or is_same_head(key, seen, value):
            yield key, value


def _put(store: Store, pairs: Pairs) -> None:
    batch: dict[bytes, bytes | None] = {}
    for key, value in pairs:
        batch[key] = value
        if len(batch) == _TOGETHER:
            store.write(batch)
            batch = {}
    store.write(batch)
