"""The log as others read logs: from a chain, and over HTTP from a node that runs."""

from pathlib import Path

import pytest

from contracts.execute import DirectSignatures
from ledger.checkpoint import Checkpoint, NoteKey, origin, parse_checkpoint, parse_note
from ledger.decided import parse_json
from ledger.encoding import decode, encode
from ledger.entry import Entry
from ledger.keys import Role
from ledger.merkle import leaf_hash, root_at, root_of_leaves
from ledger.tiles import ENTRIES, Tile, bundles, node_reader, parse_bundle, tiles
from node.chain import Chain
from node.notary import Notary
from tests.chainmaker import key_of, story
from tests.node.cluster import prescription, run
from tests.node.test_api import FEDERATION, Door, served

STORY = story()


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    """The story's chain on disk."""
    found = Chain.open(tmp_path, STORY.genesis.genesis, DirectSignatures())
    for block in STORY.blocks:
        executed = found.execute(block.block.body, block.block.header, DirectSignatures())
        found.commit(executed, block.certificate)
    return found


def test_the_entries_of_a_chain_are_found_by_their_number(chain: Chain) -> None:
    size = chain.header.log_size
    whole = chain.entries(0, size)
    assert root_of_leaves([entry.leaf() for entry in whole]) == chain.header.log_root
    for first in range(size):
        for count in range(1, size - first + 1):
            assert chain.entries(first, count) == whole[first : first + count]
    chain.close()


def test_only_a_validator_of_the_block_signs_its_checkpoint(chain: Chain) -> None:
    label = STORY.labels[0]
    notary = Notary(chain, key_of(label, Role.CHECKPOINT))
    note = notary.note()
    assert note is not None
    assert notary.note() is note
    assert parse_checkpoint(note.text) == Checkpoint.of(chain.header)
    note.verify(NoteKey(origin(STORY.chain_id), key_of(label, Role.CHECKPOINT).public))
    assert Notary(chain, None).note() is None
    assert Notary(chain, key_of("shop-a", Role.CHECKPOINT)).note() is None
    chain.close()


def test_no_checkpoint_is_signed_before_the_first_block(tmp_path: Path) -> None:
    empty = Chain.open(tmp_path, STORY.genesis.genesis, DirectSignatures())
    assert Notary(empty, key_of(STORY.labels[0], Role.CHECKPOINT)).note() is None
    empty.close()


async def fetched(door: Door, path: str, token: str | None = None) -> tuple[bytes, str]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with door.session.get(f"{door.url}/tlog/{path}", headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.read(), answer.headers["Cache-Control"]


def test_a_stranger_computes_the_root_that_a_validator_signed(tmp_path: Path) -> None:
    async def look() -> None:
        async with served(tmp_path) as door:
            await door.send(*(prescription(door.genesis, number) for number in range(5)))
            text, caching = await fetched(door, "checkpoint")
            assert caching == "no-cache"
            note = parse_note(text)
            note.verify(
                NoteKey(origin(door.genesis.chain_id), key_of(FEDERATION, Role.CHECKPOINT).public)
            )
            checkpoint = parse_checkpoint(note.text)
            assert checkpoint.size == 5
            served_tiles = {}
            for tile in tiles(checkpoint.size):
                served_tiles[tile], caching = await fetched(door, tile.path)
                assert caching == "public, max-age=31536000, immutable"
            read = node_reader(checkpoint.size, served_tiles.__getitem__)
            assert root_at(checkpoint.size, read) == checkpoint.root
            commit, _ = await fetched(door, f"commit/{checkpoint.height}")
            decided = parse_json(commit.decode())
            assert Checkpoint.of(decided.header) == checkpoint
            decided.verify(door.genesis.chain_id, door.genesis.genesis.validator_set)

    run(look())


def test_entries_are_for_those_who_read_all(tmp_path: Path) -> None:
    async def look() -> None:
        async with served(tmp_path) as door:
            await door.send(*(prescription(door.genesis, number) for number in range(3)))
            path = f"/tlog/{Tile(ENTRIES, 0, 3).path}"
            for way in (path, path.replace("entries", "%65ntries")):
                assert (await door.get(way, None)).status == 401
                for token in ("shop_a", "reader", "operator"):
                    assert (await door.get(way, token)).status == 403
            (bundle,) = bundles(3)
            data, caching = await fetched(door, bundle.path, "auditor")
            assert caching == "private, max-age=31536000, immutable"
            entries = parse_bundle(bundle, data)
            header = door.node.running.chain.header
            assert root_of_leaves([leaf_hash(each) for each in entries]) == header.log_root
            assert all(encode(decode(each, Entry)) == each for each in entries)

    run(look())


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    async def look() -> None:
        async with served(tmp_path, runs=False) as door:
            for path, status in (
                ("checkpoint", 404),
                ("commit/0", 404),
                ("commit/1", 404),
                ("commit/x", 400),
                ("tile/0/000.p/1", 404),
                ("tile/0/000", 404),
                ("tile/7/x036/x028/x797/x018/x963/967", 404),
                ("tile/0/0", 400),
                ("tile/../../v1/status", 401),
                ("tile//entries/000", 400),
                ("nothing", 404),
            ):
                answer = await door.get(f"/tlog/{path}", "wrong")
                assert answer.status == status, (path, answer)
            assert (await door.get("/tlog/tile/entries/000.p/1")).status == 404
            assert (await door.get("/v1/status", "wrong")).status == 401

    run(look())
