"""A node whose old blocks are bare: what it still says, and what it says of what is gone."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from contracts.calls import ClaimAccept, ClaimCancel
from contracts.execute import DirectSignatures
from ledger.block import CommittedBlock
from ledger.decided import parse_json as parse_decided
from ledger.encoding import encode
from ledger.errors import HashNotKept, NotKept, StoreDamaged
from ledger.hashing import Hash
from ledger.merkle import node_hash
from ledger.receipt import parse_json
from ledger.tiles import ENTRIES, Tile, tile_bytes
from ledger.transaction import parse
from node.audit.errors import Pruned, Refused
from node.audit.export import Writer, copy_blocks
from node.audit.fetch import fetch_blocks, open_session
from node.chain import SEGMENTS, Chain
from node.results import Committed
from tests.chainmaker import story
from tests.node.cluster import prescription, run, until
from tests.node.evil import double_vote
from tests.node.test_api import FEDERATION, PAYER, Door, served

SIGNATURES = DirectSignatures()
STORY = story()
GENESIS = STORY.genesis.genesis
LAST = len(STORY.blocks)
FIRST = LAST - 2  # whose body is kept


def prune(chain: Chain, before: int) -> None:
    chain.segments.seal()
    list(chain.segments.prune(before))
    assert chain.first_body == before


def opened(folder: Path) -> Chain:
    return Chain.open(folder, GENESIS, SIGNATURES)


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    found = opened(tmp_path)
    for block in STORY.blocks:
        executed = found.execute(block.block.body, block.block.header, SIGNATURES)
        found.commit(executed, block.certificate)
    prune(found, FIRST)
    yield found
    found.close()


def ids_of(block: CommittedBlock) -> list[Hash]:
    return [parse(raw).id for raw in block.block.body.transactions]


def test_headers_and_certificates_stay_and_bodies_are_gone(chain: Chain, tmp_path: Path) -> None:
    bytes_of_all = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    for height, block in enumerate(STORY.blocks, 1):
        header, id_ = block.block.header, block.block.header.hash
        head = chain.head(height)
        assert (head.header, head.certificate) == (header, block.certificate)
        assert chain.has(height, id_)
        assert not chain.has(height, bytes(32))
        chain.decided(height).verify(STORY.chain_id, STORY.validators_at(1))
        if height >= FIRST:
            assert chain.block(height) == block
            continue
        with pytest.raises(NotKept, match=f"block {height} is not kept here: only blocks {FIRST}"):
            chain.block(height)
        for raw in block.block.body.transactions:
            assert parse(raw).signature not in bytes_of_all
    raws = [raw for block in STORY.blocks[FIRST - 1 :] for raw in block.block.body.transactions]
    assert raws
    assert all(raw in bytes_of_all for raw in raws)


def test_of_a_pruned_transaction_its_block_is_told_and_nothing_more(chain: Chain) -> None:
    old, new = STORY.blocks[0], next(b for b in STORY.blocks[FIRST - 1 :] if ids_of(b))
    id_, header = ids_of(old)[0], old.block.header
    assert chain.committed(id_) == Committed(id_, None, 1, header.time, ())
    assert chain.signed_by(id_) is None
    with pytest.raises(NotKept):
        chain.receipt(id_, 0)
    receipt = chain.receipt(ids_of(new)[0], 0)
    assert receipt is not None
    receipt.verify(STORY.chain_id, STORY.validators_at(1))
    found = chain.committed(ids_of(new)[0])
    assert found is not None
    assert found.sender is not None
    assert chain.signed_by(ids_of(new)[0]) is not None


def test_entries_of_what_is_kept_are_given_and_the_hashes_of_all(chain: Chain) -> None:
    size = chain.header.log_size
    kept = chain.head(FIRST - 1).header.log_size
    assert 0 < kept < size
    assert chain.entries(kept, size - kept)[0].height >= FIRST
    for first in range(kept):
        with pytest.raises(NotKept):
            chain.entries(first, 1)
    assert len(tile_bytes(Tile(0, 0, size), chain.log_node)) == 32 * size
    assert chain.log_node(1, 0) == node_hash(chain.log_node(0, 0), chain.log_node(0, 1))


def test_a_chain_opens_again_and_goes_on(tmp_path: Path, chain: Chain) -> None:
    chain.close()
    again = opened(tmp_path)
    assert (again.height, again.first_height, again.first_body) == (LAST, 1, FIRST)
    assert [b.header.hash for b in map(again.head, range(1, LAST + 1))] == [
        b.block.header.hash for b in STORY.blocks
    ]
    assert all(a.hash == b.parent for a, b in pairwise(again.head(n).header for n in (1, 2, 3)))
    again.close()


def test_without_its_store_a_pruned_chain_does_not_open(tmp_path: Path, chain: Chain) -> None:
    chain.close()
    (tmp_path / "state").rename(tmp_path / "elsewhere")
    with pytest.raises(StoreDamaged, match=f"the blocks that are kept begin with {FIRST}"):
        opened(tmp_path)
    (tmp_path / "elsewhere").rename(tmp_path / "there")


def test_an_export_is_extended_from_what_is_kept_and_not_begun(
    tmp_path: Path, chain: Chain
) -> None:
    chain.close()
    said = f"block 1 is not there any more: whole blocks begin with {FIRST}"
    with Writer(tmp_path / "new", STORY.genesis) as writer, pytest.raises(Pruned, match=said):
        copy_blocks(writer, tmp_path / SEGMENTS, lambda _: None)
    with Writer(tmp_path / "old", STORY.genesis) as writer:
        for block in STORY.blocks[: FIRST - 1]:
            writer.append(encode(block))
        copy_blocks(writer, tmp_path / SEGMENTS, lambda _: None)
        assert writer.height == LAST
        writer.finish()


def test_where_the_hashes_of_the_log_are_gone_that_is_said_too(chain: Chain) -> None:
    """As of a store that was made anew from a snapshot."""
    keys = [key for key, _ in chain._store.scan(b"n", 1 << 10) if key[1] == 0]
    chain._store.write(dict.fromkeys(keys))
    with pytest.raises(HashNotKept, match="hash 0 of level 0 of the log is not kept here"):
        chain.log_node(0, 0)
    with pytest.raises(HashNotKept):
        tile_bytes(Tile(0, 0, 2), chain.log_node)


# --- what its API says --------------------------------------------------------------------------


def prune_all(door: Door) -> int:
    """Prune every block of a node that has nothing to do; return the last height."""
    chain = door.node.running.chain
    prune(chain, chain.height + 1)
    return chain.height


async def require_gone(door: Door, path: str) -> None:
    answer = await door.get(path)
    assert (answer.status, answer.json["type"]) == (410, "urn:depoli:problem:pruned")
    assert "is not kept here" in answer.json["title"]
    assert "ask a node that keeps more, or look into an export" in answer.json["detail"]


def test_what_is_gone_is_said_to_be_gone_and_what_to_do(tmp_path: Path) -> None:
    async def ask() -> None:
        async with served(tmp_path) as door:
            old = prescription(door.genesis, "old")
            (first,) = await door.send(old)
            before = (await door.get("/v1/blocks/1")).json
            receipt = (await door.get(f"/v1/receipts/{old.id.hex()}/0", "shop_a")).body.decode()
            prune_all(door)
            await require_gone(door, f"/v1/receipts/{old.id.hex()}/0")
            await require_gone(door, "/v1/chain")
            await require_gone(door, f"/tlog/{Tile(ENTRIES, 0, 1).path}")
            after = (await door.get("/v1/blocks/1")).json
            assert (before["pruned"], after["pruned"]) == (False, True)
            for field in ("hash", "header", "certificate"):
                assert after[field] == before[field]
            decided = parse_decided((await door.get("/tlog/commit/1", None)).body.decode())
            decided.verify(door.genesis.chain_id, door.genesis.genesis.validator_set)
            parse_json(receipt).verify(door.genesis.chain_id, door.genesis.genesis.validator_set)
            # What is sent again is in the chain, and where: its sender need not wait for it.
            (again,) = await door.send(old)
            gone = {"outcomes": [], "pruned": True}
            assert again == first | gone
            assert (await door.get(f"/v1/transactions/{old.id.hex()}", "shop_b")).json == again
            new = prescription(door.genesis, "new")
            await door.send(new)
            text = (await door.get(f"/v1/receipts/{new.id.hex()}/0", "shop_a")).body.decode()
            parse_json(text).verify(door.genesis.chain_id, door.genesis.genesis.validator_set)
            assert (await door.get("/v1/chain?from=2")).status == 200
            async with open_session("auditor") as session:
                with pytest.raises(Refused, match="410") as refused:
                    await fetch_blocks(session, door.url, 1, 2)
                assert len(await fetch_blocks(session, door.url, 2, 2)) == 1
            assert "a node that keeps all" in refused.value.hint
            assert (await door.get(f"/tlog/{Tile(0, 0, 2).path}", None)).status == 200
            store = door.node.running.chain._store
            store.write({key: None for key, _ in store.scan(b"n\0", 1 << 10)})
            await require_gone(door, f"/tlog/{Tile(0, 0, 2).path}")

    run(ask())


def test_a_claim_is_told_as_it_stands_and_of_its_history_what_is_kept(tmp_path: Path) -> None:
    async def ask() -> None:
        async with served(tmp_path) as door:
            _, id_ = await door.claim("one")
            path = f"/v1/claims/{id_}"
            before = (await door.get(path, "shop_a")).json
            prune_all(door)
            assert (await door.get(path, "shop_a")).json == before | {"signed_by": None}
            assert len((await door.get("/v1/claims", "payer")).json["claims"]) == 1
            told = (await door.get(f"{path}/explanation", "payer")).json
            assert (told["state"], told["history"], told["pruned"]) == ("submitted", [], True)
            await door.send(door.made(PAYER, ClaimAccept(bytes.fromhex(id_), None)))
            told = (await door.get(f"{path}/explanation", "shop_a")).json
            assert [each["call"] for each in told["history"]] == ["ClaimAccept"]
            assert (told["state"], told["pruned"]) == ("accepted", True)
            assert (await door.get(f"{path}/explanation", "shop_b")).status == 404
            await door.send(door.made("shop-b", ClaimCancel(bytes.fromhex(id_))))  # refused
            told = (await door.get(f"{path}/explanation", "shop_b")).json
            assert [each["call"] for each in told["history"]] == ["ClaimCancel"]

    run(ask())


def test_of_evidence_that_was_pruned_who_and_when_is_told(tmp_path: Path) -> None:
    async def ask() -> None:
        async with served(tmp_path) as door:
            node = door.node.running
            await node.evidence.heard(double_vote(door.genesis, FEDERATION, 1), node.reader)
            await until(lambda: node.chain.height == 1, "no block")
            (before,) = (await door.get("/v1/evidence")).json["evidence"]
            prune_all(door)
            await door.send(prescription(door.genesis, "later"))
            (after,) = (await door.get("/v1/evidence")).json["evidence"]
            assert after == before | {
                "kind": "Pruned",
                "says": "federation contradicted himself at height 1;"
                " how, stood in block 1, which was pruned",
            }
            await require_gone(door, f"/v1/evidence/{after['id']}")

    run(ask())
