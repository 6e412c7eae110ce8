"""Measure what each kind of call costs a block, and compare it with the units that it says.

    scripts/costs --json       ends with one object on stdout

Chains in which every kind of call is applied, and many are refused, are executed on a store that
holds much else. Each call is timed where it stands: parsing it, judging it, hashing what it changes
of the state into the digest, its entry in the log and in the chains of those it concerns. Processor
time is counted, and the best of some tries, so that only the work shows. What of one kind took
longest for what it says it costs is its worst case. How long a block may take follows from the
claims it may hold, so a claim's submission is the measure: a kind whose unit takes more than twice
the time of its unit makes the exit code 1, for its cost says too little.

All times stand beside a loop of SHA-256 in the same run. The signature of a transaction is no part
of what its calls cost: blocks are limited by the number of transactions too.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Any, Final, get_args

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # tests/ is not installed

from contracts import commitment, dispatch
from contracts.calls import (
    Call,
    ClaimSubmit,
    encode_call,
    parse_call,
)
from contracts.context import Concerned, Context
from contracts.dispatch import Code
from contracts.errors import Refused
from contracts.life import Rule
from contracts.state import Overlay
from ledger import heads
from ledger.digest import StateDigest
from ledger.entry import APPLIED, Entry, Outcome
from ledger.hashing import NO_HASH
from ledger.store import open_store
from scripts.digests import Stored, replay
from tests.chainmaker import Chain
from tests.chains import chains
from tests.extremes import extremes

MAX_RATIO: Final = 2.0  # of a kind's unit to the unit of a claim's submission
TRIES: Final = 5  # in each pass
PASSES: Final = 3  # far apart, so that what else the machine does hits one of them
FILLER: Final = 200_000  # pairs in the store that no call reads
FILLED: Final = (b"c", b"l", b"p", b"x", b"s")  # the kinds of keys of which there are many
_LOT: Final = 64


@dataclass
class Meter:
    """Times calls where they are executed."""

    tries: int = TRIES
    # (kind, applied or refused) -> (µs, units) of each call
    spent: dict[tuple[type, bool], list[tuple[float, int]]] = field(default_factory=dict)
    submit: list[tuple[float, float]] = field(default_factory=list)  # µs in all, µs of the point

    def around(self, code: Code) -> Code:
        """Return the rules of a version, with each call timed."""
        rules = code.rules.items()
        timed = {kind: replace(rule, apply=self._timing(code, rule)) for kind, rule in rules}
        return replace(code, rules=timed)

    def _timing(self, code: Code, rule: Rule) -> Callable[[Context, Any], Concerned]:
        def apply(context: Context, call: Call) -> Concerned:
            data = encode_call(call)
            best, applied = min(self._time(rule, context, data) for _ in range(self.tries))
            self.spent.setdefault((type(call), applied), []).append((best, code.cost(call, 0)))
            if applied and isinstance(call, ClaimSubmit):
                self.submit.append(self._time_submit(rule, context, call))
            return rule.apply(context, call)

        return apply

    @staticmethod
    def _time(rule: Rule, context: Context, data: bytes) -> tuple[float, bool]:
        """Return the µs of all that a call does, and whether it was applied."""
        overlay = Overlay(context.state)
        inside = msgspec.structs.replace(context, state=overlay)
        began = time.thread_time()
        call = parse_call(data)
        try:
            others, outcome = rule.apply(inside, call), Outcome(APPLIED)
        except Refused as error:
            others, outcome = (), Outcome(int(error.refusal), error.evidence)
        removed, added = overlay.difference()
        StateDigest().updated(removed, added)
        entry = Entry(
            context.height, 0, context.time, context.sender, context.transaction, 0, data, outcome
        )
        leaf = entry.leaf()
        for _member in (context.sender, *others):
            heads.first(NO_HASH).extend(leaf)
        return (time.thread_time() - began) * 1e6, outcome.code == APPLIED

    def _time_submit(self, rule: Rule, context: Context, call: ClaimSubmit) -> tuple[float, float]:
        """Return the µs of a submission on a state in memory, and of its point alone."""
        whole, point = [], []
        for _ in range(self.tries):
            overlay = Overlay(context.state)
            inside = msgspec.structs.replace(context, state=overlay)
            rule.apply(inside, call)  # what it reads is in memory from here on
            overlay.changes.clear()
            began = time.thread_time()
            rule.apply(inside, call)
            between = time.thread_time()
            commitment.parse_point(call.amount)
            ended = time.thread_time()
            whole.append((between - began) * 1e6)
            point.append((ended - between) * 1e6)
        return min(whole), min(point)


def sha_us(count: int = 5_000) -> float:
    """Return the µs of one SHA-256 of 64 bytes in a loop."""
    data, best = bytes(64), float("inf")
    for _ in range(30):
        began = time.thread_time()
        for _ in range(count):
            sha256(data).digest()
        best = min(best, (time.thread_time() - began) / count)
    return best * 1e6


# --- the chains -----------------------------------------------------------------------------------


def make_chains() -> list[Chain]:
    """Return chains with every kind of call, and with the largest of each."""
    return [*chains(), *extremes()]


def fill(count: int) -> dict[bytes, bytes | None]:
    """Return pairs such as a chain of some years leaves, that no call of ours reads."""
    filled: dict[bytes, bytes | None] = {}
    for number in range(count):
        name = sha256(number.to_bytes(8)).digest()
        filled[FILLED[number % len(FILLED)] + name] = name * (1 + 7 * (number % 2))
    return filled


def measure(
    chains: Sequence[Chain], *, filler: int = FILLER, tries: int = TRIES, passes: int = PASSES
) -> Meter:
    """Return what every call of these chains took, at best."""
    first, *others = (run(chains, filler, tries) for _ in range(passes))
    for other in others:
        assert other.spent.keys() == first.spent.keys()  # the same calls, in the same order
        first.submit = [*map(min, first.submit, other.submit)]
        for key, spent in other.spent.items():
            first.spent[key] = [*map(min, first.spent[key], spent)]
    return first


def run(chains: Sequence[Chain], filler: int, tries: int) -> Meter:
    """Return what every call of these chains took in one pass."""
    meter, codes = Meter(tries), dict(dispatch.CODES)
    dispatch.CODES.update({version: meter.around(code) for version, code in codes.items()})
    try:
        with tempfile.TemporaryDirectory(prefix="depoli-costs-") as folder:
            for number, chain in enumerate(chains):
                store = open_store(Path(folder, str(number)))
                try:
                    store.write(fill(filler))
                    state = Stored(store)
                    found = replay(chain.genesis, chain.blocks, state, state.apply)
                finally:
                    store.close()
                assert all(block["header"] == block["recorded"] for block in found)
    finally:
        dispatch.CODES.update(codes)
    return meter


# --- what it says ---------------------------------------------------------------------------------


def report(meter: Meter) -> dict[str, Any]:
    """Return the figures, and which kinds say too little."""
    sha = sha_us()
    kinds = [
        worst(kind, applied, spent)
        for (kind, applied), spent in sorted(meter.spent.items(), key=lambda pair: _place(pair[0]))
    ]
    us, cost = max(meter.spent[ClaimSubmit, True])
    unit = us / cost
    for each in kinds:
        each["ratio"] = round(each["us_per_unit"] / unit, 2)
    whole, point = (median(each) for each in zip(*meter.submit, strict=True))
    return {
        "kinds": kinds,
        "unit_us": round(unit, 2),
        "sha256_us": round(sha, 3),
        "unit_in_sha256": round(unit / sha, 1),
        "submit": {
            "us": round(whole, 1),
            "us_libsodium": round(point, 1),
            "us_python": round(whole - point, 1),
            "in_sha256": round(whole / sha, 1),
            "python_in_sha256": round((whole - point) / sha, 1),
        },
        "missing": sorted(each.__name__ for each in set(get_args(Call)) - applied_kinds(meter)),
        "too_cheap": [each["call"] for each in kinds if each["ratio"] > MAX_RATIO],
    }


def _place(key: tuple[type, bool]) -> tuple[int, bool]:
    return vars(key[0])["KIND"], not key[1]


def worst(kind: type, applied: bool, spent: Sequence[tuple[float, int]]) -> dict[str, Any]:  # noqa: FBT001
    """Return the call of a kind that took longest for what it says it costs."""
    us, cost = max(spent, key=lambda pair: pair[0] / pair[1])
    return {
        "call": kind.__name__,
        "kind": vars(kind)["KIND"],
        "applied": applied,
        "calls": len(spent),
        "cost": cost,
        "us": round(us, 1),
        "us_per_unit": round(us / cost, 2),
    }


def applied_kinds(meter: Meter) -> set[type]:
    """Return the kinds of calls that were applied while it measured."""
    return {kind for kind, applied in meter.spent if applied}


def table(result: Mapping[str, Any]) -> str:
    """Return the figures for people."""
    lines = [f"{'call':22} {'':8} {'units':>6} {'µs':>9} {'µs/unit':>8} {'ratio':>6}"]
    for each in result["kinds"]:
        fate = "applied" if each["applied"] else "refused"
        lines.append(
            f"{each['call']:22} {fate:8} {each['cost']:6} {each['us']:9.1f}"
            f" {each['us_per_unit']:8.2f} {each['ratio']:6.2f}"
        )
    submit = result["submit"]
    lines += [
        "",
        f"SHA-256 of 64 bytes in a loop: {result['sha256_us']} µs",
        f"a unit: {result['unit_us']} µs, {result['unit_in_sha256']} of those",
        "a claim's submission, without signature, parsing and digest:",
        f"  {submit['us']} µs: {submit['us_libsodium']} libsodium, {submit['us_python']} Python",
        f"  {submit['in_sha256']} SHA-256, of which Python {submit['python_in_sha256']}",
    ]
    for name in result["missing"]:
        lines.append(f"NOT MEASURED: {name} is applied in none of the chains")
    for name in result["too_cheap"]:
        lines.append(f"TOO CHEAP: {name} says less than it costs")
    return "\n".join(lines)


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="end with one object")
    options = parser.parse_args()
    result = report(measure(make_chains()))
    print(json.dumps(result) if options.json else table(result))
    sys.exit(bool(result["missing"] or result["too_cheap"]))


if __name__ == "__main__":
    main()
