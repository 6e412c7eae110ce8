"""The log in tiles: against another's log, against the text of the specification, and our tree."""

import json
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import merkle
from ledger.checkpoint import parse_note, parse_verifier_key
from ledger.errors import Malformed
from ledger.hashing import Hash
from ledger.merkle import EMPTY_ROOT, Frontier, NodeAt, leaf_hash, root_at
from ledger.tiles import (
    ENTRIES,
    MAX_ENTRY_BYTES,
    MAX_LEVEL,
    WIDTH,
    Tile,
    bundles,
    encode_bundle,
    node_reader,
    parse_bundle,
    parse_path,
    parse_tile,
    tile_bytes,
    tiles,
)

TESSERA: Final[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "tessera_log.json").read_text(encoding="ascii")
)
SIZE: Final = 70_000  # the example of the specification
SIZES: Final = (0, 1, 2, 255, 256, 257, 511, 513, 65_535, 65_536, 65_537, SIZE)


def _grown(size: int) -> tuple[list[Hash], NodeAt]:
    """Return the roots of a log, by size, at those of `SIZES`, and its nodes."""
    nodes: dict[tuple[int, int], Hash] = {}

    def store(level: int, index: int, hash_: Hash) -> None:
        nodes[level, index] = hash_

    frontier, roots = Frontier(), []
    for at in SIZES:
        leaves = [leaf_hash(number.to_bytes(4)) for number in range(frontier.size, at)]
        frontier = frontier.append(leaves, store)
        roots.append(frontier.root)
    assert frontier.size == size
    return roots, lambda level, index: nodes[level, index]


ROOTS, NODE_AT = _grown(SIZE)


def _reader(size: int) -> NodeAt:
    """Return what reads nodes from the tiles that a log of `size` serves, and from no others."""
    served = {tile.path: tile_bytes(tile, NODE_AT) for tile in tiles(size)}
    return node_reader(size, lambda tile: served[tile.path])


# --- the log of another ----------------------------------------------------------------------


@pytest.mark.parametrize("size", range(16))
def test_the_root_of_tessera_follows_from_its_tiles_and_from_its_entries(size: int) -> None:
    note = parse_note(TESSERA["checkpoints"][size].encode())
    note.verify(parse_verifier_key(TESSERA["verifier_key"]))
    _, told, root, _ = note.text.split("\n")
    assert told == str(size)

    def read(tile: Tile) -> bytes:
        return bytes.fromhex(TESSERA["tiles"][tile.path])

    found = root_at(size, node_reader(size, read))
    assert b64encode(found).decode() == root
    for bundle in bundles(size):
        data = bytes.fromhex(TESSERA["bundles"][bundle.path])
        entries = parse_bundle(bundle, data)
        assert encode_bundle(entries) == data
        assert merkle.root_of_leaves([leaf_hash(entry) for entry in entries]) == found


# --- paths -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(1, 999), "tile/1/999"),
        (Tile(0, 1000), "tile/0/x001/000"),
        (Tile(3, 1_234_067), "tile/3/x001/x234/067"),
        (Tile(0, 273, 112), "tile/0/273.p/112"),
        (Tile(ENTRIES, 1_234_067, 1), "tile/entries/x001/x234/067.p/1"),
        (Tile(0, (1 << 55) - 1), "tile/0/x036/x028/x797/x018/x963/967"),
    ],
)
def test_a_tile_has_one_path(tile: Tile, path: str) -> None:
    assert tile.path == path
    assert parse_path(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/0/000/",
        "/tile/0/000",
        "tile/00/000",
        "tile/8/000",
        "tile/10/000",
        "tile/-1/000",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/000",
        "tile/0/x1/000",
        "tile/0/001/000",
        "tile/0/x001",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/999",
        "tile/0/000.p",
        "tile/0/000.p/\u0661",
        "tile/0/\u0660\u0660\u0660",
        "tile/0/x036/x028/x797/x018/x963/968",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
        "tile/0/" + "x001/" * 5000 + "000",
        "tile/../000",
        "tile/data/000",
    ],
)
def test_no_other_path_is_taken(path: str) -> None:
    with pytest.raises(Malformed, match="path of a tile"):
        parse_path(path)


@given(
    level=st.integers(ENTRIES, MAX_LEVEL),
    index=st.integers(0, (1 << 55) - 1),
    width=st.integers(1, WIDTH),
)
def test_every_path_is_read_back(level: int, index: int, width: int) -> None:
    tile = Tile(level, index, width)
    assert parse_path(tile.path) == tile


@given(junk=st.text("0123456789x/.p", max_size=20))
def test_any_text_is_a_path_or_refused(junk: str) -> None:
    try:
        assert parse_path("tile/0/" + junk).path == "tile/0/" + junk
    except Malformed:
        return


# --- which there are -------------------------------------------------------------------------


