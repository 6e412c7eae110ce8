"""scripts/determinism: it holds, and it would find what differs from machine to machine."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from scripts import determinism
from scripts.determinism import Run, Setting, judge, perform, settings_of, this_python
from tests.chains import FIRST


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("determinism")


@pytest.fixture(scope="module")
def exports(folder: Path) -> list[Path]:
    return determinism.make_chains(folder)


@pytest.fixture(scope="module")
def settings(folder: Path) -> list[Setting]:
    locales, _ = determinism.make_locales(folder)
    return list(settings_of(this_python(), locales, folder))


def test_chains_come_to_the_same_under_other_seeds_orders_engines_locales_and_optimised(
    settings: list[Setting], exports: list[Path]
) -> None:
    runs = [perform(setting, exports) for setting in determinism.short(settings)]
    assert len(runs) >= 6
    report = determinism.report(exports, runs, ())
    assert report["differences"] == []
    assert report["held"]


def test_the_chains_hold_every_kind_of_call_applied(exports: list[Path]) -> None:
    applied, _ = determinism.applied_kinds(exports)
    assert determinism.every_kind() - applied == set()


def test_who_knows_the_release_alone_stops_where_other_rules_begin(exports: list[Path]) -> None:
    setting = next(iter(settings_of(this_python(), [], Path("/"))))
    (chain,) = perform(setting, exports[-1:], released=True).chains
    assert chain[-1]["height"] == FIRST
    assert chain[-1]["raised"].startswith("UnknownVersion: from block 15 on version 2")


PLANTS = {  # what a rule might read -> a setting in which it reads otherwise
    "hash('depoli')": "hash seed 42",
    "list(map(str, {'a', 'b', 'c', 'd', 'e', 'f'}))": "hash seed 1,",
    "__debug__": "-OO",
    "next(iter(state.changes))": "dicts in disorder 3",
    "type(vars(state)['_base']).__name__": "sqlite, Python",
    "time.localtime(0).tm_hour": "time zone NST",
    "locale.localeconv()['decimal_point']": "locale",
    "os.umask(0) + os.umask(18) * 0": "umask 077",
    "os.path.basename(os.getcwd())": "another directory",
    "time.time_ns()": "hash seed 1,",
    "time.time() > 0": "no clock",
    "os.urandom(0)": "no clock",
    "os.stat('.') and 1": "no clock",
    "deep(60)": "little room for recursion",
    "len(str(10 ** 700))": "short texts of numbers",
}


@pytest.mark.parametrize(("plant", "where"), PLANTS.items(), ids=PLANTS)
def test_what_differs_from_machine_to_machine_is_found(
    plant: str, where: str, settings: list[Setting], exports: list[Path], tmp_path: Path
) -> None:
    setting = next((each for each in settings if each.name.startswith(where)), None)
    if setting is None:
        pytest.skip("no such condition can be made on this machine")
    (tmp_path / "sitecustomize.py").write_text(
        "import locale, os, time\n"
        "from contracts import recent\n"
        "real = recent.note\n"
        "def deep(n): return n and 1 + deep(n - 1)\n"
        "def note(state, header):\n"
        "    real(state, header)\n"
        f"    state.put(b'~', repr({plant}).encode())\n"
        "recent.note = note\n"
    )
    extra = {"PYTHONPATH": str(tmp_path)}
    first, other = (perform(each, exports[:1], extra) for each in (settings[0], setting))
    assert not first.failure
    found = judge([first, other])
    assert [each for each in found if each["run"] == setting.name]


def test_a_header_that_is_not_the_recorded_one_is_found(
    settings: list[Setting], exports: list[Path]
) -> None:
    run = perform(settings[0], exports[:1])
    assert judge([run, run]) == []
    other = changed(run, "recorded")
    assert {each["field"] for each in judge([other, other])} == {"recorded header"}


@pytest.mark.parametrize("what", ["header", "state", "outcomes", "rest"])
def test_each_digest_is_compared(what: str, settings: list[Setting], exports: list[Path]) -> None:
    run = perform(settings[0], exports[:1])
    assert [each["field"] for each in judge([run, changed(run, what)])] == [what]
    shorter = replace(run, chains=[run.chains[0][:-1]])
    assert judge([run, shorter])
    assert judge([run, replace(run, chains=[])])


def changed(run: Run, what: str) -> Run:
    """Return the run with something else at height 3."""
    chain: Sequence[object] = run.chains[0]
    blocks = [
        {**block, what: "another"} if block["height"] == 3 else block for block in run.chains[0]
    ]
    assert len(blocks) == len(chain)
    return replace(run, chains=[blocks])


def test_a_run_that_failed_or_whose_conditions_did_not_hold_is_no_proof(
    settings: list[Setting], exports: list[Path]
) -> None:
    run = perform(settings[0], exports[:1])
    asked = replace(settings[0], name="asked", expected={"optimize": 2})
    assert judge([run, replace(run, setting=asked)]) == [
        {"run": "asked", "condition": "optimize", "expected": 2, "found": 0}
    ]
    broken = perform(replace(settings[0], options=("--engine", "none")), exports[:1])
    assert "invalid choice" in broken.failure
    assert judge([run, broken])[0]["failed"] == broken.failure


def test_a_python_that_cannot_have_our_packages_is_told_with_the_reason(tmp_path: Path) -> None:
    said = {"version": "3.11.0", "path": "/nowhere", "executable": "/nowhere"}
    assert determinism.equip(said | {"lacks": "no venv"}, tmp_path) == "no venv"
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho 'setup: no network' >&2; exit 1\n")
    program.chmod(0o755)
    found = determinism.equip(said | {"lacks": "", "path": str(program)}, tmp_path)
    assert found == "setup: no network"
