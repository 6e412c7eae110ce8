"""Measure what a node pays for a long chain: starting, memory, receipts, and committing a block.

The chain is one that scripts/fill made. A block of 500 claims (with what 500 others rest on, 500
decisions and their settlements) is committed on it, and in turn on one of 10,000 claims that is
made beside it. Then the validators start, each on a copy; the last of them is measured, alone and
under load. Everything is done in a scratch folder beside the chain, which stays as it is.
"""

import argparse
import asyncio
import contextlib
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any, Final

import aiohttp

from contracts.calls import ClaimSubmit, parse_call
from ledger.transaction import parse
from node import testnet
from node.ceremony import load_genesis
from node.chain import SEGMENTS, STATE, Chain
from node.cli.home import load_home
from node.process import Process, wait_ready
from node.testnet import LocalNetwork

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # scripts are not installed

from scripts import bench
from scripts.fill import FOLDER, claims_in, copy_chain, give, grow, network_in, open_chain, size_mb
from scripts.trade import Trade

SMALL: Final = 10_000  # claims of the chain that is compared with
BLOCKS: Final = 40
RECEIPTS: Final = 500
START_S: Final = 60.0


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--network", type=Path, required=True, help="what scripts/fill made")
    parser.add_argument("--blocks", type=int, default=BLOCKS, help="committed on each chain")
    parser.add_argument("--small", type=int, default=SMALL, help="claims of the other chain")
    parser.add_argument("--rate", type=int, default=200, help="claims a second of the load")
    parser.add_argument("--seconds", type=int, default=20, help="how long the load lasts")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    network = network_in(options.network)
    figures = sizes(network)
    with tempfile.TemporaryDirectory(prefix="measured-", dir=network.directory) as scratch:
        figures |= committing(network, Path(scratch), options.small, options.blocks)
        figures |= running(network, Path(scratch) / "network", options.rate, options.seconds)
    if options.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:28} {value}")


def sizes(network: LocalNetwork) -> dict[str, Any]:
    """Return what is on the disk."""
    folder = network.directory / FOLDER
    chain = open_chain(network, folder)
    chain.close()
    claims = claims_in(chain)
    found: dict[str, Any] = {"claims": claims, "entries": chain.header.log_size}
    for name in (SEGMENTS, STATE):
        megabytes = size_mb(folder / name)
        found |= {f"{name}_mb": megabytes, f"{name}_bytes_a_claim": round(megabytes * 1e6 / claims)}
    return found


def committing(network: LocalNetwork, scratch: Path, claims: int, blocks: int) -> dict[str, Any]:
    """Return what a block costs on the long chain and on a short one, in turn."""
    copy_chain(network.directory / FOLDER, scratch / "large")
    trade = Trade(network, load_genesis(network.genesis).genesis.time)
    with contextlib.ExitStack() as closing:
        chains = []
        for name in ("small", "large"):
            chains.append(open_chain(network, scratch / name))
            closing.callback(chains[-1].close)
        small, large = chains
        while claims_in(small) < claims:
            grow(small, trade)
        for chain in chains:
            grow(chain, trade)  # what is read by each block is at hand from now on
        costs = [(cost(small, trade), cost(large, trade)) for _ in range(blocks)]
    wall, cpu = ([[pair[n][which] for pair in costs] for n in (0, 1)] for which in (0, 1))
    return {
        "block_ms_small": round(1000 * median(wall[0]), 1),
        "block_ms": round(1000 * median(wall[1]), 1),
        "block_ms_most": round(1000 * max(wall[1]), 1),
        "block_cpu_ms_small": round(1000 * mean(cpu[0]), 1),
        "block_cpu_ms": round(1000 * mean(cpu[1]), 1),
        "block_ratio": round(median(wall[1]) / median(wall[0]), 3),
        "block_ratio_mean": round(mean(wall[1]) / mean(wall[0]), 3),
        "block_ratio_cpu": round(mean(cpu[1]) / mean(cpu[0]), 3),
    }


def cost(chain: Chain, trade: Trade) -> tuple[float, float]:
    """Return how long the next block takes to be executed and committed, and on the processor."""
    trade.block(chain.height + 1)  # made and signed elsewhere
    wall, cpu = time.perf_counter(), time.process_time()
    grow(chain, trade)
    return time.perf_counter() - wall, time.process_time() - cpu


def running(network: LocalNetwork, folder: Path, rate: int, seconds: int) -> dict[str, Any]:
    """Return what a validator that begins with the chain takes, and how soon it answers."""
    ids = some_claims(network)
    skipped = shutil.ignore_patterns(FOLDER, "measured-*", "journal", SEGMENTS, STATE)
    shutil.copytree(network.directory, folder, ignore=skipped)
    (folder / FOLDER).symlink_to(network.directory / FOLDER)
    copy = testnet.load(folder)
    give(copy)
    measured, *others = copy.processes
    copy.start(*(each.label for each in others))
    try:
        begun = time.perf_counter()
        measured.start()
        wait_ready([measured], START_S)
        found: dict[str, Any] = {"start_s": round(time.perf_counter() - begun, 2)}
        found |= memory(measured, "start")
        times = sorted(asyncio.run(receipts(copy, ids)))
        found["receipt_p50_ms"] = round(1000 * bench.percentile(times, 50), 2)
        found["receipt_p99_ms"] = round(1000 * bench.percentile(times, 99), 2)
        found |= memory(measured, "receipts")
        load = asyncio.run(bench.measure(copy, rate, 1, seconds))
        found |= memory(measured, "load")
        found |= {
            f"load_{each}": load[each] for each in ("committed", "claims_per_s", "p50_ms", "p99_ms")
        }
    finally:
        copy.stop()
    return found


def some_claims(network: LocalNetwork) -> list[str]:
    """Return paths of receipts of claims, from all over the chain."""
    chance = random.Random(RECEIPTS)  # noqa: S311 - which are asked for
    chain = open_chain(network, network.directory / FOLDER)
    try:
        found: list[str] = []
        while len(found) < RECEIPTS:
            block = chain.block(chance.randint(2, chain.height)).block
            made = parse(chance.choice(block.body.transactions))
            position = chance.randrange(len(made.body.calls))
            if isinstance(parse_call(made.body.calls[position]), ClaimSubmit):
                found.append(f"/v1/receipts/{made.id.hex()}/{position}")
        return found
    finally:
        chain.close()


async def receipts(network: LocalNetwork, paths: Sequence[str]) -> list[float]:
    """Ask for receipts one after the other, and return how long each took."""
    auditor = network.organisation(testnet.AUDITOR)
    headers = {"Authorization": f"Bearer {load_home(auditor.home).token()}"}
    times = []
    async with aiohttp.ClientSession(network.api(network.validators[0].label)) as session:
        for path in paths:
            begun = time.perf_counter()
            async with session.get(path, headers=headers) as answer:
                answer.raise_for_status()
                await answer.read()
            times.append(time.perf_counter() - begun)
    return times


def memory(process: Process, when: str) -> dict[str, float]:
    """Return what a node has in memory: in all, and of that what only it has."""
    lines = Path(f"/proc/{process.pid()}/status").read_text().splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) for line in lines if "kB" in line}
    return {
        f"rss_mb_{when}": round(found["VmRSS"] / 1024, 1),
        f"anonymous_mb_{when}": round(found["RssAnon"] / 1024, 1),
    }


if __name__ == "__main__":
    main()
