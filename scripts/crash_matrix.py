"""Let the power or the disk fail at every effect of what a node writes, and start it again.

Committing blocks, promising in the journal, rebuilding and healing, with both engines: at every
write, sync, rename, unlink and truncation the power fails and leaves of what was not synced
nothing, a part, or everything; or the disk answers that it is full, broken or read-only. After each
of these points a start needs no hand and finds all that was acknowledged. Exit code 1 where not.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.crashes.matrix import cases, crash, effects, points  # noqa: E402


def main() -> int:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--every", type=int, default=1, metavar="N", help="try every nth point")
    parser.add_argument("--case", default="", help="only those whose name begins so")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    began = time.monotonic()
    told: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="crashes-") as scratch:
        for case in cases():
            if case.name.startswith(options.case):
                told.append(_tried(case, Path(scratch), options.every))
                if not options.json:
                    one = told[-1]
                    failed = f", {len(one['failed'])} FAILED" if one["failed"] else ""
                    print(f"{one['points']:5d} points  {one['case']}{failed}", flush=True)
    result = {
        "points": sum(one["points"] for one in told),
        "failed": sum(len(one["failed"]) for one in told),
        "seconds": round(time.monotonic() - began, 1),
        "cases": told,
    }
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        for one in told:
            for failure in one["failed"]:
                print(f"{one['case']}: {failure}")
        print(f"{result['points']} points tried, {result['failed']} failed")
    return 1 if result["failed"] or not result["points"] else 0


def _tried(case: Any, scratch: Path, every: int) -> dict[str, Any]:  # noqa: ANN401
    done = effects(case, scratch)
    tried = [*points(done)][::every]
    failed = []
    for number, how in tried:
        try:
            crash(case, number, how, scratch)
        except Exception as error:  # noqa: BLE001 - told below
            what = f"{type(error).__name__}: {error}"
            failed.append(f"at effect {number}, {done[number]}, {how}: {what}")
    kinds = Counter(effect.split()[0] for effect in done)
    return {"case": case.name, "points": len(tried), "effects": kinds, "failed": failed}


if __name__ == "__main__":
    sys.exit(main())
