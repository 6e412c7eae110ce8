"""Each reason why there is no block, brought about among real processes: the doctor names it."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from contracts.parameters import Parameters
from ledger.keys import Role
from node import ceremony, testnet
from node.cli.main import main
from node.config import FILE_NAME, load_config
from node.doctor.findings import Diagnosis, Finding, Verdict, from_json
from node.initialise import DATA_FOLDER, GENESIS_FILE, JOURNAL_FOLDER, _begin_journal
from node.journal import RESERVED_BYTES
from node.keystore import create_keys, load_keys
from node.process import Process
from tests.network import faultnet
from tests.network.altered.sitecustomize import AHEAD_MS, VERSION
from tests.network.faultnet import FaultNetwork, changed_python, new_prescription, until

A, B, C, D = (label for label, _ in testnet.FOUNDERS)  # D is the one that mostly suffers
NOWHERE = "127.0.0.1:1"
LASTING = {"twin", "passed-over"}  # findings of what was: for ten minutes, for some blocks


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultNetwork]:
    """Four nodes that all tests share; only the wires of A and B pass through the proxy."""
    with FaultNetwork.create(tmp_path_factory.mktemp("doctor") / "net") as made:
        for (source, target), proxied in made.proxy._ports.items():
            if {source, target} != {A, B}:
                edit(made, source, str(proxied), str(made.proxy._targets[target]))
        made.start()
        yield made


@pytest.fixture
def net(shared: FaultNetwork) -> FaultNetwork:
    """The network, in which the doctor finds nothing."""
    shared.proxy.heal()
    shared.start()

    def is_well() -> bool:
        found = [doctor(shared, label)[1] for label in shared.labels]
        if any(finding.cause == "fenced" for each in found for finding in each.findings):
            shared.submit(A)  # a fence is left behind by blocks
        left = [f for each in found for f in each.findings if f.cause not in LASTING]
        return not left and all(each.verdict is Verdict.IDLE for each in found)

    until(is_well, lambda: str([doctor(shared, label)[1].findings for label in shared.labels]))
    return shared


def doctor(net: FaultNetwork, label: str) -> tuple[int, Diagnosis]:
    """Run `depoli doctor` as the operator of that node; return its exit code and what it says."""
    result = CliRunner().invoke(main, ["doctor", "--config", str(home(net, label)), "--json"])
    return result.exit_code, from_json(json.loads(result.stdout))


def finds(net: FaultNetwork, label: str, cause: str, whose: Sequence[str]) -> Diagnosis:
    """Wait until the doctor finds this cause with these, and with nobody else."""
    said: list[Diagnosis] = []

    def is_found() -> bool:
        code, diagnosis = doctor(net, label)
        said.append(diagnosis)
        return code == 1 and [each.whose for each in of(diagnosis, cause)] == [
            (each,) for each in whose
        ]

    until(is_found, lambda: f"{label} does not find {cause}: {said[-1]}")
    return said[-1]


def of(found: Diagnosis, cause: str) -> list[Finding]:
    return [each for each in found.findings if each.cause == cause]


def causes(found: Diagnosis) -> set[str]:
    return {finding.cause for finding in found.findings}


def told(net: FaultNetwork, label: str) -> str:
    """Return what a person reads."""
    return CliRunner().invoke(main, ["doctor", "--config", str(home(net, label))]).stdout


def home(net: FaultNetwork, label: str) -> Path:
    return net.process(label).home


def edit(net: FaultNetwork, label: str, old: str, new: str) -> None:
    """Change a node's configuration."""
    path = home(net, label) / FILE_NAME
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


@contextmanager
def stopped(net: FaultNetwork, label: str) -> Iterator[Process]:
    """A node that is stopped while its folder is changed, and started with what it was before."""
    process = net.process(label)
    assert process.stop()
    try:
        yield process
    finally:
        process.stop()


@contextmanager
def moved_away(path: Path) -> Iterator[Path]:
    """Where a file or folder was, which is put back in the end."""
    aside = path.with_name(f"{path.name}.aside")
    path.rename(aside)
    try:
        yield path
    finally:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        aside.rename(path)


# --- all is well ----------------------------------------------------------------------------------


def test_where_nothing_waits_the_doctor_says_that_this_is_why(net: FaultNetwork) -> None:
    net.submit(A)
    net.until_level()
    code, found = doctor(net, A)
    assert (code, found.verdict) == (0, Verdict.IDLE)
    assert causes(found) <= LASTING - {"twin"}
    assert [(row.label, row.link) for row in found.rows] == [
        (A, "here"),
        (B, "linked"),
        (C, "linked"),
        (D, "linked"),
    ]
    said = told(net, A)
    assert said.startswith("Nothing waits at any node: that is why there is no block since block")
    assert all(len(line) <= 80 for line in said.splitlines())


# --- who is not there -----------------------------------------------------------------------------


def test_one_that_is_down_is_named_and_blocks_still_come(net: FaultNetwork) -> None:
    assert net.process(D).stop()
    finding = of(finds(net, A, "refused", [D]), "refused")[0]
    assert f"{D} is not linked at" in finding.what
    assert "Connection refused" in finding.evidence[0]
    net.submit(A)


