"""Measure what a network of validators commits on this machine, the load generator included.

Real processes, TLS, fsync. Open loop: each transaction has an instant at which it is meant to be
sent, whatever became of the earlier ones, and its latency counts from that instant until a client
that waits for it is told its block. Signing happens in shops, not here: transactions are signed
before the clock starts, and what claims rest on (prescriptions, locks of marks) is committed
before.
"""

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from contracts import calls, commitment
from ledger import transaction as transactions
from ledger.encoding import encode
from ledger.keys import Role, Signer, key_id
from node import testnet
from node.cli.home import load_home
from node.testnet import LocalNetwork

SLICE_S = 0.05  # what is due within a slice is sent together, as a gateway of many shops does
WAIT_S = 30
LOT = 256


@dataclass(frozen=True)
class Sender:
    """A shop that submits claims to a payer through one node."""

    member: bytes
    key: Signer
    chain_id: bytes
    payer: bytes

    def transaction(self, made: Sequence[bytes]) -> bytes:
        """Return a signed transaction of these encoded calls."""
        body = transactions.Unsigned(
            transactions.VERSION,
            self.chain_id,
            self.member,
            key_id(Role.TRANSACTION, self.key.algorithm, self.key.public),
            int(time.time()) + 3600,
            secrets.token_bytes(16),
            tuple(made),
        )
        return transactions.sign(body, self.key).raw


@dataclass
class Measured:
    """What was seen of one slice."""

    intended: list[float]
    answered: float
    committed: int
    claims: int


