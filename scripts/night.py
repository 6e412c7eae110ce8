"""What a light node of a shop takes to catch up: from nothing, and after a night offline.

Four real nodes begin with a chain that `scripts/fill` makes. The light node of one shop, a process
of its own, follows them over TLS: first all that ever concerned the shop, then, stopped, what a
night brings: 50 claims, each decided. Told are the bytes that it took, its processor time, memory.
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from click.testing import CliRunner

from contracts import calls
from contracts.commitment import lock_of
from ledger.keys import Algorithm, Role
from ledger.transaction import Transaction, created_id
from node import keystore
from node.cli.home import load_home
from node.cli.main import main as depoli
from node.client.client import NodeClient
from node.config import Address, Mode, load_config
from node.initialise import Settings, initialise
from node.process import Process, wait_ready
from node.testnet import LocalNetwork, Organisation
from scripts.fill import bar, fill, give, network_in
from scripts.trade import SHOPS, Trade, Wave

SHOP: Final = "shop-1"
SHOPS_THERE: Final = 450  # 22,500 claims are 50 of each, and 100,000 entries
WAIT_S: Final = 300.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Do what the arguments ask for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--claims", type=int, default=22_500, metavar="N", help="in the chain")
    parser.add_argument("--shops", type=int, default=SHOPS_THERE, help="of the network")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        told = measure(Path(folder) / "network", options.claims, options.shops)
    if options.json:
        print(json.dumps(told))
    else:
        for name, value in told.items():
            print(f"{name:18} {value}")
    return 0


def measure(folder: Path, claims: int, shops: int) -> dict[str, Any]:
    """Return the chain's size and what the light node took, both times."""
    network = network_in(folder, shops)
    made = fill(network, claims, show=bar if sys.stderr.isatty() else lambda *_: None)
    give(network)
    network.start()
    try:
        shop = network.organisation(SHOP)
        register_node_key(shop)
        light = light_node(network, shop, folder / "light")
        told: dict[str, Any] = {"entries": made["entries"], "members": made["members"]}
        told["first"] = followed(light, network)
        told["night_claims"] = asyncio.run(night(network, shop))
        told["night"] = followed(light, network)
        return told
    finally:
        network.stop()


def register_node_key(shop: Organisation) -> None:
    """Make the TLS key of a shop's node, and register it as its people would."""
    path = shop.keys / f"{keystore.FILE_NAMES[Role.TLS]}{keystore.SUFFIX}"
    keystore.create_key(path, Algorithm.ED25519)
    line = ["member", "add-key", str(path), "--role", "node", "--home", str(shop.home)]
    done = CliRunner().invoke(depoli, line)
    assert done.exit_code == 0, done.output


def light_node(network: LocalNetwork, shop: Organisation, home: Path) -> Process:
    """Make the folder of a shop's light node, whose peers are all validators."""
    listen, api, admin = free_addresses(3)
    peers = {each.label: load_config(each.node).p2p_listen for each in network.validators}
    settings = Settings(Mode.LIGHT, shop.keys, listen, api, admin, peers, False, shop.label)  # noqa: FBT003
    initialise(home, network.genesis, settings)
    return Process(shop.label, home)


def free_addresses(count: int) -> list[Address]:
    """Return addresses of this machine on which nothing listens now."""
    with contextlib.ExitStack() as held:  # each until all are found, so that none is found twice
        probes = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [Address(*probe.getsockname()) for probe in probes]


def followed(light: Process, network: LocalNetwork) -> dict[str, Any]:
    """Run the light node until it has everything and every receipt; return what it took."""
    began = time.monotonic()
    light.start()
    try:
        wait_ready([light], WAIT_S)
        while not is_level(status := light.status(), network):
            assert time.monotonic() - began < WAIT_S, status
            time.sleep(0.05)  # between two looks at the condition
        seconds = time.monotonic() - began
        pid = light.pid()
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        memory = Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]
        return {
            "seconds": round(seconds, 1),
            "cpu_s": round((int(fields[11]) + int(fields[12])) / _TICKS, 2),
            "downloaded": status["downloaded"],
            "rss_mb": round(int(memory) / 1024, 1),
            "entries": status["entries"],
            "receipts": status["receipts"],
            "height": status["height"],
        }
    finally:
        light.stop()


def is_level(status: dict[str, Any], network: LocalNetwork) -> bool:
    """Return whether the light node has what the nodes have."""
    height = max(each["height"] for each in network.status())
    return bool(status["height"] == height and status["receipts"] == status["entries"])


async def night(network: LocalNetwork, shop: Organisation) -> int:
    """Let a shop claim and the payers decide, through whole nodes; return how many claims."""
    trade = Trade(network, 0)
    until = int(time.time()) + 3_600
    senders = {each.member: each for each in (*trade.shops, *trade.payers)}
    number = SHOPS * len(trade.shops)  # of a wave that is not in the chain, and the shop's turn
    wanted = [
        call
        for sent in Wave(trade, number).claims
        if sent.body.sender == shop.member
        for call in map(calls.parse_call, sent.body.calls)
        if isinstance(call, calls.ClaimSubmit)
    ]
    before: list[calls.Call] = []
    for claim in wanted:
        before.append(calls.PrescriptionCommit(claim.prescription))
        locks = (lock_of(trade.chain_id, shop.member, mark.mark) for mark in claim.marks)
        before += map(calls.MarkLock, locks)
    ours = senders[shop.member]
    await send(shop, [ours.sign(before, "before", until)])
    lot = ours.sign(wanted, "claims", until)
    await send(shop, [lot])
    for payer in network.validators:
        accepts = [
            calls.ClaimAccept(created_id(lot.id, position), None)
            for position, claim in enumerate(wanted)
            if claim.payer == payer.member
        ]
        if accepts:
            await send(payer, [senders[payer.member].sign(accepts, "accept", until)])
    return len(wanted)


async def send(who: Organisation, made: Sequence[Transaction]) -> None:
    """Send transactions and wait until all of their calls are applied."""
    home = load_home(who.home)
    async with NodeClient(home.node, home.token()) as node:
        for each in await node.submit([sent.raw for sent in made], wait=60):
            assert each.status == "committed", each
            assert all(outcome.code == 0 for outcome in each.outcomes), each


if __name__ == "__main__":
    sys.exit(main())
