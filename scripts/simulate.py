"""Run whole clusters under seeded chaos, and say which lemma of agreement broke, if one did.

    scripts/simulate --seeds 0-9999 --json     ends with one object on stdout
    scripts/simulate --trace 4711              one run, as a diagram

Progress goes to stderr. The exit code is 1 after a violation, or where a situation of
tests/simulation/marks.py was not met in 1,000 seeds. Any Python that has the packages of
requirements/dev.txt will do; an optimised one takes half the time (DEPOLI_PYTHON).
"""

import argparse
import contextlib
import gc
import json
import sys
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # tests/ is no package that is installed

from tests.simulation.marks import MARKS, SEEDS_PER_MARK  # noqa: E402
from tests.simulation.trace import Trace  # noqa: E402
from tests.simulation.world import Plan, World  # noqa: E402

RAN = "ran"
LOT = 50  # seeds that a process takes at a time
REPORT_S = 10
LAST_ROWS = 120  # of the diagram of a failing seed


def counters() -> dict[int, Counter[str]]:
    """Return an empty count for each thousand seeds."""
    return defaultdict(Counter)


@dataclass
class Tally:
    """What some runs amounted to."""

    seeds: int = 0
    events: int = 0
    marks: Counter[str] = field(default_factory=Counter)  # in how many seeds
    # The same for each thousand: how many of its seeds ran, and how many met what.
    thousands: dict[int, Counter[str]] = field(default_factory=counters)
    violations: list[dict[str, Any]] = field(default_factory=list)
    processor_s: float = 0.0
    stopped_at: int | None = None  # the first seed for which there was no time

    def add(self, other: "Tally") -> None:
        """Count what another process did."""
        self.seeds += other.seeds
        self.events += other.events
        self.marks.update(other.marks)
        for thousand, met in other.thousands.items():
            self.thousands[thousand].update(met)
        self.violations += other.violations
        self.processor_s += other.processor_s
        if other.stopped_at is not None:
            self.stopped_at = min(other.stopped_at, self.stopped_at or other.stopped_at)


def run_lot(seeds: range, until: float) -> Tally:
    """Run these seeds, or those for which there is time."""
    tally = Tally()
    began = time.process_time()
    gc.disable()  # worlds are full of cycles: once in a while is cheaper than all the time
    for seed in seeds:
        if time.time() > until:
            tally.stopped_at = seed
            break
        world = World(Plan.draw(seed))
        try:
            world.run()
        except Exception as error:  # noqa: BLE001  # an assertion of the core is a finding as well
            what = f"{type(error).__name__}: {error}"[:500]
            tally.violations.append({"seed": seed, "what": what})
        tally.seeds += 1
        tally.events += world.events
        marks = [mark for mark, count in world.oracle.marks.items() if count]
        tally.marks.update(marks)
        tally.thousands[seed // SEEDS_PER_MARK].update([RAN, *marks])
    gc.collect()
    tally.processor_s = time.process_time() - began
    return tally


def lots(seeds: range) -> Iterator[range]:
    """Cut the seeds into lots."""
    for first in range(seeds.start, seeds.stop, LOT):
        yield range(first, min(first + LOT, seeds.stop))


def campaign(seeds: range, jobs: int, seconds: float) -> Tally:
    """Run all seeds in so many processes."""
    total, began, told = Tally(), time.time(), time.time()
    until = began + seconds
    left = lots(seeds)
    with ProcessPoolExecutor(max(jobs, 1), mp_context=get_context("fork")) as pool:
        running: set[Future[Tally]] = set()
        while True:
            while len(running) < 2 * jobs:
                if (lot := next(left, None)) is None:
                    break
                running.add(pool.submit(run_lot, lot, until))
            if not running:
                return total
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                tally = future.result()
                total.add(tally)
                for violation in tally.violations:
                    say(f"seed {violation['seed']}: {violation['what']}")
            if time.time() - told > REPORT_S:
                told = time.time()
                rate = 60 * total.seeds / (told - began)
                failed = len(total.violations)
                say(f"{total.seeds} of {len(seeds)} seeds, {rate:.0f} a minute, {failed} failed")


def show(seed: int, rows: int, picture: Path | None) -> bool:
    """Run one seed and draw it; return whether all went well."""
    trace = Trace()
    plan = Plan.draw(seed)
    world = World(plan, trace=trace)
    names = ["" for _ in range(world.peers)]
    for shell in world.shells:
        names[shell.peer] = f"p{shell.peer}" if shell.honest else f"p{shell.peer} twin"
    for evil in world.evil:
        names[evil.peer] = f"p{evil.peer} evil"
    print(plan)
    try:
        world.run()
    except Exception:  # noqa: BLE001  # whatever it is, it is shown
        failure = traceback.format_exc()
    else:
        failure = ""
    print(trace.text(names, rows))
    print(failure or f"seed {seed}: every lemma holds, {world.events} events, {world.now} ms")
    if picture is not None:
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_text(trace.svg(names), encoding="utf-8")
    return not failure


def say(what: str) -> None:
    """Tell the person who waits."""
    print(f"simulate: {what}", file=sys.stderr, flush=True)


def seeds_of(text: str) -> range:
    """Return the seeds of `A-B`, both included, or of one number."""
    first, _, last = text.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    if not seeds:
        raise argparse.ArgumentTypeError(f"{text} names no seed: the first is above the last")
    return seeds


seeds_of.__name__ = "range of seeds"  # what argparse calls it, where it is none


def main(arguments: Sequence[str]) -> int:
    """Run what the command line asks for; return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=seeds_of, default=range(1000), help="A-B, both included")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so long")
    parser.add_argument("--trace", type=int, metavar="SEED", help="draw one run instead")
    parser.add_argument("--rows", type=int, default=LAST_ROWS, help="rows of the diagram")
    parser.add_argument("--svg", type=Path, help="write the diagram there as well")
    options = parser.parse_args(arguments)
    if options.trace is not None:
        return 0 if show(options.trace, options.rows, options.svg) else 1
    began = time.time()
    total = campaign(options.seeds, options.jobs, options.seconds)
    elapsed_s = max(time.time() - began, 0.001)
    missing = [
        f"{mark} in {thousand * SEEDS_PER_MARK}-{(thousand + 1) * SEEDS_PER_MARK - 1}"
        for thousand, met in sorted(total.thousands.items())
        if met[RAN] == SEEDS_PER_MARK
        for mark in sorted(MARKS - met.keys())
    ]
    for violation in total.violations[:3]:
        print(f"\nscripts/simulate --trace {violation['seed']}", file=sys.stderr)
        with contextlib.redirect_stdout(sys.stderr):
            show(violation["seed"], LAST_ROWS, None)
    for mark in missing:
        say(f"not met: {mark}")
    result = {
        "seeds": total.seeds,
        "violations": len(total.violations),
        "events": total.events,
        "marks": dict(sorted(total.marks.items())),
        "schedules_per_minute": round(60 * total.seeds / elapsed_s),
        "schedules_per_minute_of_processor": round(60 * total.seeds / max(total.processor_s, 1e-3)),
        "missing_marks": missing,
        "failed": total.violations,
        "first_seed": options.seeds.start,
        "next_seed": options.seeds.stop if total.stopped_at is None else total.stopped_at,
        "jobs": options.jobs,
        "python": sys.version.split()[0],
    }
    if options.json:
        print(json.dumps(result))
    else:
        for key, value in result.items():
            say(f"{key} {value if value != [] else 'none'}")
    return 1 if total.violations or missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
