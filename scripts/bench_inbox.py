"""Measure how many disclosures a second a payer's inbox keeps up with, on one core.

A network of real processes, with TLS and fsync; a shop whose claims stand on its chain, each with a
prescription and documents of its own; their disclosures, sealed to the payer, in its folder. Then
`depoli inbox run --once` as it is typed, pinned to one core while the nodes have the others: it
unseals, verifies, judges, keeps with fsync, decides, and has the decisions in blocks. Beside it
stands what the cryptography alone costs, as the libraries do it, so that figures of two machines
can be compared.
"""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import nacl.bindings as sodium

from contracts.commitment import H
from node import testnet
from node.cli.home import load_home
from node.cli.person import Person
from node.client import disclosure, lots, sealing
from node.client.client import NodeClient
from node.client.disclosing import letter_of
from node.client.records import ClaimRecord, PrescriptionRecord, find
from node.client.request import ClaimRequest, parse_claim
from node.client.vault import Vault
from node.testnet import LocalNetwork

DATA: Final = Path(__file__).parent / "data"
PAYER: Final = "insurer-a"
AT_ONCE: Final = 512  # claims that the shop prepares and submits together


def request(number: int) -> ClaimRequest:
    """Return a claim of its own: another reference, insured and prescription each."""
    document = json.loads((DATA / "claims" / "f2025-0003.json").read_text())
    document["prescription_reference"] = document["claim"]["reference"] = f"B-{number:06}"
    document["claim"] |= {"payer": PAYER, "insured": f"ADH-{number:06}"}
    return parse_claim(json.dumps(document).encode(), "claim.json", today="2026-01-01")


async def submit(person: Person, vault: Vault, node: NodeClient, numbers: range) -> None:
    """Bring the claims of these numbers onto the chain."""
    sender = person.sender
    with vault.changes():
        for number in numbers:
            lots.prepare(vault, sender, request(number), person.members.id_of)
    references = [f"B-{number:06}" for number in numbers]
    await lots.submit(vault, node, sender, references, wait_s=120, say=lambda _: None)


def disclose(vault: Vault, number: int, public: bytes, folder: Path) -> None:
    """Write what the payer may see of a claim, sealed to it."""
    record = lots.load(vault, f"B-{number:06}", ClaimRecord)[1]
    held = find(vault, PrescriptionRecord, record.prescription_reference)
    assert held is not None  # it was prepared with the claim
    opening = lots.opening_of(record)
    made = disclosure.make(record, held[1], opening, now=int(time.time()))
    sealed = sealing.seal_to(made.to_json(), record.payer, public)
    (folder / f"{number:06}.json").write_bytes(sealed)


async def send(person: Person, vault: Vault, node: NodeClient, numbers: range) -> None:
    """Send what the payer may see of claims by post."""
    records = [lots.load(vault, f"B-{number:06}", ClaimRecord)[1] for number in numbers]
    letters = [letter_of(vault, record, now=int(time.time())) for record in records]
    await person.post(vault, node).send(letters)


async def arrived(network: LocalNetwork, count: int) -> None:
    """Wait until so many envelopes lie at the payer's node."""
    async with Person(load_home(network.organisation(PAYER).home)).node() as node:
        found, after = 0, 0
        while found < count:
            page = (await node.mail(after, wait=30)).envelopes
            found += len(page)
            after = max((each.number for each in page), default=after)


async def prepare(
    network: LocalNetwork, count: int, folder: Path, *, by_post: bool = False
) -> None:
    """Have `count` claims on the chain, and their disclosures in the payer's folder or post."""
    person = Person(load_home(network.shops[0].home))
    async with person.node() as node:
        payer = await node.member(person.members.id_of(PAYER))
        public = payer.sealing_key
        assert public is not None  # a testnet gives every member one
        with person.vault() as vault:
            for first in range(0, count, AT_ONCE):
                numbers = range(first, min(count, first + AT_ONCE))
                await submit(person, vault, node, numbers)
                if by_post:
                    await send(person, vault, node, numbers)
                else:
                    for number in numbers:
                        disclose(vault, number, public, folder)
                say(f"disclosed {numbers.stop} of {count} claims")


