"""Flood three of four validators with what looks valid, and measure what they still commit.

Real processes, TLS, fsync. The fourth validator's process is stopped; in its place, and with its
keys, a flooder sends signed votes of ever higher rounds, statuses and requests, as fast as they are
taken, and strangers shake hands without pause. The same load is measured while the fourth is merely
silent, so that the ratio shows the flood alone. Runs alternate.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import secrets
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, Final

import aiohttp

from contracts import calls
from ledger import transaction as transactions
from ledger.encoding import encode
from ledger.keys import Role, Signer, key_id
from node import testnet
from node.cli.home import load_home
from node.config import load_config
from node.journal import RESERVED_BYTES
from node.keystore import load_node_keys
from node.process import Process
from node.testnet import LocalNetwork

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # tests/ is not installed

from tests.node.flooder import Flooder

MAX_LOSS: Final = 0.2  # of the throughput
MAX_MORE_RSS: Final = 32 << 20  # than the same load takes without a flood
LOT: Final = 32  # calls in a transaction
IN_FLIGHT: Final = 6  # requests at once, each waiting for its block
REQUEST: Final = 8  # transactions
WAIT_S: Final = 30
REDIAL_S: Final = 0.05
FLOOD_WAIT_S: Final = 60

Target = tuple[tuple[str, int], bytes]  # a node's address, and its key


async def besiege(flooder: Flooder, targets: Sequence[Target], parent: Connection) -> None:
    """Flood these until the parent has measured; tell it when all of them are under the flood."""
    floods = [asyncio.Event() for _ in targets]
    enough = asyncio.Event()
    asyncio.get_running_loop().add_reader(parent.fileno(), enough.set)
    tasks = [
        asyncio.create_task(flooder.flood(*target, standing=stands))
        for target, stands in zip(targets, floods, strict=True)
    ]
    tasks += [asyncio.create_task(flooder.knock(*target, pause_s=REDIAL_S)) for target in targets]
    for stands in floods:
        await stands.wait()
    parent.send(None)
    await enough.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def flood(network: LocalNetwork, label: str, parent: Connection) -> None:
    """Flood in a process of its own, and tell how much was sent."""
    targets: list[Target] = []
    for process in network.processes:
        if process.label != label:
            config = load_config(process.home)
            node_key = load_node_keys(config.keys, config.mode).node.public
            targets.append((config.p2p_listen, node_key))
    os.nice(19)  # the flood comes over a wire: its own work is not to take what nodes need
    config = load_config(network.process(label).home)
    keys = load_node_keys(config.keys, config.mode)
    assert keys.consensus is not None
    flooder = Flooder(
        seed=keys.node_seed,
        key=keys.consensus,
        index=[each.label for each in network.validators].index(label),
        chain_id=network.chain_id,
    )
    asyncio.run(besiege(flooder, targets, parent))
    parent.send((flooder.sent, flooder.handshakes, flooder.links))


def hear(child: Connection) -> Any:  # noqa: ANN401 - what the child sends
    """Return what the flood says next, or end the run where it says nothing."""
    if not child.poll(FLOOD_WAIT_S):
        sys.exit(f"the flood said nothing for {FLOOD_WAIT_S} s")
    return child.recv()


class Load:
    """A shop that always has some requests under way."""

    def __init__(self, network: LocalNetwork) -> None:
        shop = network.shops[0]
        home = load_home(shop.home)
        self._member, self._key = shop.member, home.key()
        self._chain_id, self._url = network.chain_id, network.api(network.validators[0].label)
        self._headers = {
            "Authorization": f"Bearer {home.token()}",
            "Content-Type": "application/msgpack",
        }
        self._committed = 0

    async def measure(self, seconds: float) -> float:
        """Return how many calls a second are committed, while some are always under way."""
        timeout = aiohttp.ClientTimeout(total=WAIT_S + 30)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            end = time.monotonic() + seconds
            self._committed, began = 0, time.monotonic()
            async with asyncio.TaskGroup() as tasks:
                for _ in range(IN_FLIGHT):
                    tasks.create_task(self._send(session, end))
            return self._committed / (time.monotonic() - began)

    async def _send(self, session: aiohttp.ClientSession, end: float) -> None:
        url = f"{self._url}/v1/transactions?wait={WAIT_S}"
        while time.monotonic() < end:
            raws = tuple(_transaction(self) for _ in range(REQUEST))
            async with session.post(url, data=encode(raws), headers=self._headers) as answer:
                value = await answer.json(content_type=None)
            results = value.get("transactions", [])
            self._committed += LOT * sum(each["status"] == "committed" for each in results)

    def sign(self, made: tuple[bytes, ...]) -> bytes:
        """Return a signed transaction of these calls."""
        key: Signer = self._key
        body = transactions.Unsigned(
            transactions.VERSION,
            self._chain_id,
            self._member,
            key_id(Role.TRANSACTION, key.algorithm, key.public),
            int(time.time()) + 3600,
            secrets.token_bytes(16),
            made,
        )
        return transactions.sign(body, key).raw


def _transaction(load: Load) -> bytes:
    made = (calls.PrescriptionCommit(secrets.token_bytes(32)) for _ in range(LOT))
    return load.sign(tuple(map(calls.encode_call, made)))


def rss(process: Process) -> int:
    """Return the resident memory of a node, in bytes."""
    for line in Path(f"/proc/{process.pid()}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise AssertionError


def cpu(process: Process) -> float:
    """Return the processor time that a node has used, in seconds."""
    fields = Path(f"/proc/{process.pid()}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def journal(process: Process) -> int:
    """Return what a node's journal takes, in bytes."""
    folder = load_config(process.home).data / "journal"
    return sum(path.stat().st_size for path in folder.rglob("*"))


