"""Play every script of a twin attack: who leads, how the network is split, what is lost.

    scripts/twins --json        ends with one object on stdout
    scripts/twins --rounds 4    one round more; takes twenty minutes and 12 GB

Four validators, one of whom runs twice under one key, and every schedule of leaders. With three
rounds every lemma is checked; with four, that no two blocks are decided and that all decide once
the network heals (what was signed would tell too many states apart). A violation ends it with the
lemma's name and exit code 1.
"""

import argparse
import gc
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # tests/ is not installed

from tests.simulation import twins
from tests.simulation.twins import Told

LEMMAS_UP_TO = 3  # rounds


def main() -> None:
    """Read the arguments, play, and report."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--rounds", type=int, default=LEMMAS_UP_TO, choices=range(1, 5))
    parser.add_argument("--json", action="store_true", help="end with one object")
    options = parser.parse_args()
    gc.disable()  # nothing is let go of in a cycle, and to look for some takes most of the time
    began = time.monotonic()

    def tell(told: Told) -> None:
        elapsed = time.monotonic() - began
        print(f"{told.states} states, {told.walked} walked, {elapsed:.0f} s", file=sys.stderr)

    lemmas = options.rounds <= LEMMAS_UP_TO
    told = twins.enumerate_scripts(options.rounds, lemmas=lemmas, tell=tell)
    result = {
        "rounds": options.rounds,
        "scripts": told.scripts,
        "expected": len(twins.LETTERS) ** options.rounds,
        "lemmas": lemmas,
        "states": told.states,
        "walked": told.walked,
        "rounds_to_decide_after_healing": dict(sorted(told.healed.items())),
        "seconds": round(time.monotonic() - began, 1),
        "processor_seconds": round(time.process_time(), 1),
    }
    if options.json:
        print(json.dumps(result))
    else:
        print("\n".join(f"{name}: {value}" for name, value in result.items()))
    sys.exit(result["scripts"] != result["expected"])


if __name__ == "__main__":
    main()