def test_two_that_are_down_leave_no_quorum_and_both_are_named(net: FaultNetwork) -> None:
    net.network.stop(C, D)
    found = finds(net, A, "refused", [C, D])
    assert found.verdict is Verdict.STOPPED
    assert "2 of 4 validators are reached, 3 are needed" in found.summary
    said = told(net, B)
    assert f"{C} is not linked" in said
    assert f"{D} is not linked" in said
    assert all(len(line) <= 80 for line in said.splitlines())


def test_whose_votes_are_missing_at_which_round_is_named(net: FaultNetwork) -> None:
    made = faultnet.transaction(net.network, net.sender, new_prescription())
    for label in (C, D):
        net.pause(label)
    try:
        faultnet.post(net.network, A, [made.raw], wait_s=0)

        def votes() -> list[Finding]:
            return of(doctor(net, A)[1], "votes")

        until(lambda: [each.whose for each in votes()] == [(C, D)], "their votes are not missed")
        found = finds(net, A, "silent", [C, D])
        (finding,) = of(found, "votes")
        assert found.verdict is Verdict.STOPPED
        assert f"is in round {found.round}, led by {found.leader}, and lacks" in finding.what
        assert f"not from {C} and {D}" in " ".join(finding.evidence)
    finally:
        for label in (C, D):
            net.resume(label)
    net.send(A, made)


def test_a_cut_between_two_is_named_by_them_and_by_a_third(net: FaultNetwork) -> None:
    net.proxy.cut(A, B)
    assert finds(net, A, "unlinked", [B]).verdict is not Verdict.STOPPED

    def cuts() -> list[tuple[str, ...]]:
        return [each.whose for each in of(doctor(net, C)[1], "partition")]

    until(lambda: cuts() == [(A, B)], "the third does not see it")
    net.submit(A)
    net.until_level()  # votes go round by the others


def test_a_wrong_and_a_missing_address_are_named(net: FaultNetwork) -> None:
    right = str(load_config(home(net, D)).p2p_listen)
    ours, theirs = home(net, A) / FILE_NAME, home(net, D) / FILE_NAME
    known = [ours.read_text("utf-8"), theirs.read_text("utf-8")]
    with stopped(net, A), stopped(net, D):
        edit(net, A, right, NOWHERE)
        line = next(each for each in known[1].splitlines() if each.startswith(f'"{A}" ='))
        edit(net, D, line, "")
        net.start(A, D)
        finding = of(finds(net, A, "refused", [D]), "refused")[0]
        assert NOWHERE in finding.what
        assert "[peers]" in finding.remedy
        assert "no address is known" in of(finds(net, D, "no-address", [A]), "no-address")[0].what
    ours.write_text(known[0], "utf-8")
    theirs.write_text(known[1], "utf-8")


# --- machines -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ahead_ms", "way"), [(20_000, "ahead of"), (-20_000, "behind")])
def test_a_clock_that_is_off_is_named_with_by_how_much(
    net: FaultNetwork, ahead_ms: int, way: str
) -> None:
    with stopped(net, D) as process:
        with changed_python(**{AHEAD_MS: str(ahead_ms)}):
            process.start()
        for label in (A, D):  # it is named by others, and by itself
            found = finds(net, label, "clock", [D])
            what = of(found, "clock")[0].what
            seconds = float(what.split(" is ")[1].split(" s ")[0])
            assert seconds == pytest.approx(20.0, abs=0.5)
            assert f" s {way}" in what


def test_another_version_is_named(net: FaultNetwork) -> None:
    with stopped(net, D) as process:
        with changed_python(**{VERSION: "9.9.9"}):
            process.start()
        found = finds(net, A, "version", [D])
        assert f"{D} runs version 9.9.9, most run" in of(found, "version")[0].what
        until(lambda: causes(doctor(net, A)[1]) - LASTING == {"version"}, "it finds more")
        assert [row.version for row in found.rows][3] == "9.9.9"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_disk_that_is_nearly_full_is_named_and_then_the_one_that_is_full(
    net: FaultNetwork,
) -> None:
    with stopped(net, D) as process:
        data = process.home / DATA_FOLDER
        with small_disk(process):
            process.start()
            finds(net, A, "disk", [D])
            passing = LASTING | {"fenced"}  # its journal is a copy
            until(
                lambda: causes(doctor(net, A)[1]) - passing == {"disk"},
                lambda: f"it finds {causes(doctor(net, A)[1])}",
            )
            fill(data)

            def died() -> bool:
                net.submit(A)
                return process.pid() is None

            until(died, "it goes on")
            finds(net, A, "refused", [D])
            code, own = doctor(net, D)
            assert code == 13
            assert causes(own) == {"not-running", "disk"}
            assert "No space left on device" in " ".join(of(own, "not-running")[0].evidence)


