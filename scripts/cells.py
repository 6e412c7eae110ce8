"""Change every cell of the lives of all contracts, one at a time, and see that a test notices.

    scripts/cells --json           ends with one object on stdout
    scripts/cells claim            the cells of one life alone

What is changed: the state after, the party that may, a guard, a condition, an effect or a moment
that is not there, a row that is not there, and a row in a cell that is empty. The tables are
changed in memory, and the tests of the contracts run on them in the same process. A change that no
test notices is a hole in the tests, and makes the exit code 1.
"""

import argparse
import contextlib
import io
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from enum import IntEnum
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # whoever runs this

from contracts import dispatch
from contracts.life import Life, Row

ROOT: Final = Path(__file__).resolve().parent.parent
AnyLife = Life[Any]
AnyRow = Row[Any]

# life, change -> why no test can notice it.
ALIKE: Final = {
    ("settlement", "row 2, SettlementAdd of OPEN by PAYER: without claims_can_enter"): (
        "its effect looks at each claim again, and refuses"
    ),
    ("settlement", "row 3, SettlementRemove of OPEN by PAYER: without claims_are_in_it"): (
        "its effect looks at each claim again, and refuses"
    ),
    ("proposal", "row 1, Propose of nothing by MEMBER: by PROPOSER"): "its maker is both",
    ("proposal", "new row, Vote of EXPIRED by MEMBER"): "that state is never stored",
    ("proposal", "new row, Withdraw of EXPIRED by PROPOSER"): "that state is never stored",
    ("proposal", "new row, ValidatorJoin of EXPIRED by MEMBER"): "that state is never stored",
    ("proposal", "new row, ValidatorLeave of EXPIRED by MEMBER"): "that state is never stored",
    ("proposal", "new row, ValidatorReplace of EXPIRED by MEMBER"): "that state is never stored",
}


@dataclass(frozen=True)
class Mutant:
    """One change of a life's rows."""

    life: str
    change: str
    rows: tuple[AnyRow, ...]


# --- the changes ----------------------------------------------------------------------------------


def mutants_of(life: AnyLife, *, thorough: bool = False) -> Iterator[Mutant]:
    """Yield every change of one cell; of states after, one other, or if `thorough` every other."""
    for number, row in enumerate(life.rows):
        for change, other in changes_of(life, row, thorough=thorough):
            rows = (*life.rows[:number], *other, *life.rows[number + 1 :])
            yield Mutant(life.name, f"row {number + 1}, {title(row)}: {change}", rows)
    yield from (
        Mutant(life.name, f"new row, {title(row)}", (*life.rows, row)) for row in empty_cells(life)
    )


def changes_of(
    life: AnyLife, row: AnyRow, *, thorough: bool
) -> Iterator[tuple[str, tuple[AnyRow, ...]]]:
    """Yield what a row may become: what is changed, and the rows in its place."""
    if sum(other.call is row.call for other in life.rows) > 1:
        yield (
            "not there",
            (),
        )  # the only row of a call cannot go: the call would be none of this life
    for state in other_states(row)[: None if thorough else 1]:
        yield f"to {state.name}", (replace(row, after=state),)
    for party in (*life.parties, *filter(None, (life.crowd,))):
        if party is not row.who:
            yield f"by {party.name}", (replace(row, who=party),)
    for place, guard in enumerate(row.guards):
        left = (*row.guards[:place], *row.guards[place + 1 :])
        yield f"without {name_of(guard)}", (replace(row, guards=left),)
    for place, effect in enumerate(row.effects):
        rest = (*row.effects[:place], *row.effects[place + 1 :])
        yield f"without {name_of(effect)}", (replace(row, effects=rest),)
    if row.when is not None:
        yield f"whether or not {name_of(row.when)}", (replace(row, when=None),)
        yield f"never though {name_of(row.when)}", (replace(row, when=never),)
    for field in ("opens", "closes", "due"):
        moment = getattr(row, field)
        if moment is not None:
            yield f"without {field} {name_of(moment)}", (changed(row, field, None),)
            for seconds in (-1, 1):
                other = changed(row, field, shifted(moment, seconds))
                yield f"{field} {name_of(moment)} {seconds:+} s", (other,)


