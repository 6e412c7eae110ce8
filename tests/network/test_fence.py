"""Validators whose journal is lost, old or copied, as processes: nothing is ever contradicted."""

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from node import testnet
from node.cli.main import main
from node.config import FILE_NAME, load_config
from node.process import PID_FILE, NoAnswer, Process, request
from tests.network import faultnet
from tests.network.faultnet import FaultNetwork, until


@pytest.fixture(autouse=True)
def _whole_at_last(net: FaultNetwork) -> Iterator[None]:
    yield
    net.mend()
    if any(map(silence, net.network.processes)):
        net.drive(lambda: not any(map(silence, net.network.processes)))
    for label in net.labels:
        assert contradictions(net.process(label)) == 0


def metric(process: Process, name: str) -> float:
    """Return the sum of a metric over its labels."""
    _, body = request(load_config(process.home).admin_listen, "/metrics")
    found = re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", body.decode(), re.MULTILINE)
    return sum(map(float, found))


def contradictions(process: Process) -> float:
    """Return how many contradictions a node ever met, whoever's."""
    return metric(process, "depoli_evidence_total")


def silence(process: Process) -> str:
    """Return why a validator signs nothing, "" where it does; that it is down, too."""
    try:
        return str(process.status()["silence"])
    except NoAnswer as error:
        return str(error)


def journal_of(data: Path) -> Path:
    (path,) = (data / "journal").glob("*.journal")
    return path


def save(data: Path, saved: Path) -> None:
    subprocess.run(["cp", "-a", data, saved], check=True)


# --- what may become of a folder --------------------------------------------------------------


def put_back_over(data: Path, saved: Path) -> None:
    """Write a backup over what is there; what the store wrote since is removed by hand."""
    shutil.rmtree(data / "state")
    subprocess.run(["cp", "-a", f"{saved}/.", data], check=True)


def put_back_anew(data: Path, saved: Path) -> None:
    shutil.rmtree(data)
    save(saved, data)


def put_back_journal(data: Path, saved: Path) -> None:
    shutil.rmtree(data / "journal")
    save(saved / "journal", data / "journal")


def delete_journal(data: Path, saved: Path) -> None:
    del saved
    shutil.rmtree(data / "journal")


def shorten_journal(data: Path, saved: Path) -> None:
    """Cut the journal at a length that it had, as if nothing had been written after."""
    os.truncate(journal_of(data), journal_of(saved).stat().st_size)


def lose_everything(data: Path, saved: Path) -> None:
    del saved
    shutil.rmtree(data)


