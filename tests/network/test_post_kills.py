"""A disclosure's delivery between real processes of which each is killed with SIGKILL on its way.

Killed are the shop's and the payer's commands, at each write to their vaults, and the payer's node
while it holds what came. Each is run again, as people do; nothing is lost and nothing doubled.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from node import testnet
from node.cli.main import main
from node.testnet import LocalNetwork

DATA = Path(__file__).parents[2] / "scripts" / "data" / "claims"
NUMBERS = (3, 4, 5)
GENEROUS_S = 90.0  # far above what anything here takes
SEND = ("disclosure", "send", "--all")
ROUND = ("post", "run", "--once")


@pytest.fixture
def network(tmp_path: Path) -> Iterator[LocalNetwork]:
    made = testnet.create(tmp_path / "network")
    made.start()
    try:
        yield made
    finally:
        made.stop()


class Desk:
    """An organisation at its home, whose commands may be killed."""

    def __init__(self, network: LocalNetwork, label: str) -> None:
        self.home = network.organisation(label).home

    def does(self, *args: str | Path) -> Any:  # noqa: ANN401
        line = [*map(str, args), "--home", str(self.home), "--json"]
        result = CliRunner().invoke(main, line)
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    def killed_at(self, write: int, *args: str) -> bool:
        """Run a command and kill it after so many writes to the vault; False: it ended before."""
        line = [sys.executable, "-m", "node.cli.main", *args, "--home", str(self.home)]
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + GENEROUS_S
        seen, last = 0, self._written()
        while process.poll() is None and time.monotonic() < deadline:
            now = self._written()
            seen, last = seen + (now != last), now
            if seen >= write:
                break
            time.sleep(0.001)
        process.kill()
        return process.wait() != 0

    def _written(self) -> int:
        vault = self.home / "vault.sqlite"
        return vault.stat().st_mtime_ns if vault.exists() else 0


def test_what_is_killed_at_every_step_is_delivered_and_signed_for_once(
    network: LocalNetwork, tmp_path: Path
) -> None:
    shop, payer = Desk(network, "shop-1"), Desk(network, "insurer-a")
    for number in NUMBERS:
        document = json.loads((DATA / f"f2025-{number:04}.json").read_text())
        document["claim"]["payer"] = "insurer-a"
        (tmp_path / f"{number}.json").write_text(json.dumps(document))
    shop.does("lot", "submit", *sorted(tmp_path.glob("*.json")))

    kills = sum(shop.killed_at(write, *SEND) for write in (1, 2, 3))
    assert kills >= 2
    shop.does(*SEND)
    _kill_node(network, "insurer-a")
    for write in (1, 2, 3):
        payer.killed_at(write, *ROUND)
        shop.killed_at(write, *ROUND)

    deadline = time.monotonic() + GENEROUS_S
    while shop.does("post", "status")["sent"] != {"acknowledged": len(NUMBERS)}:
        assert time.monotonic() < deadline, shop.does("disclosure", "list")
        payer.does(*ROUND)
        shop.does(*ROUND)

    sent = shop.does("disclosure", "list")
    came = payer.does("disclosure", "list")
    assert [item["state"] for item in came] == ["taken"] * len(NUMBERS)
    for fact in ("subject", "envelope", "purpose"):
        assert {item[fact] for item in sent} == {item[fact] for item in came}
    for item in came:
        assert payer.does("claim", "show", item["subject"])["disclosed"]
    assert shop.does(*SEND) == []


def _kill_node(network: LocalNetwork, label: str) -> None:
    network.kill(label)
    network.start(label)
