"""The log in tiles (c2sp.org/tlog-tiles): files that are written once and cached for ever.

A tile of level l holds the hashes of up to 256 neighbours among the log's nodes of level 8·l; the
nodes between follow from them. A bundle holds the entries whose hashes are in a tile of level 0.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from ledger.encoding import U63_MAX
from ledger.errors import Malformed
from ledger.hashing import HASH_BYTES, Hash
from ledger.merkle import Frontier, NodeAt

WIDTH: Final = 256  # hashes or entries in a full one
ENTRIES: Final = -1  # instead of a level: the entries themselves
MAX_LEVEL: Final = 7  # of a log of up to 2^63 entries
MAX_ENTRY_BYTES: Final = 0xFFFF  # whose length two bytes tell
MAX_BUNDLE_BYTES: Final = WIDTH * (2 + MAX_ENTRY_BYTES)

_HEIGHT: Final = 8  # levels of the log in one of tiles
_CACHED: Final = 64  # tiles in the memory of a reader: all that a proof of any log touches
_PATH: Final = re.compile(
    r"tile/(entries|[0-9])/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Tile:
    """The address of a tile, or of a bundle of entries."""

    level: int  # from 0 to MAX_LEVEL, or ENTRIES
    index: int  # from 0, within the level
    width: int = WIDTH  # below: a partial one, at the right edge of a log when it was smaller

    @property
    def path(self) -> str:
        """Where it is, below the address of the log."""
        digits = f"{self.index % 1000:03}"
        rest = self.index // 1000
        while rest:
            digits, rest = f"x{rest % 1000:03}/{digits}", rest // 1000
        level = "entries" if self.level == ENTRIES else str(self.level)
        return f"tile/{level}/{digits}" + ("" if self.is_full else f".p/{self.width}")

    @property
    def is_full(self) -> bool:
        """Whether it never grows."""
        return self.width == WIDTH

    @property
    def first(self) -> int:
        """The number, among the nodes or entries of its level, of the first one that it holds."""
        return self.index * WIDTH

    def is_in(self, size: int) -> bool:
        """Return whether a log of `size` entries has all that this holds."""
        return self.first + self.width <= _row(self.level, size)


def parse_path(path: str) -> Tile:
    """Return the tile whose path this is, or raise `Malformed`."""
    found = _PATH.fullmatch(path)
    if found is None:
        raise Malformed("path of a tile", "not tile/LEVEL/NUMBER or tile/LEVEL/NUMBER.p/WIDTH")
    level, index, width = found.groups()
    tile = Tile(
        ENTRIES if level == "entries" else int(level),
        int(index.replace("x", "").replace("/", "")),
        WIDTH if width is None else int(width),
    )
    fits = tile.level <= MAX_LEVEL and tile.first <= U63_MAX and tile.width <= WIDTH
    if tile.path != path or not fits:
        raise Malformed("path of a tile", "not within bounds, or written in another way")
    return tile


def tiles(size: int, *, since: int = 0) -> Iterator[Tile]:
    """Yield the tiles of a log of `size` entries, but for full ones that it had at `since`.

    The lowest level first, and the right edge of each as a partial tile.
    """
    for level in range(MAX_LEVEL + 1):
        yield from _of_level(level, size, since)


def bundles(size: int, *, since: int = 0) -> Iterator[Tile]:
    """Yield the bundles of a log of `size` entries, but for full ones that it had at `since`."""
    yield from _of_level(ENTRIES, size, since)


def tile_bytes(tile: Tile, node_at: NodeAt) -> bytes:
    """Return what a tile of hashes holds; the log that `node_at` knows must have it."""
    assert tile.level != ENTRIES
    level = _HEIGHT * tile.level
    return b"".join(node_at(level, tile.first + number) for number in range(tile.width))


def parse_tile(tile: Tile, data: bytes) -> tuple[Hash, ...]:
    """Return the hashes in a tile, or raise `Malformed`."""
    if len(data) != tile.width * HASH_BYTES:
        raise Malformed("tile", f"{len(data)} bytes instead of {tile.width} hashes")
    return tuple(Hash(data[at : at + HASH_BYTES]) for at in range(0, len(data), HASH_BYTES))


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Return encoded entries as a bundle holds them, each behind its length in two bytes."""
    assert all(len(entry) <= MAX_ENTRY_BYTES for entry in entries)
    return b"".join(len(entry).to_bytes(2) + entry for entry in entries)


def parse_bundle(bundle: Tile, data: bytes) -> tuple[bytes, ...]:
    """Return the encoded entries in a bundle, or raise `Malformed`."""
    found: list[bytes] = []
    at = 0
    for _ in range(bundle.width):
        start = at + 2
        at = start + int.from_bytes(data[at:start])
        if at > len(data) or start > len(data):
            raise Malformed("bundle", f"it ends within entry {len(found)} of {bundle.width}")
        found.append(data[start:at])
    if at != len(data):
        raise Malformed("bundle", f"{len(data) - at} bytes behind its last entry")
    return tuple(found)


def node_reader(size: int, read: Callable[[Tile], bytes]) -> NodeAt:
    """Return what tells the nodes of a log of `size` entries, whose tiles `read` returns.

    What it tells is as good as the tiles are: compare the root that follows, or verify the proof.
    Raises `Malformed` where a tile is none, and what `read` raises.
    """

    @lru_cache(_CACHED)
    def hashes(tile: Tile) -> tuple[Hash, ...]:
        return parse_tile(tile, read(tile))

    def node_at(level: int, index: int) -> Hash:
        row, depth = divmod(level, _HEIGHT)
        number = (index << depth) // WIDTH
        width = min(WIDTH, _row(row, size) - number * WIDTH)
        offset = (index << depth) % WIDTH
        assert offset + (1 << depth) <= width, "a node that the log does not have"
        found = hashes(Tile(row, number, width))
        return Frontier().append(found[offset : offset + (1 << depth)]).root

    return node_at


def _row(level: int, size: int) -> int:
    """Return how many nodes, or entries, the tiles of a level hold in a log of `size`."""
    return size >> (_HEIGHT * max(level, 0))


def _of_level(level: int, size: int, since: int) -> Iterator[Tile]:
    full, partial = divmod(_row(level, size), WIDTH)
    for index in range(_row(level, since) // WIDTH, full):
        yield Tile(level, index)
    if partial:
        yield Tile(level, full, partial)