def other_states(row: AnyRow) -> list[IntEnum]:
    """Return the states that a row does not lead to, the next one first."""
    states = list(type(row.after))
    place = states.index(row.after)
    return [*states[place + 1 :], *states[:place]]


def empty_cells(life: AnyLife) -> Iterator[AnyRow]:
    """Yield a row for each state and call for which there is none."""
    states = type(life.rows[0].after)
    filled = {(row.before, row.call) for row in life.rows}
    models = {row.call: row for row in reversed(life.rows) if row.before is not None}
    for state in states:
        for call, row in models.items():
            if (state, call) not in filled:
                yield replace(row, before=state)


def changed(row: AnyRow, field: str, moment: Callable[..., int] | None) -> AnyRow:
    """Return a row with another moment in a field."""
    fields: dict[str, Any] = {field: moment}
    return replace(row, **fields)


def never(*_given: object) -> bool:
    """Return whether it never holds."""
    return False


def shifted(moment: Callable[..., int], seconds: int) -> Callable[..., int]:
    """Return a moment some seconds later."""
    return lambda *given: moment(*given) + seconds


def title(row: AnyRow) -> str:
    """Return what a row is about."""
    before = "nothing" if row.before is None else row.before.name
    return f"{row.call.__name__} of {before} by {row.who.name}"


def module_of(life: AnyLife) -> str:
    """Return the file in which a life stands, and by which its tests are called."""
    return life.make.__module__.rpartition(".")[2]


def name_of(function: Callable[..., object]) -> str:
    """Return the name of a guard, a condition, an effect or a moment."""
    return getattr(function, "__name__", "it")


@contextlib.contextmanager
def planted(life: AnyLife, rows: tuple[AnyRow, ...]) -> Iterator[None]:
    """Let a life have these rows."""
    kept = vars(life).copy()
    fields = {"rows": rows}
    derived = {name for name, value in vars(type(life)).items() if hasattr(value, "func")}
    try:
        for name in derived & kept.keys():
            del vars(life)[name]
        vars(life).update(fields)
        yield
    finally:
        vars(life).clear()
        vars(life).update(kept)


# --- the tests ------------------------------------------------------------------------------------