def waiting(process: Process) -> int:
    """Return how many messages wait to be handled, as the node's metrics say."""
    address = load_config(process.home).admin_listen
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("depoli_events_waiting "):
                return int(float(line.split()[1]))
    raise AssertionError


def run(network: LocalNetwork, seconds: float, pairs: int) -> dict[str, Any]:
    """Measure alternately without and with the flood, and return the figures."""
    label = network.validators[-1].label
    honest = [process for process in network.processes if process.label != label]
    network.stop(label)
    load, figures = Load(network), dict[str, list[float]](quiet=[], flooded=[])
    say("warming up")
    asyncio.run(load.measure(seconds / 2))
    cost: dict[str, list[float]] = {name: [] for name in figures}  # processor time of a call
    growth: dict[str, int] = dict.fromkeys(figures, 0)  # of all honest nodes
    most, sent, handshakes, links = 0, 0, 0, 0
    context = multiprocessing.get_context("fork")
    for number in range(pairs):
        before, used = sum(map(rss, honest)), sum(map(cpu, honest))
        figures["quiet"].append(asyncio.run(load.measure(seconds)))
        between, then = sum(map(rss, honest)), sum(map(cpu, honest))
        cost["quiet"].append((then - used) / seconds / figures["quiet"][-1])
        child, parent = context.Pipe()
        evil = context.Process(target=flood, args=(network, label, parent))
        evil.start()
        hear(child)  # the flood stands
        used = sum(map(cpu, honest))
        figures["flooded"].append(asyncio.run(load.measure(seconds)))
        cost["flooded"].append((sum(map(cpu, honest)) - used) / seconds / figures["flooded"][-1])
        most = max(most, *map(waiting, honest))
        child.send(None)  # enough
        added = hear(child)
        evil.join()
        growth["quiet"] += between - before
        growth["flooded"] += sum(map(rss, honest)) - between
        sent, handshakes, links = sent + added[0], handshakes + added[1], links + added[2]
        quiet, flooded = figures["quiet"][-1], figures["flooded"][-1]
        say(f"pair {number + 1} of {pairs}: {quiet:.0f} calls/s, flooded {flooded:.0f}")
    ratio = median(figures["flooded"]) / median(figures["quiet"])
    return {
        "calls_per_s": round(median(figures["quiet"]), 1),
        "calls_per_s_flooded": round(median(figures["flooded"]), 1),
        "ratio": round(ratio, 3),
        "each": {name: [round(each, 1) for each in found] for name, found in figures.items()},
        "cpu_us_per_call": {name: round(1e6 * median(found), 1) for name, found in cost.items()},
        "frames_sent": sent,
        "links": links,
        "handshakes": handshakes,
        "rss_growth_mb": {name: round(grown / 2**20, 1) for name, grown in growth.items()},
        "journal_bytes": [journal(process) for process in honest],
        "events_waiting": most,
        "cores": os.cpu_count(),
        "held": ratio >= 1 - MAX_LOSS
        and growth["flooded"] <= growth["quiet"] + MAX_MORE_RSS
        and max(map(journal, honest)) <= RESERVED_BYTES,
    }


def say(text: str) -> None:
    """Tell a person how far it is."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Run a network of its own, flood it, and print the figures."""
    parser = argparse.ArgumentParser(description="Measure what a flood costs four validators.")
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement")
    parser.add_argument("--pairs", type=int, default=3, help="measurements without and with")
    parser.add_argument("--folder", type=Path, help="keep the network's files and logs here")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.pairs < 1:
        parser.error("there is nothing to compare without a pair of measurements")
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="depoli-flood-"))
        )
        network = testnet.create(folder / "network", validators=4, shops=1)
        try:
            network.start()
            figures = run(network, options.seconds, options.pairs)
        finally:
            network.stop()
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:20} {value}")
    sys.exit(0 if figures["held"] else 1)


if __name__ == "__main__":
    main()
