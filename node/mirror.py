"""A log as static files, which any web server or object store serves: a copy that grows.

What is fetched is verified before it is written: from the root that a quorum committed down to the
hashes, and from these to the entries. The checkpoint is written last, so that whoever reads one
finds its tiles. What an interrupted run wrote is gone on from; a file that is damaged is replaced.
"""

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from contracts.genesis import SignedGenesis
from ledger.checkpoint import MAX_NOTE_BYTES, Checkpoint, parse_checkpoint, parse_note
from ledger.decided import to_json
from ledger.errors import BadProof, Malformed, Mismatch
from ledger.hashing import Hash
from ledger.merkle import leaf_hash, root_at, root_of_leaves
from ledger.tiles import (
    ENTRIES,
    WIDTH,
    Tile,
    bundles,
    node_reader,
    parse_bundle,
    parse_tile,
    tiles,
)
from node import files
from node.log_source import LogSource

Show = Callable[[int, int], None]  # files that are right, of how many


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What a copy holds now, and how much of it is new."""

    checkpoint: Checkpoint
    files: int
    written: int


def mirror(
    source: LogSource, directory: Path, genesis: SignedGenesis, *, entries: bool, show: Show
) -> Mirrored:
    """Bring the copy in `directory` to the size of the log; what is right there is left as it is.

    Raises `LedgerError` naming what is false, and what `source` raises; the copy is then whole at
    its last checkpoint.
    """
    found = source.committed(genesis.chain_id, genesis.genesis.validator_set)
    checkpoint = found.checkpoint
    size = checkpoint.size
    if size < (kept := _kept_size(directory)):
        raise Mismatch("entries in the log", f"{kept} at least, which the copy has", size)
    copy = _Copy(source, directory, checkpoint)
    wanted = sorted(tiles(size), key=lambda tile: -tile.level)  # what verifies the others first
    wanted += bundles(size) if entries else ()
    written = 0
    for number, tile in enumerate(wanted, 1):
        written += copy.keep(tile)
        show(number, len(wanted))
    _write(directory / "commit" / str(checkpoint.height), to_json(found.decided).encode())
    files.replace(directory / "checkpoint", found.note.encode())
    return Mirrored(checkpoint, len(wanted), written)


class _Copy:
    """The files of a copy, of which those at the right edge follow from the root."""

    def __init__(self, source: LogSource, directory: Path, checkpoint: Checkpoint) -> None:
        self._source, self._directory, self._size = source, directory, checkpoint.size
        edge = [tile for tile in tiles(checkpoint.size) if not tile.is_full]
        self._edge = {tile: source.tile(tile) for tile in edge}
        root = root_at(checkpoint.size, node_reader(checkpoint.size, self._edge.__getitem__))
        if root != checkpoint.root:
            raise BadProof(f"the tiles of {source.url} lead to another root than was committed")
        self._hashes = lru_cache(64)(self._read_hashes)

    def keep(self, tile: Tile) -> bool:
        """See to it that a file is there and right; return whether it had to be written."""
        path = self._directory / tile.path
        with suppress(FileNotFoundError):
            if self._is_right(tile, path.read_bytes()):
                return False
        data = self._edge.get(tile) or self._source.tile(tile)
        if not self._is_right(tile, data):
            raise BadProof(f"{tile.path} of {self._source.url} is not of the committed log")
        _write(path, data)
        if tile.is_full:  # its beginnings serve nobody any more
            shutil.rmtree(path.with_name(path.name + ".p"), ignore_errors=True)
        return True

    def _is_right(self, tile: Tile, data: bytes) -> bool:
        try:
            if tile.level == ENTRIES:
                found = tuple(leaf_hash(entry) for entry in parse_bundle(tile, data))
                return found == self._hashes(Tile(0, tile.index, tile.width))
            if not tile.is_full:
                return data == self._edge[tile]
            return root_of_leaves(parse_tile(tile, data)) == self._root_of(tile)
        except Malformed:
            return False

    def _root_of(self, tile: Tile) -> Hash:
        """Return the root over a full tile, from the level above."""
        number, place = divmod(tile.index, WIDTH)
        above = Tile(tile.level + 1, number)
        if not above.is_in(self._size):
            above = next(each for each in self._edge if each.level == above.level)
        return self._hashes(above)[place]

    def _read_hashes(self, tile: Tile) -> tuple[Hash, ...]:
        data = self._edge.get(tile) or (self._directory / tile.path).read_bytes()
        return parse_tile(tile, data)


def _kept_size(directory: Path) -> int:
    """Return the size of the log at the last checkpoint of a copy, 0 where there is none."""
    with suppress(files.Missing):
        text = files.read_public(directory / "checkpoint", limit=MAX_NOTE_BYTES, hint="")
        return parse_checkpoint(parse_note(text).text).size
    return 0


def _write(path: Path, data: bytes) -> None:
    """Write a file of the copy; a power cut may take it, and the next run sees that."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    beside.write_bytes(data)
    beside.replace(path)
