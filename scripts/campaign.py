"""Drive every call, by every kind of member, in every order and worse, beside a model of the rules.

    scripts/campaign                     20,000 steps
    scripts/campaign --steps 300000      a night
    scripts/campaign --seed 7 --json     from another beginning; ends with one object on stdout

The machine is that of tests/contracts/machine, of which tests/contracts/test_machine.py runs a few
steps. What differs from the model is a violation, told with the steps that lead to it. Each kind of
call must have been applied, and refused, at least once: or the campaign was too short, or blind.
"""

import argparse
import contextlib
import io
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, get_args

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # whoever runs this

from contracts.calls import Call
from contracts.errors import Refusal
from tests.contracts.machine.network import Network
from tests.contracts.machine.stage import Stage, Tally

CHAINS: Final = 10  # of one slice, which has a seed of its own
LENGTH: Final = 150  # steps of one chain
TOLD: Final = 4_000  # characters of a violation: its end, where the last steps are
KINDS: Final = tuple(sorted(kind.__name__ for kind in get_args(Call)))


@dataclass
class Seen:
    """What some slices have seen."""

    tally: Tally = field(default_factory=Tally)
    violations: list[dict[str, Any]] = field(default_factory=list)

    def add(self, other: "Seen") -> None:
        """Count another's too."""
        for name, count in vars(other.tally).items():
            setattr(self.tally, name, getattr(self.tally, name) + count)
        self.violations += other.violations

    def missing(self) -> list[str]:
        """Return what was never applied, or never refused."""
        by_result: dict[str, Counter[str]] = {
            "applied": self.tally.applied,
            "refused": self.tally.refused,
        }
        return [
            f"{kind}: never {result}"
            for kind in KINDS
            for result, counts in by_result.items()
            if not counts[kind]
        ]


def hunt(slice_seed: int, chains: int = CHAINS, length: int = LENGTH) -> Seen:
    """Run some chains from one seed; return what was seen."""
    Stage.tally, violations = Tally(), list[dict[str, Any]]()
    seed(slice_seed)(Network)
    how = settings(
        max_examples=chains,
        stateful_step_count=length,
        deadline=None,
        database=None,
        phases=(Phase.generate,),  # to make it shorter takes minutes: for who looks into it
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            run_state_machine_as_test(Network, settings=how)
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not be
        steps = "\n".join(getattr(error, "__notes__", ()))
        told = f"{steps}\n{type(error).__name__}: {error}"
        violations.append({"seed": slice_seed, "told": told[-TOLD:]})
    return Seen(Stage.tally, violations)


def campaign(steps: int, first: int, jobs: int) -> Seen:
    """Run slice after slice until so many steps are made or something is violated."""
    found, number = Seen(), first
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        while found.tally.steps < steps and not found.violations:
            for seen in pool.map(hunt, range(number, number + jobs)):
                found.add(seen)
            number += jobs
            print(f"{found.tally.steps} steps", file=sys.stderr, flush=True)
    return found


def report(found: Seen, seconds: float) -> dict[str, Any]:
    """Return what is told of a campaign."""
    tally = found.tally
    return {
        "steps": tally.steps,
        "blocks": tally.blocks,
        "calls": {
            kind: {"applied": tally.applied[kind], "refused": tally.refused[kind]} for kind in KINDS
        },
        "refusals": dict(sorted(tally.refusals.items())),
        "refusals never seen": [each.name for each in Refusal if not tally.refusals[each.name]],
        "never in a block": dict(sorted(tally.inadmissible.items())),
        "missing": found.missing(),
        "violations": found.violations,
        "seconds": round(seconds, 1),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the arguments, run, and report; return 1 where something is missing or violated."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--steps", type=int, default=20_000, help="at least so many")
    parser.add_argument("--seed", type=int, default=0, help="of the first slice")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--json", action="store_true", help="end with one object")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    found = campaign(options.steps, options.seed, options.jobs)
    result = report(found, time.monotonic() - began)
    if options.json:
        print(json.dumps(result))
    else:
        calls = result["calls"].values()
        print(
            f"{result['steps']} steps, {result['blocks']} blocks:"
            f" {sum(each['applied'] for each in calls)} calls applied,"
            f" {sum(each['refused'] for each in calls)} refused, {result['seconds']} s"
        )
        for line in (*result["missing"], *(each["told"] for each in result["violations"])):
            print(line)
    return 1 if result["missing"] or result["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