class Node:
    """The HTTP API of one node."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str) -> None:
        self._session, self._url = session, url
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/msgpack"}

    async def submit(self, raws: Sequence[bytes]) -> list[dict[str, Any]]:
        """Submit transactions and return what became of each."""
        url = f"{self._url}/v1/transactions?wait={WAIT_S}"
        async with self._session.post(
            url, data=encode(tuple(raws)), headers=self._headers
        ) as answer:
            value = await answer.json(content_type=None)
            results: list[dict[str, Any]] = value.get("transactions", [])
            return results


def prepare(sender: Sender, count: int) -> tuple[list[bytes], list[bytes]]:
    """Return the encoded calls that `count` claims rest on, and those claims."""
    before: list[bytes] = []
    claims: list[bytes] = []
    amount = commitment.IDENTITY
    for number in range(count):
        mark = commitment.mark_of(
            secrets.token_bytes(32), calls.Leg.COMPLEMENTARY, calls.Part.LENSES, 0
        )
        lock = commitment.lock_of(sender.chain_id, sender.member, mark)
        prescription = secrets.token_bytes(32)
        if number % 16 == 0:  # fresh points cost more to make than all the rest
            blinding = commitment.blinding_from(secrets.token_bytes(64))
            amount = commitment.commit(number, blinding)
        before.append(calls.encode_call(calls.PrescriptionCommit(prescription)))
        before.append(calls.encode_call(calls.MarkLock(lock)))
        claim = calls.ClaimSubmit(
            payer=sender.payer,
            leg=calls.Leg.COMPLEMENTARY,
            prescription=prescription,
            document=secrets.token_bytes(32),
            amount=amount,
            marks=(calls.Mark(calls.Part.LENSES, mark),),
            authorisation=None,
            prior=None,
        )
        claims.append(calls.encode_call(claim))
    return before, claims


async def measure(network: LocalNetwork, rate: int, lot: int, seconds: int) -> dict[str, Any]:
    """Return the figures of one run."""
    shop = network.shops[0]
    home = load_home(shop.home)
    payer = network.organisation("insurer-a").member
    sender = Sender(shop.member, home.key(), network.chain_id, payer)
    count = rate * seconds
    say(f"preparing {count} claims")
    before, claims = prepare(sender, count)
    token = home.token()
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=WAIT_S + 30)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        node = Node(session, network.api(network.validators[0].label), token)
        for first in range(0, len(before), 8 * LOT):
            part = before[first : first + 8 * LOT]
            lots = [sender.transaction(part[at : at + LOT]) for at in range(0, len(part), LOT)]
            check(await node.submit(lots))
            done = min(first + 8 * LOT, len(before))
            say(f"committed {done} of {len(before)} locks and prescriptions")
        raws = [sender.transaction(claims[at : at + lot]) for at in range(0, count, lot)]
        disk_before, cpu_before = disk_bytes(network), cpu_seconds(network)
        own_before = time.process_time()
        say(f"offering {rate} claims/s for {seconds} s")
        measured = await offer(node, raws, rate / lot, lot)
    cpu_after, disk_after = cpu_seconds(network), disk_bytes(network)
    latencies = sorted(1000 * (each.answered - at) for each in measured for at in each.intended)
    start = min(each.intended[0] for each in measured)
    took = max(each.answered for each in measured) - start
    committed = sum(each.claims for each in measured)
    return {
        "claims_per_s": round(committed / max(took, seconds), 1),
        "offered_per_s": rate,
        "committed": committed,
        "offered": count,
        "p50_ms": round(percentile(latencies, 50), 1),
        "p99_ms": round(percentile(latencies, 99), 1),
        "validators": len(network.validators),
        "lot": lot,
        "seconds": round(took, 2),
        "rss_mb": {name: round(rss / 2**20, 1) for name, rss in rss_bytes(network).items()},
        "cpu_s": {name: round(cpu_after[name] - cpu_before[name], 2) for name in cpu_after},
        "cpu_s_generator": round(time.process_time() - own_before, 2),
        "bytes_per_claim": round((disk_after - disk_before) / max(committed, 1)),
        "cores": os.cpu_count(),
    }


async def offer(node: Node, raws: Sequence[bytes], rate: float, lot: int) -> list[Measured]:
    """Send transactions at their instants, whatever became of the earlier ones."""
    loop = asyncio.get_running_loop()
    start = loop.time() + 0.1
    tasks: list[asyncio.Task[Measured]] = []
    sent = 0
    async with asyncio.TaskGroup() as group:
        while sent < len(raws):
            await asyncio.sleep(max(0.0, start + sent / rate - loop.time(), SLICE_S))
            due = min(len(raws), int((loop.time() - start) * rate) + 1)
            for first in range(sent, due, 512):
                part = range(first, min(due, first + 512))
                intended = [start + number / rate for number in part]
                batch = [raws[number] for number in part]
                tasks.append(group.create_task(send(node, batch, intended, lot)))
            sent = due
    return [task.result() for task in tasks]


async def send(node: Node, raws: Sequence[bytes], intended: list[float], lot: int) -> Measured:
    """Send what is due, and wait until all of it is in blocks."""
    results = await node.submit(raws)
    answered = asyncio.get_running_loop().time()
    committed = [result for result in results if result["status"] == "committed"]
    applied = sum(outcome["code"] == 0 for result in committed for outcome in result["outcomes"])
    if len(committed) < len(raws) or applied < len(committed) * min(lot, 1):
        say(f"{len(raws) - len(committed)} of {len(raws)} were not committed")
    return Measured(intended, answered, len(committed), applied)


def check(results: Sequence[dict[str, Any]]) -> None:
    """End the run where preparing failed."""
    for result in results:
        if result["status"] != "committed" or any(o["code"] for o in result["outcomes"]):
            sys.exit(f"preparing failed: {json.dumps(result)[:500]}")


def percentile(ordered: Sequence[float], percent: int) -> float:
    """Return the value at or below which `percent` of `ordered` lie."""
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def rss_bytes(network: LocalNetwork) -> dict[str, int]:
    """Return the resident memory of each node."""
    found = {}
    for process in network.processes:
        for line in Path(f"/proc/{process.pid()}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                found[process.label] = int(line.split()[1]) << 10
    return found


def cpu_seconds(network: LocalNetwork) -> dict[str, float]:
    """Return the processor time that each node has used."""
    ticks = os.sysconf("SC_CLK_TCK")
    found = {}
    for process in network.processes:
        fields = Path(f"/proc/{process.pid()}/stat").read_text().rpartition(")")[2].split()
        found[process.label] = (int(fields[11]) + int(fields[12])) / ticks
    return found


def disk_bytes(network: LocalNetwork) -> int:
    """Return what the first validator's data takes on disk."""
    folder = network.validators[0].node / "data"
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def say(text: str) -> None:
    """Tell a person how far it is."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Run a network of its own, measure, and print the figures."""
    parser = argparse.ArgumentParser(description="Measure committed claims per second.")
    parser.add_argument("--rate", type=int, default=800, help="claims offered per second")
    parser.add_argument("--lot", type=int, default=1, help="claims per signature, 1 to 256")
    parser.add_argument("--seconds", type=int, default=20, help="how long the load lasts")
    parser.add_argument("--validators", type=int, default=4)
    parser.add_argument("--folder", type=Path, help="keep the network's files and logs here")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if not 1 <= options.lot <= transactions.MAX_CALLS or options.rate < 1 or options.seconds < 1:
        parser.error("rate and seconds must be positive, lot from 1 to 256")
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="depoli-bench-"))
        )
        network = testnet.create(folder / "network", validators=options.validators, shops=1)
        say("starting validators")
        try:
            network.start()
            figures = asyncio.run(measure(network, options.rate, options.lot, options.seconds))
        finally:
            network.stop()
    if options.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:18} {value}")


if __name__ == "__main__":
    main()
