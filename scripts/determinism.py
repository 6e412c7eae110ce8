"""Execute chains under every condition that could make two machines differ, and compare.

    scripts/determinism --json                 ends with one object on stdout
    scripts/determinism --export chain.depoli  the chain of a network, in the place of ours

Each run is a process of its own: other hash seeds, orders of dicts, locales, time zones, masks,
optimisation, engines of the store, and every Python from 3.11 on that is found on this machine,
each in an environment of its own with the locked packages. What could not be tried is named. Any
difference makes the exit code 1, and so does a run whose conditions did not hold.
"""

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, get_args

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # tests/ is not installed

from contracts.calls import Call, parse_call
from ledger.entry import APPLIED
from ledger.transaction import parse
from scripts import digests
from tests.chains import chains, two_versions

ROOT: Final = Path(__file__).resolve().parent.parent
OLDEST: Final = (3, 11)
RUN_S: Final = 300  # no replay of ours takes that long, on however slow a machine
ENGINES: Final = ("leveldb", "sqlite")
SEEDS: Final = ("0", "1", "42", "1000003", "4294967295")
LOCALES: Final = (("tr_TR", "UTF-8"), ("fr_FR", "UTF-8"), ("de_DE", "ISO-8859-1"))
ZONES: Final = {"LINT-14": 50_400, "NST3:30": -12_600, "NPT-5:45": 20_700}  # seconds east of UTC
PLACES: Final = (
    "/usr/bin/python3.*",
    "/usr/local/bin/python3.*",
    "/opt/*/bin/python3",
    "~/.pyenv/versions/*/bin/python3",
    "~/.local/share/uv/python/*/bin/python3",
)
_PROBE: Final = """
import json, platform, sys
try:
    import ensurepip, venv
    lacks = ""
except ImportError as error:
    lacks = str(error)
print(json.dumps({
    "version": platform.python_version(), "implementation": platform.python_implementation(),
    "executable": sys._base_executable or sys.executable, "lacks": lacks,
}))
"""


@dataclass(frozen=True)
class Python:
    """One Python, and the program by which it runs with our packages."""

    version: str
    path: str
    program: str
    engines: tuple[str, ...]

    @property
    def name(self) -> str:
        """What it is called in the output."""
        return f"Python {self.version} ({self.path})"


@dataclass(frozen=True)
class Setting:
    """The conditions of one run."""

    name: str
    python: Python
    flags: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    umask: int = 0o022
    folder: Path = ROOT
    expected: Mapping[str, object] = field(default_factory=dict)  # of its conditions


@dataclass(frozen=True)
class Run:
    """What one run found, or why it found nothing."""

    setting: Setting
    conditions: Mapping[str, Any]
    chains: Sequence[Sequence[Mapping[str, Any]]]
    failure: str = ""


# --- what there is on this machine ----------------------------------------------------------------


def probe(program: str) -> dict[str, str] | None:
    """Return what a Python says of itself, None where it is none."""
    try:
        done = subprocess.run(
            [program, "-I", "-c", _PROBE], capture_output=True, text=True, check=True, timeout=60
        )
        found: dict[str, str] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return found


def this_python() -> Python:
    """Return the Python that runs this, in the environment that it runs in."""
    path = os.path.realpath(sys.executable)
    return Python(sys.version.split()[0], path, sys.executable, engines_of(sys.executable))


def engines_of(program: str) -> tuple[str, ...]:
    """Return the engines of the store that this Python has."""
    done = subprocess.run([program, "-c", "import plyvel"], capture_output=True, check=False)
    return ENGINES if done.returncode == 0 else ("sqlite",)


def found_pythons() -> Iterator[dict[str, str]]:
    """Yield what each other Python that is new enough says of itself; `path` is where it is."""
    names = (f"python3.{minor}" for minor in range(OLDEST[1], 40))
    paths = [path for place in PLACES for path in glob(place)]
    paths += filter(None, map(shutil.which, names))
    seen = {os.path.realpath(vars(sys)["_base_executable"])}
    for path in paths:
        said = None if path.endswith("-config") else probe(path)
        if said is None or os.path.realpath(said["executable"]) in seen:
            continue
        seen.add(os.path.realpath(said["executable"]))
        if tuple(map(int, said["version"].split(".")[:2])) >= OLDEST:
            yield said | {"path": path}


