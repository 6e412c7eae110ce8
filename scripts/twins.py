"""Play every script of a twin attack: who leads, how the network is split, what is lost.

    scripts/twins --json                   ends with one object on stdout
    scripts/twins --rounds 4 --rotation    one round more, under the protocol's own schedules

Four validators, one of whom runs twice under one key. With three rounds every lemma is checked;
with four, that no two blocks are decided and that all decide once the network heals (what was
signed would tell too many states apart). Every schedule of leaders is played; with --rotation those
in which each validator leads in its turn, whichever of them is the twin. A violation ends it with
the lemma's name and exit code 1.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # tests/ is not installed

from tests.simulation import twins
from tests.simulation.twins import Leaders, Told

LEMMAS_UP_TO = 3  # rounds


def _play(leaders: Leaders) -> Told:
    lemmas = len(leaders) <= LEMMAS_UP_TO
    return twins.enumerate_scripts(len(leaders), leaders=leaders, lemmas=lemmas)


def play(schedules: list[Leaders], jobs: int) -> Iterator[Told]:
    """Yield what came of each schedule of leaders, in order."""
    if jobs == 1:
        yield from map(_play, schedules)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_play, schedules)


def main() -> None:
    """Read the arguments, play, and report."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--rounds", type=int, default=LEMMAS_UP_TO, choices=range(1, 5))
    parser.add_argument("--rotation", action="store_true", help="each leads in its turn")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="end with one object")
    options = parser.parse_args()
    weights = dict(twins.schedules(options.rounds))
    if options.rotation:
        weights = {each: n for each, n in weights.items() if len(set(each)) == len(each)}
    began, told = time.monotonic(), Told()
    for leaders, each in zip(weights, play(list(weights), options.jobs), strict=True):
        told.add(each)
        elapsed = time.monotonic() - began
        print(f"leaders {leaders}: {each.scripts} scripts, {elapsed:.0f} s", file=sys.stderr)
    letters = len(twins.SPLITS) ** options.rounds
    result = {
        "rounds": options.rounds,
        "scripts": told.scripts,
        "expected": sum(weights.values()) * letters,
        "lemmas": options.rounds <= LEMMAS_UP_TO,
        "states": told.states,
        "rounds_to_decide_after_healing": dict(sorted(told.healed.items())),
        "seconds": round(time.monotonic() - began, 1),
    }
    if options.json:
        print(json.dumps(result))
    else:
        print("\n".join(f"{name}: {value}" for name, value in result.items()))
    sys.exit(result["scripts"] != result["expected"])


if __name__ == "__main__":
    main()
