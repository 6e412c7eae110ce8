"""A shop's whole day over its own light node: the commands of docs/claims.md show what it says."""

import re
import shutil
import time
from contextlib import chdir
from pathlib import Path

import pytest

from node import testnet
from node.config import load_config
from node.initialise import give_token
from node.process import Process, wait_ready
from node.testnet import LocalNetwork, Organisation
from node.tokens import Scope
from scripts import night, walk

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60.0


class LightWalk(walk.Walk):
    """A walk in which one organisation uses a light node."""

    def __init__(self, network: LocalNetwork, light: Process) -> None:
        super().__init__(network)
        self._light = light

    def _await_one_height(self) -> None:
        end = time.monotonic() + DEADLINE_S
        heights: set[int] = set()
        while len(heights) != 1:
            assert time.monotonic() < end, f"they do not come to one height: {heights}"
            heights = {each["height"] for each in self._network.status()}
            heights.add(self._light.status()["height"])


def use(shop: Organisation, light: Process) -> None:
    """Let the people of a shop use its light node."""
    config = load_config(light.home)
    give_token(
        config.tokens,
        shop.home / "light.token",
        member=shop.member,
        scopes=frozenset({Scope.READ, Scope.SUBMIT}),
        label="people of the shop",
    )
    path = shop.home / "client.toml"
    text = re.sub(r"(?m)^node = .*$", f'node = "http://{config.api_listen}"', path.read_text())
    path.write_text(text.replace('token_file = "token"', 'token_file = "light.token"'))


def day() -> list[walk.Step]:
    """Return what the page types until the shop has its money."""
    blocks = walk._BLOCK.finditer(walk.PAGE.read_text("utf-8"))
    steps = [step for block in blocks for step in walk.parse_steps(block[1])]
    paid = [step.command.startswith("settlement confirm") for step in steps].index(True)
    verbs = {" ".join(step.command.split()[:2]) for step in steps[:paid] if step.who == walk.SHOP}
    assert verbs >= {"authorisation request", "claim submit", "claim dispute"}
    return steps[: paid + 1]


@pytest.mark.timeout(240)
def test_a_shops_commands_show_the_same_over_its_light_node(tmp_path: Path) -> None:
    shutil.copytree(walk.DATA, tmp_path / "desk")
    network = testnet.create(tmp_path / "network")
    network.start()
    try:
        shop = network.organisation(walk.SHOP)
        night.register_node_key(shop)
        light = night.light_node(network, shop, tmp_path / "light")
        use(shop, light)
        light.start()
        try:
            wait_ready([light])
            with chdir(tmp_path / "desk"):
                on = LightWalk(network, light)
                for step in day():
                    found = on.run(step)
                    assert walk.matches(step.seen, found), (step.typed, found)
                (tmp_path / "lot").mkdir()
                for path in sorted((ROOT / "scripts/data/claims").glob("*.json"))[:3]:
                    shutil.copy(path, tmp_path / "lot")
                receipt = str(tmp_path / "receipt.json")
                for command, shows in (
                    (f"lot submit {tmp_path / 'lot'}", "3"),
                    ("claim list", "F2025-0001"),
                    ("claim show F-2", "F-2"),
                    (f"receipt export F-2 --output {receipt}", "receipt"),
                    (f"receipt verify {receipt} --genesis {network.genesis}", "verified"),
                ):
                    found = on.run(walk.Step(walk.SHOP, command))
                    assert shows in "\n".join(found), (command, found)
        finally:
            light.stop()
    finally:
        network.stop()
