"""The chain of very many claims, with few: a chain like any other, from which nodes go on."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from node import testnet
from node.audit.export import Writer
from node.audit.replay import verify_export
from node.ceremony import load_genesis
from scripts import bench_audit, bench_record
from scripts.fill import FOLDER, network_in, open_chain
from scripts.trade import CLAIMS

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = 6  # in which every part of a wave's life stands


def filled(folder: Path, claims: int) -> dict[str, Any]:
    command = [sys.executable, "scripts/fill.py", "--claims", str(claims), "--out", str(folder)]
    command += ["--shops", "12", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> testnet.LocalNetwork:
    folder = tmp_path_factory.mktemp("fill") / "network"
    told = filled(folder, BLOCKS * CLAIMS - CLAIMS)
    assert (told["claims"], told["height"]) == (BLOCKS * CLAIMS - CLAIMS, BLOCKS)
    return network_in(folder)


def test_what_was_interrupted_is_gone_on_with(
    network: testnet.LocalNetwork, tmp_path: Path
) -> None:
    again = tmp_path / "network"
    shutil.copytree(network.directory, again)
    shutil.rmtree(again / FOLDER)
    filled(again, CLAIMS)
    told = filled(again, BLOCKS * CLAIMS - CLAIMS)
    whole = filled(network.directory, 0)
    assert (told["height"], told["log_root"]) == (whole["height"], whole["log_root"])


def test_fewer_shops_than_a_wave_has_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    command = [sys.executable, "scripts/fill.py", "--claims", "100", "--out", str(tmp_path / "n")]
    for few in ([*command, "--shops", "2"], command):
        done = subprocess.run(few, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "10 shops are needed, and the network has 2: see --shops" in done.stderr
        if few is not command:
            assert list(tmp_path.iterdir()) == []
            testnet.create(tmp_path / "n")  # of two shops
    assert not (tmp_path / "n" / FOLDER).exists()


def test_an_auditor_finds_it_true(network: testnet.LocalNetwork, tmp_path: Path) -> None:
    chain = open_chain(network, network.directory / FOLDER)
    path, genesis = tmp_path / "export", load_genesis(network.genesis)
    try:
        with Writer(path, genesis) as writer:
            for record in chain.records(1):
                writer.append(record)
            writer.finish()
    finally:
        chain.close()
    report = verify_export(path, genesis, workers=1)
    assert report.header.height == BLOCKS
    assert report.calls["ClaimSubmit"] == BLOCKS * CLAIMS - CLAIMS
    assert {"ClaimAccept", "ClaimReject", "SettlementConfirm"} <= report.calls.keys()
    assert not report.refusals


def test_an_audit_is_measured(network: testnet.LocalNetwork, tmp_path: Path) -> None:
    figures = bench_audit.measure(tmp_path, 0, network.directory, rounds=1)
    assert figures["claims"] == BLOCKS * CLAIMS - CLAIMS
    assert figures["signatures"] > figures["claims"] // 3  # many shops send claims one by one
    assert all(figures[name] > 0 for name in figures)


def test_nodes_begin_with_it_and_what_they_take_is_measured(
    network: testnet.LocalNetwork, tmp_path: Path
) -> None:
    figures = bench_record.committing(network, tmp_path, CLAIMS, 1)
    figures |= bench_record.running(network, tmp_path / "network", 40, 1)
    assert figures["load_committed"] == 40  # they go on from it
    assert all(figures[name] > 0 for name in figures)
    whole = filled(network.directory, 0)
    assert whole["height"] == BLOCKS  # what was measured is a copy
