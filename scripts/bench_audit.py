"""Measure how fast a chain is verified from genesis, beside bare checks of its signatures.

The claims are signed one by one; the prescriptions and locks that they rest on come in lots, and
are in the time. The *signature phase* is the verification of all signatures as the audit does it;
*bare checks* are PyNaCl in a loop, in as many processes, over the same signatures. Each is measured
in turn, and the best of each counts. The memory is that of the process that executes.
"""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

from nacl.signing import VerifyKey

from contracts.genesis import SignedGenesis
from node.audit.export import Writer
from node.audit.records import Records
from node.audit.replay import Replay, read_ahead, verify_export
from node.audit.signatures import Ahead, Job
from node.ceremony import load_genesis

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # scripts are not installed

from scripts.fill import FOLDER, claims_in, grow, network_in, open_chain
from scripts.trade import CLAIMS, Trade

SHOPS: Final = 50
ROUNDS: Final = 3  # of each measurement
SHORT: Final = 4  # the short chain is so many times shorter


class Noted(Ahead):
    """Signatures that are noted and believed, so that only execution is left."""

    def __init__(self) -> None:
        super().__init__(1)
        self.jobs: list[Job] = []

    def verify_job(self, job: Job, *, what: str) -> None:  # noqa: ARG002 - nothing is bad
        """Note it."""
        self.jobs.append(job)
        self.verified += 1


def main() -> None:
    """Make a chain, measure, and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--claims", type=int, default=20_000, help="in the chain that is made")
    parser.add_argument("--network", type=Path, help="verify the chain that scripts/fill made here")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="depoli-bench-") as scratch:
        figures = measure(Path(scratch), options.claims, options.network)
    if options.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:24} {value}")


def measure(
    scratch: Path, claims: int, filled: Path | None, *, rounds: int = ROUNDS
) -> dict[str, Any]:
    """Return the figures of a chain that is made, or was filled before."""
    network = network_in(filled or scratch / "network", SHOPS)
    genesis = load_genesis(network.genesis)
    long, short = scratch / "long.export", scratch / "short.export"
    chain = open_chain(network, network.directory / FOLDER)
    try:
        if filled is None:
            trade = Trade(network, genesis.genesis.time, singly=1 << 10, only_claims=True)
            while claims_in(chain) < claims:
                grow(chain, trade)
        claims = claims_in(chain)
        with Writer(long, genesis) as writer:
            for record in chain.records(1):
                writer.append(record)
            writer.finish()
    finally:
        chain.close()
    cut(long, short, 1 + claims // SHORT // CLAIMS)
    executing, noted = min((executed(long, genesis) for _ in range(rounds)), key=lambda x: x[0])
    pairs = [(bare(noted.jobs), phase(noted.jobs)) for _ in range(rounds)]
    bare_s, phase_s = (min(times) for times in zip(*pairs, strict=True))
    whole = [verified(long, genesis) for _ in range(rounds)]
    seconds = min(each[0] for each in whole)
    return {
        "claims_per_s": round(claims / seconds),
        "claims": claims,
        "signatures": len(noted.jobs),
        "seconds": round(seconds, 2),
        "signatures_per_s": round(len(noted.jobs) / phase_s),
        "bare_checks_per_s": round(len(noted.jobs) / bare_s),
        "signature_phase_ratio": round(bare_s / phase_s, 3),
        "executed_claims_per_s": round(claims / executing),
        "rss_mb": round(whole[0][1], 1),
        "rss_mb_short": round(verified(short, genesis)[1], 1),
        "claims_short": claims // SHORT,
        "cores": os.cpu_count(),
    }


def cut(export: Path, target: Path, blocks: int) -> None:
    """Write the beginning of an export: it is one too."""
    with export.open("rb") as file:
        records = Records(file)
        records.read_magic()
        for _ in range(1 + blocks):  # the genesis comes first
            next(records)
        file.seek(0)
        target.write_bytes(file.read(records.offset))


def executed(export: Path, genesis: SignedGenesis) -> tuple[float, Noted]:
    """Return how long execution alone takes, and the signatures that it asked for."""
    begun = time.perf_counter()
    with export.open("rb") as file, Noted() as noted, Replay(genesis, noted) as replay:
        for payload, _ in read_ahead(file, replay):
            replay.add(payload)
    return time.perf_counter() - begun, noted


def bare(jobs: Sequence[Job]) -> float:
    """Return how long PyNaCl takes for these signatures, on all cores."""
    cores = os.cpu_count() or 1
    with multiprocessing.get_context("fork").Pool(cores) as pool:
        pool.map(check, [jobs[:1]] * cores)  # all have begun
        begun = time.perf_counter()
        pool.map(check, [jobs[n::cores] for n in range(cores)])
        return time.perf_counter() - begun


def check(jobs: Sequence[Job]) -> None:
    """Check signatures, one after the other."""
    for public, message, signature in jobs:
        VerifyKey(public).verify(message, signature)


def phase(jobs: Sequence[Job]) -> float:
    """Return how long the audit takes for these signatures."""
    with Ahead() as ahead:
        begun = 0.0
        for some in (jobs[: 1 << 10], jobs):  # all have begun
            begun = time.perf_counter()
            for job in some:
                ahead.add(job)
            ahead.flush()
            for job in some:
                ahead.verify_job(job, what="it")
        return time.perf_counter() - begun


def verified(export: Path, genesis: SignedGenesis) -> tuple[float, float]:
    """Return how long the audit takes, and what memory, in MB: in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(verify, export, genesis).result()


def verify(export: Path, genesis: SignedGenesis) -> tuple[float, float]:
    """Return the same, in this process."""
    report = verify_export(export, genesis)
    status = Path("/proc/self/status").read_text().splitlines()
    most = next(line for line in status if line.startswith("VmHWM:"))
    return report.seconds, int(most.split()[1]) / 1024


if __name__ == "__main__":
    main()
