"""A process without data begins with a snapshot of the others, killed in between, and votes."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.config import FILE_NAME
from tests.network import faultnet
from tests.network.altered.sitecustomize import LEAST
from tests.network.faultnet import FaultNetwork, until

EVERY = 3  # blocks between two snapshots, in place of a hundred


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultNetwork]:
    monkeypatch.setattr("contracts.parameters.MIN_SNAPSHOT_BLOCKS", EVERY)
    with (
        faultnet.changed_python(**{LEAST: str(EVERY)}),
        faultnet.running(tmp_path / "net", snapshot_blocks=EVERY) as made,
    ):
        yield made


def test_a_node_that_lost_all_its_data_begins_with_a_snapshot_and_votes_again(
    net: FaultNetwork,
) -> None:
    label = net.labels[1]
    others = net.others(label)
    home = net.process(label).home
    net.drive(lambda: net.height(others[0]) > EVERY, *others)
    until(
        lambda: all(net.status(each)["snapshot"]["height"] >= EVERY for each in others),
        "they make no snapshot",
    )
    assert net.process(label).stop()
    shutil.rmtree(home / "data")
    text = (home / FILE_NAME).read_text("utf-8")
    assert '#mode = "blocks"' in text
    (home / FILE_NAME).write_text(text.replace('#mode = "blocks"', 'mode = "snapshot"'), "utf-8")
    net.start(label)
    until(
        lambda: net.logged(label, "peer linked")[len(others) :], "nobody is linked again"
    )  # the first are from before
    net.process(label).kill()  # while it asks, fetches, installs, or follows
    net.start(label)
    net.until_level()
    net.until_ready(label)
    assert net.logged(label, "joined by snapshot")
    assert net.status(label)["join"] is None
    first = min((home / "data" / "segments").glob("blocks-*.seg")).stem
    assert int(first.removeprefix("blocks-")) > EVERY
    net.drive(lambda: not net.status(label)["fenced"], *others)
    net.process(others[0]).kill()  # now nothing is decided without it
    net.submit(label)
    net.until_level(*net.others(others[0]))
