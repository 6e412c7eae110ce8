"""Plant bugs in agreement and in the node around it, one at a time, and run seeds until one shows.

    scripts/mutants --json            ends with one object on stdout
    scripts/mutants no_skip q_2f1     these alone

A mutant that survives is a missing oracle, and makes the exit code 1.
"""

import argparse
import gc
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # tests/ is not installed

from tests.simulation import arenas

SEEDS = 200


def hunt(name: str, seeds: range) -> dict[str, Any]:
    """Return what became of one mutant."""
    gc.freeze()
    began = time.monotonic()
    caught = arenas.hunt(name, seeds)
    found: dict[str, Any] = {"name": name, "arena": arenas.arena_of(name), "caught": False}
    if caught is not None:
        found |= {"caught": True, **asdict(caught)}
    return found | {"seconds": round(time.monotonic() - began, 2)}


def main() -> None:
    """Read the arguments, hunt, and report."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("names", nargs="*", help="mutants; all where none is named")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="at most, for each")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--json", action="store_true", help="end with one object")
    options = parser.parse_args()
    known = arenas.every_mutant()
    for name in options.names:
        if name not in known:
            parser.error(f"no mutant is called {name}; there are: {', '.join(known)}")
    names = options.names or known
    began = time.monotonic()
    found = []
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        for each in pool.map(hunt, names, [range(options.seeds)] * len(names)):
            found.append(each)
            fate = f"{each['oracle']} at seed {each['seed']}" if each["caught"] else "SURVIVES"
            told = f"{each['name']}: {fate} ({each['arena']}, {each['seconds']} s)"
            print(told, file=sys.stderr, flush=True)
    survivors = [each["name"] for each in found if not each["caught"]]
    result = {
        "planted": len(found),
        "caught": len(found) - len(survivors),
        "survivors": survivors,
        "mutants": found,
        "seconds": round(time.monotonic() - began, 1),
    }
    if options.json:
        print(json.dumps(result))
    else:
        print(f"{result['caught']} of {result['planted']} caught, {result['seconds']} s")
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main()