class Hunt:
    """A run of pytest that collects once, and runs the tests again for every change."""

    def __init__(self, mutants: Sequence[Mutant], show: Callable[[str], None]) -> None:
        self._mutants, self._show = mutants, show
        self.found: list[dict[str, Any]] = []
        self.broken = ""  # what fails with nothing changed
        self._tests: list[Test] = []

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run for every change the tests until one fails, those first that often do and soon."""
        for item in session.items:
            began = time.monotonic()
            if fails(item):
                self.broken = item.nodeid
                return True
            self._tests.append(Test(item, time.monotonic() - began))
        lives = {life.name: life for life in dispatch.LIVES}
        for mutant in self._mutants:
            began = time.monotonic()
            with planted(lives[mutant.life], mutant.rows):
                caught = self._first_to_fail(module_of(lives[mutant.life]))
            took = round(time.monotonic() - began, 2)
            told = {"life": mutant.life, "change": mutant.change, "test": caught, "seconds": took}
            self.found.append(told)
            self._show(f"{mutant.life}: {mutant.change}: {caught or 'SURVIVES'}")
        return True

    def _first_to_fail(self, module: str) -> str:
        for test in sorted(self._tests, key=lambda each: each.order(module)):
            if fails(test.item):
                test.noticed += 1
                return test.item.nodeid
        return ""


@dataclass
class Test:
    """A test, how long it takes, and how many changes it was the first to notice."""

    item: pytest.Item
    seconds: float
    noticed: int = 0

    def order(self, module: str) -> tuple[bool, float]:
        """Return its place: first the tests of a module, and of those what pays best."""
        is_far = not self.item.path.stem.startswith(f"test_{module}")
        return is_far, self.seconds / (1 + self.noticed)


def fails(item: pytest.Item) -> bool:
    """Return whether a test fails now; it can be run again."""
    vars(item).get("_initrequest", getattr(item, "_initrequest", lambda: None))()
    return any(report.failed for report in runtestprotocol(item, log=False, nextitem=None))


def hunt(mutants: Sequence[Mutant], tests: Sequence[str]) -> Hunt:
    """Return what became of these changes, under these tests."""
    settings.register_profile(
        "cells",
        max_examples=5,
        stateful_step_count=10,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    found = Hunt(mutants, say)
    arguments = ["-q", "-p", "no:cacheprovider", "--hypothesis-profile=cells", *tests]
    arguments += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of what is imported here
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = pytest.main(
            [f"--rootdir={ROOT}", f"-c{ROOT / 'pyproject.toml'}", *arguments], [found]
        )
    if found.broken or code not in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
        sys.exit(f"the tests fail with nothing changed: {found.broken or said.getvalue()[-2000:]}")
    return found


def share(changes: Sequence[tuple[str, str]], tests: Sequence[str]) -> list[dict[str, Any]]:
    """Return what became of these changes, in a process of its own."""
    wanted = set(changes)
    known = every([life for life, _ in wanted], thorough=True)
    return hunt([each for each in known if (each.life, each.change) in wanted], tests).found


def every(names: Sequence[str], *, thorough: bool) -> list[Mutant]:
    """Return all changes of these lives; of all where none is named."""
    return [
        mutant
        for life in dispatch.LIVES
        if not names or life.name in names
        for mutant in mutants_of(life, thorough=thorough)
        if (mutant.life, mutant.change) not in ALIKE
    ]


def relevant_tests() -> list[str]:
    """Return the tests that make blocks, or tables."""
    paths = sorted((ROOT / "tests" / "contracts").glob("test_*.py"))
    makers = ("tests.contracts.world", "tests.contracts.machine")
    told = {path: path.read_text("utf-8") for path in paths}
    return [str(path) for path, text in told.items() if any(each in text for each in makers)]


def say(text: str) -> None:
    """Tell a person how far it is."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Read the arguments, hunt, and report."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    known = [life.name for life in dispatch.LIVES]
    parser.add_argument("names", nargs="*", help=f"lives; all where none is named: {known}")
    parser.add_argument("--tests", nargs="+", help="files of tests; those of the contracts")
    parser.add_argument("--sample", type=int, help="so many changes, evenly drawn")
    parser.add_argument("--thorough", action="store_true", help="every other state after")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--json", action="store_true", help="end with one object")
    options = parser.parse_args()
    for name in options.names:
        if name not in known:
            parser.error(f"no life is called {name}; there are: {', '.join(known)}")
    began = time.monotonic()
    mutants = every(options.names, thorough=options.thorough)
    if options.sample:
        mutants = mutants[:: max(1, len(mutants) // options.sample)]
    changes = [(mutant.life, mutant.change) for mutant in mutants]
    parts = [changes[job :: options.jobs] for job in range(options.jobs)]
    tests = options.tests or relevant_tests()
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        found = [each for part in pool.map(share, parts, [tests] * len(parts)) for each in part]
    survivors = [f"{each['life']}: {each['change']}" for each in found if not each["test"]]
    result = {
        "planted": len(found),
        "caught": len(found) - len(survivors),
        "survivors": survivors,
        "lives": sorted({each["life"] for each in found}),
        "cells": found,
        "seconds": round(time.monotonic() - began, 1),
    }
    if options.json:
        print(json.dumps(result))
    else:
        print(f"{result['caught']} of {result['planted']} caught, {result['seconds']} s")
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main()