def equip(said: Mapping[str, str], folder: Path) -> Python | str:
    """Return a Python in an environment with our packages, or why it cannot have them.

    The environment is made in `folder`, and kept.
    """
    if said["lacks"]:
        return said["lacks"]
    version, path = said["version"], said["path"]
    name = sha256(os.path.realpath(said["executable"]).encode()).hexdigest()[:8]
    made = folder / f"{version}-{name}"
    say(f"environment of Python {version} ({path})")
    done = subprocess.run(
        [path, "-I", str(ROOT / "scripts" / "setup.py"), "run", str(made)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        return done.stderr.strip()
    program = str(made / "bin" / "python")
    return Python(version, path, program, engines_of(program))


def glob(place: str) -> list[str]:
    """Return the paths that a pattern names."""
    path = Path(place).expanduser()
    return sorted(str(found) for found in Path("/").glob(str(path.relative_to("/"))))


def make_locales(folder: Path) -> tuple[list[str], list[str]]:
    """Return the locales that could be compiled into `folder`, and those that could not."""
    made: list[str] = []
    missing: list[str] = []
    for language, charset in LOCALES:
        name = f"{language}.{charset}"
        command = ["localedef", "-i", language, "-f", charset, str(folder / name)]
        try:
            done = subprocess.run(command, capture_output=True, check=False)
        except FileNotFoundError:
            missing.append(name)
            continue
        # Without archives of locales it warns, and makes it all the same.
        (made if done.returncode in {0, 1} and (folder / name).is_dir() else missing).append(name)
    return made, missing


# --- the runs -------------------------------------------------------------------------------------


def settings_of(python: Python, locales: Sequence[str], folder: Path) -> Iterator[Setting]:
    """Yield all conditions under which one Python is tried."""
    plain = {"PYTHONHASHSEED": "0", "LC_ALL": "C", "TZ": "UTC"}

    def setting(name: str, **changed: Any) -> Setting:  # noqa: ANN401 - the fields of a setting
        environment = plain | changed.pop("environment", {})
        return Setting(f"{name}, {python.name}", python, environment=environment, **changed)

    for text in SEEDS:
        expected: dict[str, object] = {"seed": text, "is_random": text != "0"}
        yield setting(f"hash seed {text}", environment={"PYTHONHASHSEED": text}, expected=expected)
    yield setting("-R", flags=("-R",), expected={"is_random": True})
    for flags, level in (("-O", 1), ("-OO", 2)):
        yield setting(flags, flags=(flags,), expected={"optimize": level})
    for engine, seed in itertools.product(python.engines, (1, 2)):
        yield setting(
            f"{engine}, dicts in disorder {seed}",
            environment={"PYTHONHASHSEED": str(seed)},
            options=("--engine", engine, "--shuffle", str(seed)),
        )
    for engine in python.engines:
        yield setting(engine, options=("--engine", engine))
    yield setting("dicts in disorder 3", options=("--shuffle", "3"))
    for name in locales:
        environment = {"LC_ALL": name, "LOCPATH": str(folder), "PYTHONUTF8": "0"}
        yield setting(f"locale {name}", environment=environment, expected={"locale": name})
    for zone, offset in ZONES.items():
        environment, expected = {"TZ": zone}, {"offset": offset}
        yield setting(f"time zone {zone}", environment=environment, expected=expected)
    yield setting("umask 000", umask=0, expected={"umask": 0})
    yield setting("umask 077", umask=0o077, expected={"umask": 0o077})
    yield setting("another directory", folder=folder, expected={"cwd": folder.name})
    yield setting("no clock, chance or system", options=("--blind",))
    yield setting("little room for recursion", options=("--shallow",))
    yield setting("no collection of garbage", options=("--uncollected",))
    yield setting("-X dev -bb", flags=("-X", "dev", "-bb"))
    yield setting("short texts of numbers", flags=("-X", "int_max_str_digits=640"))


def short(settings: Sequence[Setting]) -> list[Setting]:
    """Return one of each kind, most of them together: for tests."""
    by_name = {setting.name.partition(", Python")[0]: setting for setting in settings}
    names = ["hash seed 0", "hash seed 42", "-OO", "no clock, chance or system"]
    names += [name for name in by_name if name.endswith("disorder 1")]
    names += [name for name in by_name if name.startswith("locale")][:1]
    return [by_name[name] for name in names]


def perform(
    setting: Setting,
    exports: Sequence[Path],
    extra: Mapping[str, str] = MappingProxyType({}),
    *,
    released: bool = False,
) -> Run:
    """Replay in a process of its own under these conditions; `extra` goes into its environment.

    With `released` it knows no rules but those of this release: not the second ones of our chains.
    """
    program = [setting.python.program, *setting.flags, str(ROOT / "scripts" / "digests.py")]
    environment = {"PATH": os.environ.get("PATH", ""), **setting.environment, **extra}
    try:
        done = subprocess.run(
            [*program, *setting.options, *(["--released"] * released), *map(str, exports)],
            env=environment,
            umask=setting.umask,
            cwd=setting.folder,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=RUN_S,
        )
    except subprocess.TimeoutExpired:
        return Run(setting, {}, (), f"no end after {RUN_S} s")
    if done.returncode != 0:
        return Run(setting, {}, (), done.stderr.strip()[-2000:])
    said = json.loads(done.stdout)
    return Run(setting, said["conditions"], said["chains"])


def judge(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return all that differs from the first run, and from what the chains say themselves."""
    found: list[dict[str, Any]] = []
    first = runs[0]
    for run in runs:
        name = run.setting.name
        if run.failure:
            found.append({"run": name, "failed": run.failure})
            continue
        found += [
            {"run": name, "condition": what, "expected": value, "found": run.conditions.get(what)}
            for what, value in run.setting.expected.items()
            if run.conditions.get(what) != value
        ]
        for number, (chain, other) in enumerate(
            itertools.zip_longest(run.chains, first.chains, fillvalue=())
        ):
            difference = first_difference(chain, other)
            if difference is not None:
                found.append({"run": name, "chain": number, **difference})
    return found


def first_difference(
    chain: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """Return where a chain first differs from the other, or from what it records of itself."""
    nothing: Mapping[str, Any] = {}
    for block, expected in itertools.zip_longest(chain, other, fillvalue=nothing):
        height = block.get("height", expected.get("height"))
        if "raised" in block:
            return {"height": height, "field": "raised", "found": block["raised"]}
        for what in ("header", "state", "outcomes", "rest"):
            if block.get(what) != expected.get(what):
                told = {"expected": expected.get(what), "found": block.get(what)}
                return {"height": height, "field": what, **told}
        if block["header"] != block["recorded"]:
            told = {"expected": block["recorded"], "found": block["header"]}
            return {"height": height, "field": "recorded header", **told}
    return None


# --- the chains -----------------------------------------------------------------------------------


def make_chains(folder: Path) -> list[Path]:
    """Write chains in which every kind of call is applied, many are refused, and rules change."""
    made = [*chains(), two_versions()]
    return [chain.export(folder / f"chain-{number}") for number, chain in enumerate(made)]


def applied_kinds(exports: Sequence[Path]) -> tuple[set[int], int]:
    """Return the kinds of calls that are applied in these chains, and how many blocks there are."""
    applied, count = set(), 0
    for path in exports:
        _, blocks = digests.read(path)
        count += len(blocks)
        for block in blocks:
            sent = (
                parse_call(data).KIND
                for raw in block.block.body.transactions
                for data in parse(raw).body.calls
            )
            outcomes = zip(sent, block.outcomes, strict=True)
            applied |= {kind for kind, outcome in outcomes if outcome.code == APPLIED}
    return applied, count


def every_kind() -> set[int]:
    """Return the numbers of all kinds of calls."""
    return {kind.KIND for kind in get_args(Call)}


def say(text: str) -> None:
    """Tell a person how far it is."""
    print(text, file=sys.stderr, flush=True)


def report(
    exports: Sequence[Path], runs: Sequence[Run], unusable: Sequence[Mapping[str, str]]
) -> dict[str, Any]:
    """Return what all runs came to."""
    applied, blocks = applied_kinds(exports)
    differences = judge(runs)
    chains = next((run.chains for run in runs if run.chains), ())
    return {
        "runs": len(runs),
        "differences": differences,
        "blocks": blocks,
        "call_kinds_applied": sorted(applied),
        "digests": [sha256(json.dumps(chain).encode()).hexdigest() for chain in chains],
        "pythons": sorted({run.setting.python.name for run in runs}),
        "pythons_unusable": list(unusable),
        "without_leveldb": sorted(
            {run.setting.python.name for run in runs if len(run.setting.python.engines) == 1}
        ),
        "held": not differences,
    }


def main() -> None:
    """Make chains, run, compare, and print the findings."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--export", type=Path, action="append", help="a chain; ours where none is")
    parser.add_argument("--this", action="store_true", help="no other Python than this one")
    parser.add_argument("--short", action="store_true", help="one run of each kind")
    parser.add_argument("--jobs", type=int, default=2, help="processes at once")
    parser.add_argument("--json", action="store_true", help="end with one object")
    options = parser.parse_args()
    began = time.monotonic()
    pythons, unusable = [this_python()], []
    for said in () if options.this else found_pythons():
        made = equip(said, ROOT / ".venvs")
        if isinstance(made, Python):
            pythons.append(made)
        else:
            unusable.append({"python": f"{said['version']} ({said['path']})", "why": made})
            say(f"NOT TRIED: Python {said['version']} ({said['path']}): {made}")
    with tempfile.TemporaryDirectory(prefix="depoli-determinism-") as name:
        folder = Path(name)
        locales, missing = make_locales(folder)
        for each in missing:
            say(f"NOT TRIED: locale {each}: localedef cannot make it here")
        exports = [path.absolute() for path in options.export or make_chains(folder)]
        lacking = [] if options.export else sorted(every_kind() - applied_kinds(exports)[0])
        settings = [
            setting for python in pythons for setting in settings_of(python, locales, folder)
        ]
        settings = short(settings) if options.short else settings
        with ThreadPoolExecutor(options.jobs) as pool:
            runs = []
            released = bool(options.export)
            for run in pool.map(lambda each: perform(each, exports, released=released), settings):
                runs.append(run)
                if len(runs) % 10 == 0 or len(runs) == len(settings):
                    say(f"{len(runs)} of {len(settings)} runs, the last: {run.setting.name}")
        result = report(exports, runs, unusable)
    result |= {
        "call_kinds_missing": lacking,
        "locales": locales,
        "locales_missing": missing,
        "held": result["held"] and not lacking,
        "seconds": round(time.monotonic() - began, 1),
    }
    if options.json:
        print(json.dumps(result))
    else:
        for what, value in result.items():
            print(f"{what:20} {value}")
    sys.exit(0 if result["held"] else 1)


if __name__ == "__main__":
    main()