@contextmanager
def small_disk(process: Process) -> Iterator[None]:
    """A node's data on a disk of its own with less room than the members voted, and enough to run.

    The room is for a journal that begins new files, and for LevelDB, which writes its log as a
    table before it removes it.
    """
    folder = process.home / DATA_FOLDER
    held = sum(path.stat().st_size for path in folder.rglob("*"))
    size = held + 4 * RESERVED_BYTES + (64 << 20)
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False).returncode:
        folder.rmdir()
        aside.rename(folder)
        pytest.skip("nothing can be mounted here")
    try:
        shutil.copytree(aside, folder, dirs_exist_ok=True)
        yield
    finally:
        process.stop()  # else its disk is busy
        (folder / "filling").unlink(missing_ok=True)
        shutil.rmtree(aside)
        shutil.copytree(folder, aside)  # what it signed there is not forgotten
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()
        aside.rename(folder)


def fill(folder: Path) -> None:
    """Leave no room on the disk of a folder."""
    with (folder / "filling").open("wb", buffering=0) as file:
        block = bytes(1 << 16)
        try:
            while file.write(block):
                pass
        except OSError:
            pass


# --- keys and genesis -----------------------------------------------------------------------------


def test_a_wrong_node_key_is_named_on_both_sides(net: FaultNetwork, tmp_path: Path) -> None:
    create_keys(tmp_path, [Role.TLS])
    with stopped(net, D) as process:
        seed = load_config(process.home).keys / "node.seed"
        with moved_away(seed):
            shutil.copy(tmp_path / "node.seed", seed)
            process.start()
            assert (
                "shows a node key" in of(finds(net, A, "certificate", [D]), "certificate")[0].what
            )
            own = finds(net, D, "own-key-refused", [A, B, C])
            assert {"node-key", "alone", "own-key-refused"} <= causes(own)
            assert own.verdict is Verdict.STOPPED
            process.stop()


def test_another_genesis_is_named_on_both_sides(net: FaultNetwork, tmp_path: Path) -> None:
    organisations = net.network.organisations
    labels = list(net.labels)
    testnet._hold_ceremony(tmp_path / "ceremony", organisations, labels, Parameters())
    with (
        stopped(net, D) as process,
        moved_away(process.home / GENESIS_FILE) as genesis,
        moved_away(process.home / DATA_FOLDER) as data,
    ):
        shutil.copy(tmp_path / "ceremony" / GENESIS_FILE, genesis)
        chain_id = ceremony.load_genesis(genesis).chain_id
        keys = load_keys(load_config(process.home).keys, [Role.CONSENSUS])
        _begin_journal(data, chain_id + keys[Role.CONSENSUS].public)
        process.start()
        finds(net, A, "other-chain", [D])
        own = finds(net, D, "other-chain", [A, B, C])
        assert chain_id.hex() in of(own, "other-chain")[0].evidence[0]
        assert "alone" in causes(own)
        process.stop()


def test_a_wrong_consensus_key_is_named(net: FaultNetwork, tmp_path: Path) -> None:
    create_keys(tmp_path, [Role.CONSENSUS])
    with stopped(net, D) as process:
        seed = load_config(process.home).keys / "consensus.seed"
        with moved_away(seed):
            shutil.copy(tmp_path / "consensus.seed", seed)
            process.start()
            for label in (A, D):
                finding = of(finds(net, label, "consensus-key", [D]), "consensus-key")[0]
                assert finding.evidence == ("the key is nobody's",)
            process.stop()


def test_a_lost_journal_shows_as_a_validator_that_signs_nothing_yet(net: FaultNetwork) -> None:
    with stopped(net, D) as process:
        shutil.rmtree(process.home / DATA_FOLDER / JOURNAL_FOLDER)
        process.start()
        for label in (A, D):
            assert "signs nothing yet" in of(finds(net, label, "fenced", [D]), "fenced")[0].what
        process.ask_to_stop()


# --- the node itself ------------------------------------------------------------------------------


def test_a_node_that_hangs_is_told_from_one_that_is_down(net: FaultNetwork) -> None:
    net.pause(D)
    try:
        finds(net, A, "silent", [D])
        code, own = doctor(net, D)
    finally:
        net.resume(D)
    assert (code, own.verdict) == (13, Verdict.DOWN)
    assert causes(own) == {"no-answer"}
    net.process(D).kill()
    code, own = doctor(net, D)
    assert (code, own.verdict) == (13, Verdict.DOWN)
    assert causes(own) == {"not-running"}
    assert "Connection refused" in of(own, "not-running")[0].evidence[0]


def test_two_nodes_with_one_key_are_named(net: FaultNetwork, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(home(net, D), copy)
    settings = load_config(copy)
    ports = testnet._free_ports(3)
    text = (copy / FILE_NAME).read_text("utf-8")
    for old, new in zip(
        (settings.p2p_listen, settings.api_listen, settings.admin_listen), ports, strict=True
    ):
        text = text.replace(str(old), str(new))
    (copy / FILE_NAME).write_text(text, "utf-8")
    twin = Process("twin", copy)
    twin.start()
    try:
        found = finds(net, A, "twin", [D])
        assert len(of(found, "twin")[0].evidence) == 2
        finds(net, D, "twin", [D])
    finally:
        twin.kill()
    net.submit(A)
