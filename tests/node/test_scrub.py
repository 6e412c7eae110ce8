"""The slow look at old files of blocks: each has its turn, and damage is told everywhere."""

import asyncio
import io
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ledger.errors import StoreDamaged
from ledger.segments import first_heights, write_file
from node import scrub as scrubbing
from node.chain import Chain
from node.log import Level, Log
from node.metrics import Metrics
from node.scrub import FILE_NAME, Scrub
from tests.node.test_rebuild import (
    FILE_BYTES,
    GENESIS,
    RECORDS,
    SIGNATURES,
    files,
    grown,
    spoil,
)


@dataclass
class Machine:
    """A chain that a node has open, and its scrub."""

    data: Path
    days: int = 30
    metrics: Metrics = field(default_factory=Metrics)
    told: io.StringIO = field(default_factory=io.StringIO)
    reader: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def __post_init__(self) -> None:
        self.chain = Chain.open(self.data, GENESIS, SIGNATURES, segment_bytes=FILE_BYTES)
        self.metrics.disk.watch(lambda: 5000, lambda: 200, lambda: self.chain.damage)
        self.scrub = self.restarted()

    def restarted(self) -> Scrub:
        return Scrub(
            self.data,
            self.chain,
            self.days,
            metrics=self.metrics,
            log=Log(Level.DEBUG, self.told),
            reader=self.reader,
            pause_s=0,
        )

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            asyncio.run(self.scrub.check_next())

    def figure(self, name: str) -> float:
        lines = self.metrics.text().decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))

    def close(self) -> None:
        self.chain.close()
        self.reader.shutdown()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grown(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def data(tmp_path: Path, whole: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "data"))


@pytest.fixture
def machine(data: Path) -> Iterator[Machine]:
    made = Machine(data)
    yield made
    made.close()


def test_each_sealed_file_has_its_turn_and_then_the_first_again(machine: Machine) -> None:
    starts = first_heights(machine.data / "segments")
    ends = [each - 1 for each in starts[1:]]
    seen = []
    for _ in range(len(ends) + 1):
        machine.look()
        seen.append(machine.figure("depoli_scrubbed_height"))
    assert seen == [*ends, ends[0]]
    read = sum(map(len, RECORDS[: ends[-1]])) + sum(map(len, RECORDS[: ends[0]]))
    assert machine.figure("depoli_scrubbed_bytes_total") == read
    assert (machine.chain.damage, machine.figure("depoli_blocks_damaged")) == ("", 0)
    assert machine.told.getvalue() == ""


def test_a_restart_goes_on_where_it_was(machine: Machine) -> None:
    machine.look(2)
    machine.scrub = machine.restarted()
    machine.look()
    assert (
        machine.figure("depoli_scrubbed_height") == first_heights(machine.data / "segments")[3] - 1
    )
    for text in (b"", b"no number", b"9" * 100):  # and anything else there means: from the first
        (machine.data / FILE_NAME).write_bytes(text)
        machine.look()
        first = first_heights(machine.data / "segments")[1] - 1
        assert machine.figure("depoli_scrubbed_height") == first


def test_damage_is_named_with_file_offset_height_and_command(machine: Machine) -> None:
    path = files(machine.data)[1]
    first = first_heights(machine.data / "segments")[1]
    spoil(path, 100)
    machine.look()
    assert machine.chain.damage == ""
    machine.look()
    expected = f"{path}: damaged at byte 60 (block {first}): no whole record is there"
    assert machine.chain.damage == f"{expected}; stop the node and run: depoli db heal"
    assert machine.figure("depoli_blocks_damaged") == 1
    said = json.loads(machine.told.getvalue())
    assert (said["level"], said["event"], said["reason"]) == ("error", "blocks damaged", expected)
    assert said["height"] == first


@pytest.mark.parametrize("how", ["head", "short", "gone", "long", "folder"])
def test_whatever_is_wrong_with_a_file_is_damage(machine: Machine, how: str) -> None:
    path, starts = files(machine.data)[0], first_heights(machine.data / "segments")
    if how == "head":
        spoil(path, 3)
    elif how == "short":
        write_file(path.parent, 1, GENESIS.chain_id, RECORDS[: starts[1] - 2])
    elif how == "long":
        write_file(path.parent, 1, GENESIS.chain_id, RECORDS[: starts[1]])
    elif how == "gone":  # the one behind it: now the first ends too early
        files(machine.data)[1].unlink()
    else:
        path.unlink()
        path.mkdir()
    machine.look()
    assert f"{path}: damaged at byte" in machine.chain.damage


def test_a_file_that_is_replaced_meanwhile_is_no_damage(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, starts = files(machine.data)[0], first_heights(machine.data / "segments")
    spoil(path, 100)
    slices = scrubbing._slice

    def replaced(pieces: Iterator[tuple[int, bytes | None]]) -> tuple[int, int, int | None]:
        write_file(path.parent, 1, GENESIS.chain_id, RECORDS[: starts[1] - 1])
        return slices(pieces)

    monkeypatch.setattr(scrubbing, "_slice", replaced)
    machine.look()
    assert machine.chain.damage == ""


def test_large_files_are_read_in_slices(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrubbing, "SLICE_BYTES", 1)
    machine.look()
    assert (
        machine.figure("depoli_scrubbed_height") == first_heights(machine.data / "segments")[1] - 1
    )
    assert machine.chain.damage == ""


def test_it_runs_for_ever_unless_it_is_not_wanted(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SETTLE_S", "DAY_S"):
        monkeypatch.setattr(scrubbing, name, 0.001)
    last = first_heights(machine.data / "segments")[-1] - 1

    async def until_all_were_read() -> None:
        running = asyncio.create_task(machine.restarted().run())
        while machine.figure("depoli_scrubbed_height") != last:
            assert not running.done()
            await asyncio.sleep(0.001)  # between two looks at the condition
        running.cancel()

    asyncio.run(asyncio.wait_for(until_all_were_read(), 60))
    machine.days = 0
    asyncio.run(asyncio.wait_for(machine.restarted().run(), 60))


def test_an_open_file_alone_is_nothing_to_read(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "data")
    machine.look()
    assert not (tmp_path / "data" / FILE_NAME).exists()
    machine.close()


def test_the_disk_is_among_the_figures(machine: Machine) -> None:
    assert machine.figure("depoli_disk_free_bytes") == 5000
    assert machine.figure("depoli_disk_least_bytes") == 200


def test_what_was_pruned_while_it_was_read_is_no_damage(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = machine.data / "segments"
    following = first_heights(directory)[1]
    path = files(machine.data)[0]
    path.write_bytes(path.read_bytes()[:-1])
    read = machine.scrub._damage

    async def read_then_replaced(file: scrubbing._Sealed) -> StoreDamaged | None:
        found = await read(file)
        assert found is not None
        write_file(directory, 1, machine.chain.header.chain_id, RECORDS[: following - 1])
        return found

    with monkeypatch.context() as patch:
        patch.setattr(machine.scrub, "_damage", read_then_replaced)
        machine.look()
    assert (machine.chain.damage, machine.told.getvalue()) == ("", "")