DAMAGES = (
    put_back_over,
    put_back_anew,
    put_back_journal,
    delete_journal,
    shorten_journal,
    lose_everything,
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_journal_that_is_not_the_newest_signs_nothing_before_it_is_safe(
    net: FaultNetwork, tmp_path: Path, damage: Callable[[Path, Path], None]
) -> None:
    label = net.labels[DAMAGES.index(damage) % len(net.labels)]
    process, others = net.process(label), net.others(label)
    data = load_config(process.home).data
    net.until_level()
    save(data, tmp_path / "saved")
    for via in others:
        net.submit(via)
    height = net.until_level()
    process.kill()
    damage(data, tmp_path / "saved")
    net.start(label)
    (said,) = net.logged(label, "journal not current")[-1:]
    until(lambda: "nothing below height" in silence(process), lambda: silence(process))
    (first,) = re.findall(r"nothing below height (\d+)", silence(process))
    assert int(first) >= height + 3, said
    until(lambda: metric(process, "depoli_fenced") == 1, "its metric does not say so")
    net.drive(lambda: silence(process) == "", *others)
    assert net.height(label) + 1 >= int(first)
    net.process(others[0]).kill()  # now nothing is decided without it
    net.submit(label)


def test_a_chain_that_is_lost_makes_no_journal_forget(net: FaultNetwork) -> None:
    label = net.labels[3]
    process, others = net.process(label), net.others(label)
    data = load_config(process.home).data
    process.kill()
    shutil.rmtree(data / "segments")
    shutil.rmtree(data / "state")
    net.start(label)
    net.until_level()
    until(lambda: silence(process) == "", lambda: silence(process))
    net.process(others[0]).kill()
    net.submit(label)


def test_owner_mode_and_place_of_all_folders_at_once_change_nothing(net: FaultNetwork) -> None:
    before = {label: len(net.logged(label, "journal not current")) for label in net.labels}
    for process in net.network.processes:
        process.kill()
    for process in net.network.processes:
        data = load_config(process.home).data
        subprocess.run(["chown", "-R", f"{os.getuid()}:{os.getgid()}", data], check=True)
        subprocess.run(["chmod", "-R", "u+rwX,go-rwx", data], check=True)
        data.rename(data.with_name("moved"))
        data.with_name("moved").rename(data)
    net.start()
    net.submit(net.labels[0])
    for label, count in before.items():
        assert len(net.logged(label, "journal not current")) == count


# --- too few left -----------------------------------------------------------------------------


def test_when_too_many_journals_are_lost_their_operators_alone_let_them_go_on(
    net: FaultNetwork, tmp_path: Path
) -> None:
    wiped, intact = net.labels[:2], net.labels[2:]
    height = net.until_level()
    for label in wiped:
        net.process(label).kill()
    waiting = faultnet.transaction(net.network, net.sender, faultnet.new_prescription())
    faultnet.post(net.network, intact[0], [waiting.raw], wait_s=1)  # signed, and not decided
    for label in wiped:
        shutil.rmtree(load_config(net.process(label).home).data / "journal")
    net.start(*wiped)
    for label in wiped:  # they follow, serve and say why they do not vote
        until(lambda at=label: "nothing below height" in silence(net.process(at)), "it has a fence")  # type: ignore[misc]
    assert net.heights() == dict.fromkeys(net.labels, height)
    assert all(net.network.stop().values())
    testimonies = [str(tmp_path / label) for label in net.labels]
    for label, path in zip(net.labels, testimonies, strict=True):
        depoli("resume", "testify", "--config", net.process(label).home, "--output", path)
    for label in wiped:
        home = net.process(label).home
        go_on = ("resume", "confirm", "--config", home, "--agreed-height", height)
        assert depoli(*go_on, *testimonies[1:], code=6) == ""  # one is missing
        answer = json.loads(depoli(*go_on, "--json", *testimonies))
        assert answer["resuming"] == list(wiped)
    net.start()
    net.send(intact[0], waiting)
    for label in net.labels:
        net.submit(label)
    assert not any(map(silence, net.network.processes))


def depoli(*words: object, code: int = 0) -> str:
    """Run `depoli node …`; return what it printed."""
    ended = CliRunner().invoke(main, ["node", *map(str, words)])
    assert ended.exit_code == code, ended.stderr
    return ended.stdout


# --- two of one -------------------------------------------------------------------------------


@contextlib.contextmanager
def copied(net: FaultNetwork, label: str, folder: Path) -> Iterator[Process]:
    """A copy of a validator's folder, with ports of its own, as a process that can be started."""
    home = net.process(label).home
    subprocess.run(["cp", "-a", home, folder], check=False)  # files come and go meanwhile
    shutil.rmtree(folder / "data" / "state")  # made again from the blocks
    (folder / PID_FILE).unlink()
    config = load_config(home)
    old = (config.p2p_listen, config.api_listen, config.admin_listen)
    text = (folder / FILE_NAME).read_text("utf-8").replace(str(home), str(folder))
    for address, new in zip(old, testnet._free_ports(len(old)), strict=True):
        assert str(address) in text
        text = text.replace(str(address), str(new))
    (folder / FILE_NAME).write_text(text, "utf-8")
    (folder / "node.log").unlink()
    copy = Process(label, folder)
    yield copy
    copy.kill()


def test_a_copy_of_a_running_validator_signs_nothing_and_is_named(
    net: FaultNetwork, tmp_path: Path
) -> None:
    label = net.labels[1]
    original, others = net.process(label), net.others(label)
    with net.loaded(), copied(net, label, tmp_path / "copy") as copy:
        copy.start()
        until(lambda: not copy.not_ready("/livez"), copy.not_ready)
        until(
            lambda: any(net.status(each)["twins"] for each in others),
            "nobody names the two",
        )
        promised = journal_of(load_config(copy.home).data).stat().st_size
        for _ in range(10):  # while the original goes on
            net.submit(label)
            assert silence(copy)
            assert silence(original) == ""
        until(lambda: metric(copy, "depoli_fenced") == 1, "its metric does not say so")
        assert journal_of(load_config(copy.home).data).stat().st_size == promised


def test_when_a_copy_took_over_the_original_signs_nothing_before_it_is_safe(
    net: FaultNetwork, tmp_path: Path
) -> None:
    label = net.labels[2]
    original, others = net.process(label), net.others(label)
    with copied(net, label, tmp_path / "copy") as copy:
        original.kill()
        copy.start()
        until(lambda: not copy.not_ready("/livez"), copy.not_ready)
        net.drive(lambda: silence(copy) == "", *others)  # behind its fence it may
        net.process(others[0]).kill()
        net.submit(others[1])  # with the copy's vote
        net.start(others[0])
        net.until_ready(others[0])
        original.start()
        until(lambda: not original.not_ready("/livez"), original.not_ready)
        for via in others:
            net.submit(via)
            assert silence(original)  # nobody answers it while the copy lives
    net.drive(lambda: silence(original) == "", *others)
    assert metric(original, "depoli_foreign_signatures_total") >= 1
    assert net.logged(label, "signing begins at a height")
