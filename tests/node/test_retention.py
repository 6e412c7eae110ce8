"""What a running node forgets by itself: what is too old, and only what a snapshot stands for."""

import contextlib
import io
import json
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from contracts.calls import PrescriptionCommit
from contracts.parameters import Parameters
from ledger.receipt import parse_json, to_json
from ledger.segments import Segments, first_heights, segment_path
from ledger.transaction import Transaction, parse
from node import retention as retention_
from node import snapshots
from node.chain import SEGMENTS, Chain
from node.log import Log
from node.metrics import Metrics
from node.rebuild import Rebuild
from node.retention import Retention
from tests.chainmaker import Chain as Story
from tests.chainmaker import found, some_bytes
from tests.node.cluster import LABELS, Cluster, Node, prescription, run, running, until
from tests.node.test_rebuild import SIGNATURES

KEPT = 6  # in place of a thousand
RETENTION = 10


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    with (
        patch("contracts.parameters.MIN_RETENTION_BLOCKS", KEPT),
        patch("contracts.parameters.MIN_SNAPSHOT_BLOCKS", 1),
        patch.object(retention_, "SHARE", 5),
        patch("node.journal.ROTATE_HEIGHTS", KEPT),
    ):
        yield


@dataclass
class Keeper:
    """A node's chain, what it keeps of it, and how often it rested."""

    data: Path
    retention_blocks: int = RETENTION
    log: io.StringIO = field(default_factory=io.StringIO)
    metrics: Metrics = field(default_factory=Metrics)
    paused: int = 0

    def __post_init__(self) -> None:
        self.story = Story(found(parameters=Parameters(retention_blocks=self.retention_blocks)))
        self.genesis = self.story.genesis.genesis
        self.open()

    def open(self) -> None:
        self.chain = Chain.open(self.data, self.genesis, SIGNATURES)
        self.retention = Retention(self.data, self.chain, self.metrics, Log(stream=self.log))

    def grow(self, height: int) -> None:
        while self.chain.height < height:
            name = some_bytes("work", self.chain.height)
            self.story.block(self.story.transaction("shop-a", PrescriptionCommit(name)))
            committed = self.story.blocks[-1]
            executed = self.chain.execute(committed.block.body, committed.block.header, SIGNATURES)
            self.chain.commit(executed, committed.certificate)

    def photograph(self) -> Path:
        with contextlib.closing(self.chain.view()) as view:
            return snapshots.create(view, self.data, self.genesis)

    def prune(self) -> int:
        """Return from where on bodies are kept."""
        self.retention.prune(self.pause)
        return self.chain.first_body

    def pause(self) -> None:
        self.paused += 1

    def said(self, event: str) -> list[dict[str, Any]]:
        lines = map(json.loads, self.log.getvalue().splitlines())
        return [each for each in lines if each["event"] == event]

    def canaries(self, heights: range) -> set[int]:
        """Return of which of these blocks a file of the folder holds a signature of a sender."""
        files = b"".join(path.read_bytes() for path in self.data.rglob("*") if path.is_file())
        return {n for n in heights if self._signature(n) in files}

    def _signature(self, height: int) -> bytes:
        return parse(self.story.blocks[height - 1].block.body.transactions[0]).signature


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    made = Keeper(tmp_path / "data")
    yield made
    made.chain.close()