def crypto_us(tries: int = 300) -> dict[str, float]:
    """Return what the cryptography of one disclosure costs, in microseconds of processor.

    One sealed box is opened, two Ed25519 signatures are verified, one Pedersen commitment is made,
    and a share of a 256th of the signature of a lot.
    """
    seed, message = bytes(range(32)), bytes(2_000)
    public, secret = sodium.crypto_sign_seed_keypair(seed)
    signed = sodium.crypto_sign(message, secret)
    curve = sodium.crypto_sign_ed25519_pk_to_curve25519(public)
    hidden = sodium.crypto_sign_ed25519_sk_to_curve25519(secret)
    box = sodium.crypto_box_seal(message + message, curve)
    scalar = sodium.crypto_core_ed25519_scalar_reduce(bytes(range(64)))

    def commit() -> None:
        first = sodium.crypto_scalarmult_ed25519_noclamp(scalar, H)
        second = sodium.crypto_scalarmult_ed25519_base_noclamp((13_000).to_bytes(32, "little"))
        sodium.crypto_core_ed25519_add(first, second)

    parts: dict[str, Callable[[], object]] = {
        "unseal": lambda: sodium.crypto_box_seal_open(box, curve, hidden),
        "signature": lambda: sodium.crypto_sign_open(signed, public),
        "commitment": commit,
        "sign": lambda: sodium.crypto_sign(message * 8, secret),
    }
    costs = {}
    for name, doing in parts.items():
        best = float("inf")
        for _ in range(5):
            start = time.process_time()
            for _ in range(tries):
                doing()
            best = min(best, (time.process_time() - start) / tries * 1e6)
        costs[name] = best
    return costs


def run(
    home: Path, policy: Path, core: int, *, by_post: bool
) -> tuple[float, float, dict[str, int]]:
    """Run the inbox once on one core; return seconds, those of the processor, and its summary."""
    command = [sys.executable, "-m", "node.cli.main", "inbox", "run", "--once", "--json"]
    command += ["--policy", str(policy), "--home", str(home), "--wait", "300"]
    command += ["--post"] if by_post else []
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        env={"PATH": os.environ["PATH"]},
        cwd=Path(__file__).parents[1],
    )
    took = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    summary: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return took, spent, summary


def measure(network: LocalNetwork, count: int, folder: Path, *, by_post: bool) -> dict[str, Any]:
    """Return the figures of one run."""
    home = network.organisation(PAYER).home
    inbox = home / "inbox"
    inbox.mkdir(exist_ok=True)
    policy = folder / "policy.toml"
    text = (DATA / "policy.toml").read_text()
    text = text.replace("invoice_days = 365", "invoice_days = 36500").partition("[settle]")[0]
    day = "accept_per_shop_day_cents = "
    policy.write_text(text.replace(f"{day}2000000", f"{day}400000000"))
    cores = sorted(os.sched_getaffinity(0))
    core = cores[0]
    if len(cores) > 1:
        for process in network.processes:
            pid = process.pid()
            assert pid is not None  # it was started
            os.sched_setaffinity(pid, set(cores[1:]))
    empty = run(
        home, policy, core, by_post=by_post
    )  # what it takes to begin: it makes the vault, too
    empty = min(empty, run(home, policy, core, by_post=by_post))
    asyncio.run(prepare(network, count, inbox, by_post=by_post))
    if by_post:
        asyncio.run(arrived(network, count))
    for path in inbox.iterdir():
        os.utime(path, (1, 1))
    say("the inbox runs")
    took, spent, summary = run(home, policy, core, by_post=by_post)
    costs = crypto_us()
    bare = costs["unseal"] + 2 * costs["signature"] + costs["commitment"] + costs["sign"] / 256
    each = (spent - empty[1]) / count * 1e6
    return {
        "disclosures": count,
        "accepted": summary.get("accepted", 0),
        "per_s": round(count / (took - empty[0]), 1),
        "per_s_of_processor": round(1e6 / each, 1),
        "seconds": round(took, 2),
        "seconds_to_begin": round(empty[0], 2),
        "processor_us_each": round(each),
        "crypto_us_each": round(bare),
        "times_the_crypto": round(each / bare, 1),
        "validators": len(network.validators),
        "cores": os.cpu_count(),
    }


def say(text: str) -> None:
    """Tell a person how far it is."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Run a network of its own, measure, and print the figures."""
    parser = argparse.ArgumentParser(description="Measure a payer's inbox on one core.")
    parser.add_argument("--count", type=int, default=2048, help="disclosures")
    parser.add_argument("--post", action="store_true", help="they come by post, not in a folder")
    parser.add_argument("--validators", type=int, default=4)
    parser.add_argument("--folder", type=Path, help="keep the network's files and logs here")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.count < 1:
        parser.error("count must be positive")
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="depoli-bench-"))
        )
        network = testnet.create(folder / "network", validators=options.validators, shops=1)
        say("starting validators")
        try:
            network.start()
            figures = measure(network, options.count, folder, by_post=options.post)
        finally:
            network.stop()
    if options.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:20} {value}")


if __name__ == "__main__":
    main()
