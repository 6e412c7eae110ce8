"""The snapshots that a node makes by itself: when the members want, and never in anybody's way."""

import contextlib
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from contracts.calls import PrescriptionCommit
from contracts.execute import DirectSignatures
from contracts.parameters import Parameters
from ledger.store import View
from node import album as album_
from node import snapshots
from node.album import Album
from node.chain import Chain
from node.log import Log
from node.metrics import Metrics
from node.snapshots import Snapshot
from tests.chainmaker import Chain as Story
from tests.chainmaker import found, some_bytes
from tests.node.cluster import LABELS, Cluster, prescription, run, running, until

SIGNATURES = DirectSignatures()
EVERY = 3


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few blocks be enough."""
    monkeypatch.setattr("contracts.parameters.MIN_SNAPSHOT_BLOCKS", 1)


@dataclass
class Camera:
    """A node's chain with its album, block by block."""

    data: Path
    every: int = EVERY
    short: str = ""
    log: io.StringIO = field(default_factory=io.StringIO)
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.story = Story(found(parameters=Parameters(snapshot_blocks=self.every)))
        self.genesis = self.story.genesis.genesis
        self.chain = Chain.open(self.data, self.genesis, SIGNATURES)
        self.album = Album(
            self.data, self.chain, self.metrics, Log(stream=self.log), lambda: self.short
        )

        self.chain.block_added = self.album.block_added

    def grow(self, height: int) -> None:
        """Add blocks."""
        while self.chain.height < height:
            name = some_bytes("work", self.chain.height)
            self.story.block(self.story.transaction("shop-a", PrescriptionCommit(name)))
            committed = self.story.blocks[-1]
            executed = self.chain.execute(committed.block.body, committed.block.header, SIGNATURES)
            self.chain.commit(executed, committed.certificate)

    def wait(self) -> None:
        """Wait until what was begun is over."""
        if self.album._making is not None:
            self.album._making.result(60)

    def figure(self, name: str) -> float:
        families = text_string_to_metric_families(self.metrics.text().decode())
        return next(s.value for each in families for s in each.samples if s.name == name)

    def close(self) -> None:
        self.album.close()
        self.chain.close()


@pytest.fixture
def camera(tmp_path: Path) -> Iterator[Camera]:
    with contextlib.closing(Camera(tmp_path)) as made:
        yield made


def test_one_is_made_at_each_multiple_and_the_newest_two_are_kept(camera: Camera) -> None:
    assert camera.figure("depoli_snapshot_height") == 0
    for height in range(1, 11):
        camera.grow(height)
        camera.wait()
        assert camera.album.height == height // EVERY * EVERY
    assert snapshots.heights(camera.data) == [6, 9]
    assert camera.figure("depoli_snapshot_height") == 9
    assert camera.figure("depoli_snapshot_failures_total") == 0
    assert camera.album.failure == ""
    for height in (6, 9):
        Snapshot.open(snapshots.folder_of(camera.data, height), camera.genesis).verify()


def test_what_the_store_held_for_one_is_let_go(camera: Camera) -> None:
    """Whether it was made or not: else nothing that the store replaces is ever freed."""
    views: list[View] = []
    take = camera.chain.view

    def view() -> View:
        views.append(take())
        return views[-1]

    camera.chain.view = view  # type: ignore[method-assign]
    camera.grow(EVERY)
    camera.wait()
    camera.chain._store.write({b"s" + b"one key more": b""})
    camera.grow(2 * EVERY)
    camera.wait()
    assert camera.album.failure
    assert len(views) == 2
    for each in views:
        with pytest.raises(RuntimeError, match="closed"):
            each.get(b"tip")


def test_where_the_members_want_none_there_is_none(tmp_path: Path) -> None:
    with contextlib.closing(Camera(tmp_path, every=0)) as camera:
        camera.grow(4)
        assert camera.album._making is None
        assert camera.album.height == 0


