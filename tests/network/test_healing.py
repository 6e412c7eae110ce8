"""A validator whose disk lost blocks, among real processes: it says so, is healed, votes again."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ledger.segments import first_heights, segment_path
from node.cli.main import main
from node.config import load_config
from node.errors import Exit
from node.process import NodeDied, wait_ready
from tests.network.faultnet import FaultNetwork


def test_a_validator_whose_blocks_are_damaged_is_healed_from_a_peer(net: FaultNetwork) -> None:
    a, *_, d = net.labels
    for _ in range(3):
        net.submit(a)
    net.until_level()
    process = net.process(d)
    assert process.stop()
    segments = load_config(process.home).data / "segments"
    path = segment_path(segments, first_heights(segments)[-1])
    _overwrite(path, 100)
    process.start()
    with pytest.raises(NodeDied, match=r"damaged at byte 60 \(block 1\)") as died:
        wait_ready([process])
    assert any("depoli db heal --config" in line for line in died.value.tail)
    config = load_config(net.process(a).home)
    host, port = config.api_listen
    token = net.network.auditor.home / "token"
    words = ["db", "heal", "--config", str(process.home), "--json"]
    words += ["--from", f"http://{host}:{port}", "--token-file", str(token)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == Exit.OK, done.output
    assert json.loads(done.stdout)["healed"] == [1]
    process.start()
    wait_ready([process])
    net.submit(a)
    net.require_whole()


def _overwrite(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        before = file.read(4)
        file.seek(offset)
        file.write(bytes(byte ^ 0xFF for byte in before))
