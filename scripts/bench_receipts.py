"""Measure what a receipt costs who verifies it offline: processor time, and room on paper.

    scripts/bench receipts --json      ends with one object on stdout

Receipts of one claim on chains of 4 to 29 validators (a quorum of 29 is 20 signatures) with a log
of a million entries are verified by the node's code and by `scripts/recheck.py`. Times are of the
processor, the best of some tries, and stand beside those of the signatures alone: machines differ,
the ratios less. What is left of a command's time is Python's and that of its imports.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # tests/ is not installed

from contracts.genesis import SignedGenesis
from contracts.genesis_json import signed_json
from contracts.registry import Family
from ledger import keys
from ledger.certificate import KIND_COMMIT, CommitCertificate, Seal, vote_signing_bytes
from ledger.encoding import encode
from ledger.keys import Role
from ledger.merkle import included_root
from ledger.receipt import Receipt, parse_json, to_json
from ledger.short_receipt import parse_text, shorten, to_text
from node.cli.qr import MODULE_MM, QUIET, draw
from node.client.members import parse_members
from tests.chainmaker import Chain, claim_of, found, key_of

RECHECK: Final = Path(__file__).with_name("recheck.py")
VALIDATORS: Final = (4, 7, 13, 20, 29)
LEVELS: Final = 20  # of a log of a million entries
HEIGHT: Final = 123_456
TRIES: Final = 15


def receipt_of(validators: int) -> tuple[SignedGenesis, Receipt]:
    """Return a genesis with as many validators, and the receipt of a claim on its chain.

    Its log is as long as a real one would be: the hashes beside the entry's are of chance.
    """
    families = tuple(Family)[:3]
    labels = [f"validator-{number}" for number in range(validators)]
    members = tuple((label, families[at % 3]) for at, label in enumerate(labels))
    chain = Chain(found(members, (("shop-a", Family.OPTICIAN),)))
    before, claim = claim_of(chain, "shop-a", labels[2], "one")
    chain.block(chain.transaction("shop-a", *before))
    chain.block(chain.transaction("shop-a", claim))
    entry = msgspec.structs.replace(chain.executed[-1].entries[0], height=HEIGHT)
    size, index = 1 << LEVELS, (1 << LEVELS) // 3
    proof = tuple(sha256(bytes((level,))).digest() for level in range(LEVELS))
    root = included_root(size, index, entry.leaf(), proof)
    last = chain.executed[-1].header
    head = msgspec.structs.replace(last, height=HEIGHT, log_size=size, log_root=root)
    message = vote_signing_bytes(KIND_COMMIT, chain.chain_id, HEIGHT, 0, head.hash)
    quorum = chain.genesis.genesis.validator_set.quorum
    seals = tuple(
        Seal(number, key_of(label, Role.CONSENSUS).sign(message))
        for number, label in enumerate(labels[:quorum])
    )
    certificate = CommitCertificate(HEIGHT, 0, head.hash, seals)
    return chain.genesis, Receipt(entry, index, proof, head, certificate, ())


def best_ms(doing: Callable[[], object]) -> float:
    """Return how long it takes the processor, in milliseconds: the least of some tries."""
    times = []
    for _ in range(TRIES):
        start = time.process_time()
        doing()
        times.append(time.process_time() - start)
    return 1000 * min(times)


def process_ms(command: Iterable[object], tries: int = 5) -> float:
    """Return the processor time of a whole process, likewise."""
    times = []
    for _ in range(tries):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(list(map(str, command)), check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return 1000 * min(times)


def measured(validators: int, folder: Path) -> dict[str, Any]:
    """Return the figures of one size of network."""
    signed, receipt = receipt_of(validators)
    genesis, whole = signed_json(signed), to_json(receipt)
    first, chain_id = signed.genesis.validator_set, signed.chain_id
    text = to_text(shorten(receipt, first))
    seals = receipt.certificate.seals
    message = vote_signing_bytes(KIND_COMMIT, chain_id, HEIGHT, 0, receipt.header.hash)

    def signatures() -> None:
        for seal in seals:
            public = first.members[seal.validator].consensus_key
            keys.verify(public, message, seal.signature, what="it")

    def short() -> None:
        parse_text(text).expand(chain_id, first).verify(chain_id, first)

    bare = best_ms(signatures)
    verified = best_ms(lambda: parse_json(whole).verify(chain_id, first))
    for name, content in (("genesis", genesis), ("receipt", whole)):
        (folder / name).write_text(content)
    files = ("receipt", folder / "receipt", "--genesis", folder / "genesis")
    again = process_ms([sys.executable, RECHECK, *files])
    ours = [sys.executable, "-m", "node.cli.main", "receipt", "verify", *files[1:]]
    code = draw(text)
    side = code.symbol_size(border=QUIET)[0]
    return {
        "validators": validators,
        "signatures": len(seals),
        "verify_ms": round(verified, 2),
        "bare_signatures_ms": round(bare, 2),
        "ratio_to_bare": round(verified / bare, 2),
        "short_form_ms": round(best_ms(short), 2),
        "genesis_ms": round(best_ms(lambda: parse_members(genesis.encode())), 2),
        "command_ms": round(process_ms(ours)),
        "recheck_ms": round(again),
        "json_bytes": len(whole),
        "whole_bytes": len(encode(receipt)),
        "short_bytes": len(encode(shorten(receipt, first))),
        "characters": len(text),
        "qr_version": code.version,
        "qr_mm": round(side * MODULE_MM, 1),
    }


def measure() -> dict[str, Any]:
    """Return all figures."""
    with tempfile.TemporaryDirectory(prefix="depoli-receipts-") as name:
        rows = [measured(validators, Path(name)) for validators in VALIDATORS]
    return {"rows": rows, "python_ms": round(process_ms([sys.executable, "-c", "pass"]))}


def show(figures: dict[str, Any], *, as_json: bool) -> None:
    """Print the figures: one JSON object, or a table for people."""
    if as_json:
        print(json.dumps(figures))
        return
    rows = figures["rows"]
    for name in rows[0]:
        print(f"{name:24}" + "".join(f"{row[name]:>9}" for row in rows))
    print(f"{'python_ms':24}{figures['python_ms']:>9}")


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description="Measure what verifying a receipt costs.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    show(measure(), as_json=parser.parse_args().json)


if __name__ == "__main__":
    main()