def test_it_is_told_where_one_is_not_made_and_tried_again(
    camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(album_, "_SLICE_S", 0)  # it looks after each piece of work
    camera.short = "1 MiB free, 2 needed"
    camera.grow(EVERY)
    camera.wait()
    assert camera.album.failure == f"block {EVERY}: 1 MiB free, 2 needed"
    assert '"no snapshot made"' in camera.log.getvalue()
    assert camera.figure("depoli_snapshot_failures_total") == 1
    assert list((camera.data / "snapshots").iterdir()) == []
    camera.short = ""
    camera.grow(2 * EVERY)
    camera.wait()
    assert (camera.album.failure, camera.album.height) == ("", 2 * EVERY)


def test_a_store_that_is_not_what_it_should_be_stops_nothing(camera: Camera) -> None:
    camera.grow(1)
    camera.chain._store.write({b"s" + b"one key more": b""})
    camera.grow(EVERY + 1)
    camera.wait()
    assert camera.album.failure.startswith(f"block {EVERY}: state digest of the store")
    assert camera.chain.height == EVERY + 1


def test_a_disk_that_refuses_stops_nothing(camera: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(camera.chain, "view", refuse)
    camera.grow(EVERY)
    assert camera.album.failure == f"block {EVERY}: [Errno 5] Input/output error"
    monkeypatch.undo()
    (camera.data / "snapshots").write_text("no folder")
    camera.grow(2 * EVERY)
    camera.wait()
    assert camera.album.failure.startswith(f"block {2 * EVERY}: ")
    assert camera.figure("depoli_snapshot_failures_total") == 2


def test_there_is_one_at_a_time(camera: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def shortage() -> str:
        asked.set()
        assert go_on.wait(60)
        return ""

    monkeypatch.setattr(album_, "_SLICE_S", 0)
    monkeypatch.setattr(camera.album, "_shortage", shortage)
    camera.grow(EVERY)
    assert asked.wait(60)
    camera.grow(2 * EVERY)
    assert camera.album.failure == f"block {2 * EVERY}: the one before is still being made"
    go_on.set()
    camera.wait()
    assert snapshots.heights(camera.data) == [EVERY]  # of its height, though the chain went on
    Snapshot.open(snapshots.folder_of(camera.data, EVERY), camera.genesis).verify()


def test_a_node_that_stops_gives_up_the_one_it_makes(
    camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()
    monkeypatch.setattr(album_, "_SLICE_S", 0)
    monkeypatch.setattr(album_, "SHARE", 1 << 40)  # it rests for ever

    def shortage() -> str:
        begun.set()
        return ""

    monkeypatch.setattr(camera.album, "_shortage", shortage)
    camera.grow(EVERY)
    assert begun.wait(60)
    camera.album.close()
    assert list((camera.data / "snapshots").iterdir()) == []
    assert camera.album.failure == ""


def test_what_nobody_foresaw_is_not_swallowed(
    camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> str:
        raise AssertionError("a fault of the program")

    monkeypatch.setattr(album_, "_SLICE_S", 0)
    monkeypatch.setattr(camera.album, "_shortage", fail)
    camera.grow(EVERY)
    with pytest.raises(AssertionError):
        camera.wait()
    with pytest.raises(AssertionError, match="a fault of the program"):
        camera.grow(2 * EVERY)


def all_made(cluster: Cluster, height: int) -> bool:
    return all(node.running.album.height >= height for node in cluster.up)


def test_all_nodes_of_a_network_make_the_same_ones(tmp_path: Path) -> None:
    async def work() -> None:
        async with running(tmp_path, LABELS, snapshot_blocks=2) as cluster:
            name = 0
            for height in (2, 4):
                while min(node.height for node in cluster.up) < height:
                    name += 1
                    await cluster[LABELS[0]].commit(prescription(cluster.genesis, name))
                    await cluster.until_level()
                await until(partial(all_made, cluster, height), "a node makes no snapshot")
            genesis = cluster.genesis.genesis
            (height,) = {node.running.album.height for node in cluster.up}
            folders = [snapshots.folder_of(node.data, height) for node in cluster.up]
            for folder in folders:
                Snapshot.open(folder, genesis).verify()
            assert len({(folder / "manifest").read_bytes() for folder in folders}) == 1

    run(work())