def test_what_is_older_than_the_members_want_goes_a_file_at_a_time(keeper: Keeper) -> None:
    keeper.grow(30)
    assert keeper.prune() == 1  # without a snapshot
    assert [each["reason"] for each in keeper.said("nothing pruned")] == [
        "no snapshot on disk verifies"
    ]
    keeper.photograph()
    starts = first_heights(keeper.data / SEGMENTS)
    assert starts == list(range(1, 31, RETENTION // 5))  # small enough to go in time
    assert keeper.prune() == 21 == keeper.chain.height + 1 - RETENTION
    assert keeper.canaries(range(1, 31)) == set(range(21, 31))
    assert [each["height"] for each in keeper.said("blocks pruned")] == list(range(2, 21, 2))
    assert keeper.paused >= 20
    assert b"depoli_first_body 21.0" in keeper.metrics.text()
    keeper.paused = 0
    keeper.grow(31)
    assert keeper.prune() == 21  # of the next file a part is still wanted
    assert keeper.paused == 0  # and for that no snapshot is read
    with Rebuild(closed(keeper).data, keeper.genesis, SIGNATURES) as rebuild:
        assert rebuild.verify().is_sound


def closed(keeper: Keeper) -> Keeper:
    keeper.chain.close()
    return keeper


def test_only_what_a_snapshot_stands_for_goes(keeper: Keeper) -> None:
    keeper.grow(8)
    keeper.photograph()
    keeper.grow(30)
    assert keeper.prune() == 9
    keeper.photograph()
    snapshots.keep_newest(keeper.data, 30)
    assert keeper.prune() == 9  # who still fetches the one of 8 finds the blocks above it
    keeper.grow(31)
    keeper.photograph()
    snapshots.keep_newest(keeper.data, 31)
    assert keeper.prune() == 21


def test_where_the_members_keep_all_nothing_goes(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "data", retention_blocks=0)
    keeper.grow(30)
    keeper.photograph()
    assert keeper.prune() == 1
    assert first_heights(keeper.data / SEGMENTS) == [1]
    assert keeper.log.getvalue() == ""
    keeper.chain.close()


class _Stop(Exception):
    pass


def test_what_was_interrupted_is_gone_on_with(keeper: Keeper) -> None:
    keeper.grow(30)
    keeper.photograph()

    def stop() -> None:
        keeper.pause()
        if keeper.paused > 8:
            raise _Stop

    with pytest.raises(_Stop):
        keeper.retention.prune(stop)
    assert 1 < keeper.chain.first_body < 21
    keeper.chain.close()
    keeper.open()
    assert 1 < keeper.chain.first_body < 21
    assert keeper.prune() == 21
    assert keeper.canaries(range(1, 31)) == set(range(21, 31))


def test_damage_is_told_and_stops_nothing(keeper: Keeper) -> None:
    keeper.grow(30)
    keeper.photograph()
    path = segment_path(keeper.data / SEGMENTS, 5)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert keeper.prune() == 5
    assert "stop the node and run: depoli db heal" in keeper.chain.damage
    (told,) = keeper.said("blocks damaged")
    assert told["height"] == 6
    keeper.grow(31)


def test_a_disk_that_refuses_is_told_and_stops_nothing(keeper: Keeper) -> None:
    keeper.grow(30)
    keeper.photograph()
    with patch("ledger.segments.write_file", side_effect=OSError(28, "No space left on device")):
        assert keeper.prune() == 1
    (told,) = keeper.said("nothing pruned")
    assert "No space left" in told["reason"]
    assert keeper.prune() == 21


def test_the_store_is_durable_before_the_first_file_is_replaced(keeper: Keeper) -> None:
    keeper.grow(30)
    keeper.photograph()
    done: list[str] = []
    real = Segments.prune

    def spy(kept: Segments, *arguments: Any) -> Iterator[object]:  # noqa: ANN401
        done.append("prune")
        yield from real(kept, *arguments)

    with (
        patch.object(retention_, "sync_tree", lambda folder: done.append(f"sync {folder.name}")),
        patch.object(Segments, "prune", spy),
    ):
        keeper.prune()
    assert done == ["sync state", "prune"]


def test_blocks_are_added_and_read_while_it_prunes(keeper: Keeper) -> None:
    keeper.grow(30)
    keeper.photograph()
    pruner = threading.Thread(target=keeper.prune)
    pruner.start()
    keeper.grow(60)
    pruner.join()
    assert keeper.chain.first_body == 21
    assert [keeper.chain.head(n).header.height for n in range(1, 61)] == list(range(1, 61))
    assert keeper.chain.block(60) == keeper.story.blocks[-1]


def test_a_node_without_the_snapshot_for_what_it_pruned_warns(keeper: Keeper) -> None:
    keeper.grow(30)
    folder = keeper.photograph()
    keeper.prune()
    for is_there in (True, False):
        keeper.chain.close()
        if not is_there:
            shutil.rmtree(folder)
        keeper.open()
        warned = keeper.said("no snapshot stands for the blocks that were pruned")
        assert len(warned) == (not is_there)


# --- a network ------------------------------------------------------------------------------------


def holds(node: Node, transaction: Transaction) -> list[str]:
    """Return which files of a node hold a transaction, by its signature."""
    found = []
    for folder, _, names in os.walk(node.data):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # one that it replaced just now
                if transaction.signature in Path(folder, name).read_bytes():
                    found.append(name)
    return found


def has_forgotten(cluster: Cluster, transaction: Transaction) -> bool:
    return not any(holds(node, transaction) for node in cluster.up)


def test_a_network_forgets_and_its_old_receipts_verify(tmp_path: Path) -> None:
    """Each node by itself: no file of its folder holds what was in the oldest blocks."""

    async def work() -> None:
        async with running(tmp_path, LABELS, snapshot_blocks=5, retention_blocks=KEPT) as cluster:
            first = cluster[LABELS[0]]
            canary = prescription(cluster.genesis, "canary")
            (old,) = await first.commit(canary)
            assert old.height == 1
            receipt = first.running.chain.receipt(canary.id, 0)
            assert receipt is not None
            await cluster.until_level()
            assert all(holds(node, canary) for node in cluster.up)
            number, last = 0, canary
            while not has_forgotten(cluster, canary):
                number += 1
                assert number < 100, [holds(node, canary) for node in cluster.up]
                last = prescription(cluster.genesis, number)
                await first.commit(last)
                await cluster.until_level()
                await until(partial(is_photographed, cluster), "a snapshot is not made")
            chain = first.running.chain
            told = chain.committed(canary.id)
            assert told is not None
            assert (told.height, told.sender) == (1, None)
            newest = chain.receipt(last.id, 0)
            assert newest is not None
            validators = cluster.genesis.genesis.validator_set
            for each in (receipt, newest):
                parse_json(to_json(each)).verify(cluster.genesis.chain_id, validators)
            assert all(node.running.chain.first_body > 1 for node in cluster.up)
            assert not any(node.said("blocks damaged") for node in cluster.up)

    run(work())


def is_photographed(cluster: Cluster) -> bool:
    """Return whether all have the snapshot that is due, and nothing else to do with it."""
    due = min(node.height for node in cluster.up) // 5 * 5
    albums = [node.running.album for node in cluster.up]
    is_done = all(each._making is None or each._making.done() for each in albums)
    return is_done and all(each.height >= due for each in albums)


def prune_by_hand(node: Node, before: int) -> None:
    """Prune a node that has nothing to do just now."""
    segments = node.running.chain.segments
    segments.seal()
    assert [each.height for each in segments.prune(before)] == [before - 1]


def test_a_node_that_is_far_behind_takes_old_blocks_from_who_kept_them(tmp_path: Path) -> None:
    """Nobody is blamed for what it pruned; where nobody has it, that is said, with what to do."""

    async def work() -> None:
        async with running(tmp_path, LABELS, snapshot_blocks=0) as cluster:
            first = cluster[LABELS[0]]
            for number in range(6):
                await first.commit(prescription(cluster.genesis, number))
            await cluster.until_level()
            block = first.running.chain.block(1)
            for label in LABELS:
                prune_by_hand(cluster[label], 2 if label == LABELS[-1] else 5)
            late = cluster.observer
            late.start()
            try:
                told = "no peer keeps the next block"
                await until(lambda: late.said(told), "it does not say what it lacks")
                (line, *_) = [each for each in late.events() if each["event"] == told]
                assert (line["height"], line["kept_from"]) == (1, 2)
                assert late.height == 0
                assert (await late.running.checkup.facts()).kept_from == 2
            finally:
                await late.stop()
            # One that has the first block gets the others from the one that kept them.
            stored = Chain.open(late.data, cluster.genesis.genesis, SIGNATURES)
            stored.commit(
                stored.execute(block.block.body, block.block.header, SIGNATURES), block.certificate
            )
            stored.close()
            late.start()
            await until(lambda: late.height == first.height, "it does not catch up")
            blamed = [e for e in late.events() if e["event"] == "peer avoided in catching up"]
            assert not any("has no block" in each["reason"] for each in blamed)
            assert not late.said("peer penalised")
            await late.stop()

    run(work())