def test_the_tiles_of_the_specifications_example_are_there() -> None:
    found = list(tiles(SIZE))
    assert sum(tile.level == 0 and tile.is_full for tile in found) == 273
    rest = [tile for tile in found if tile.level or not tile.is_full]
    assert rest == [Tile(0, 273, 112), Tile(1, 0), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert list(tiles(256)) == [Tile(0, 0), Tile(1, 0, 1)]
    assert list(tiles(0)) == list(bundles(0)) == []


@given(size=st.integers(0, 2**17), since=st.integers(0, 2**17))
def test_what_is_not_listed_again_was_full_before(size: int, since: int) -> None:
    for listed in (tiles, bundles):
        whole, new = set(listed(size)), set(listed(size, since=since))
        assert all(tile.is_in(size) for tile in whole)
        left_out = whole - new
        assert all(tile.is_full and tile.is_in(since) for tile in left_out)
        assert not [tile for tile in new if tile.is_full and tile.is_in(since)]


def test_a_tile_is_in_a_log_that_has_all_of_it() -> None:
    assert Tile(0, 273, 112).is_in(SIZE)
    assert Tile(0, 273, 111).is_in(SIZE)
    assert not Tile(0, 273, 113).is_in(SIZE)
    assert not Tile(0, 273).is_in(SIZE)
    assert Tile(2, 0, 1).is_in(65_536)
    assert not Tile(2, 0, 1).is_in(65_535)
    assert Tile(ENTRIES, 0, 3).is_in(3)
    assert not Tile(ENTRIES, 0, 3).is_in(2)


# --- what they hold --------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(len(SIZES)))
def test_the_root_at_each_size_follows_from_the_tiles_of_that_size(number: int) -> None:
    assert root_at(SIZES[number], _reader(SIZES[number])) == ROOTS[number]


def test_a_tile_of_a_level_holds_the_roots_of_full_tiles_below() -> None:
    below = parse_tile(Tile(0, 7), tile_bytes(Tile(0, 7), NODE_AT))
    above = parse_tile(Tile(1, 0), tile_bytes(Tile(1, 0), NODE_AT))
    assert merkle.root_of_leaves(below) == above[7]
    assert below == tuple(leaf_hash(number.to_bytes(4)) for number in range(7 * 256, 8 * 256))


READ: Final = {size: _reader(size) for size in SIZES}


@given(data=st.data())
def test_proofs_from_tiles_are_those_of_the_tree(data: st.DataObject) -> None:
    size = data.draw(st.sampled_from(SIZES[1:]))
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(index, size, READ[size])
    assert proof == merkle.inclusion_proof(index, size, NODE_AT)
    old = data.draw(st.integers(0, size))
    between = merkle.consistency_proof(old, size, READ[size])
    assert between == merkle.consistency_proof(old, size, NODE_AT)


def test_a_reader_asks_for_each_tile_once() -> None:
    asked: list[str] = []

    def read(tile: Tile) -> bytes:
        asked.append(tile.path)
        return tile_bytes(tile, NODE_AT)

    node_at = node_reader(SIZE, read)
    for index in range(0, SIZE, SIZE // 7):
        merkle.inclusion_proof(index, SIZE, node_at)
    assert len(asked) == len(set(asked)) < 16


def test_a_changed_tile_leads_to_another_root() -> None:
    edge = [tile for tile in tiles(SIZE) if not tile.is_full]
    for changed in edge:

        def read(tile: Tile, changed: Tile = changed) -> bytes:
            data = tile_bytes(tile, NODE_AT)
            return bytes(32) + data[32:] if tile == changed else data

        assert root_at(SIZE, node_reader(SIZE, read)) != ROOTS[-1], changed


@pytest.mark.parametrize("length", [0, 31, 64, 112 * 32 - 1, 112 * 32 + 32])
def test_a_tile_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(Malformed, match="instead of 112 hashes"):
        parse_tile(Tile(0, 273, 112), bytes(length))
    with pytest.raises(Malformed):
        root_at(SIZE, node_reader(SIZE, lambda _: bytes(length)))


# --- entries ---------------------------------------------------------------------------------


@given(entries=st.lists(st.binary(max_size=300), min_size=1, max_size=WIDTH))
def test_a_bundle_is_read_back(entries: Sequence[bytes]) -> None:
    data = encode_bundle(entries)
    assert parse_bundle(Tile(ENTRIES, 0, len(entries)), data) == tuple(entries)
    for other in (data[:-1], data + b"\0"):
        with pytest.raises(Malformed, match=r"it ends within|behind its last"):
            parse_bundle(Tile(ENTRIES, 0, len(entries)), other)


def test_the_longest_entry_fits() -> None:
    entry = bytes(MAX_ENTRY_BYTES)
    assert parse_bundle(Tile(ENTRIES, 0, 1), encode_bundle([entry])) == (entry,)
    with pytest.raises(AssertionError):
        encode_bundle([entry + b"\0"])


@given(junk=st.binary(max_size=60), width=st.integers(1, 5))
def test_any_bytes_are_a_bundle_or_refused(junk: bytes, width: int) -> None:
    try:
        assert encode_bundle(parse_bundle(Tile(ENTRIES, 0, width), junk)) == junk
    except Malformed:
        return


def test_the_empty_log_has_its_root_without_any_tile() -> None:
    assert root_at(0, node_reader(0, lambda _: b"")) == EMPTY_ROOT == ROOTS[0]
