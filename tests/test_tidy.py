"""What no linter knows of this house: its tree, its names, its errors.

A finding of `test_errors_are_named_for_the_fact` that is no fault carries `# tidy: and the reason`
on its line. What the pure rings may not do, tests/test_purity.py says.
"""

import ast
import builtins
import io
import json
import os
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import (
    PURE_FILES,
    PYTHON_FILES,
    RING_FILES,
    ROOT,
    WORLDLY,
    is_kept,
    project_files,
    relative,
    text_of,
    told,
    tree_of,
)
from tests.purity import name_of

SCRIPTS = [path for path in (ROOT / "scripts").iterdir() if is_kept(path.name) and path.is_file()]

# A file tells one thing. The ratchet: a longer one stands here with its reason, and only shrinks.
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60
MAX_METHODS = 30
LONGER = {
    "consensus/core.py": 620,  # the rules of agreement are one idea, read from top to bottom
    "consensus/core.py:Core": 36,  # most are one rule of docs/protocol.md each
    "contracts/errors.py": 640,  # the closed list of refusals, and what each says
    "ledger/segments.py": 585,  # one format, and who writes, reads, replaces and searches its files
    "node/replica.py": 583,  # the shell of agreement is one idea: the order of its steps
    "node/replica.py:Replica": 46,  # most answer one ask of the core, or one question of a peer
}


# --- shape ----------------------------------------------------------------------------------------


# A package of one subject in several files, imported as one.
FACES = {"contracts/calls/__init__.py"}


def test_an_init_is_only_a_docstring() -> None:
    findings = [
        relative(path)
        for path in RING_FILES
        if path.name == "__init__.py"
        and relative(path) not in FACES
        and (len(tree_of(path).body) != 1 or ast.get_docstring(tree_of(path)) is None)
    ]
    assert not findings, told(findings)


def test_there_is_no_init_under_tests() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))  # it would shadow the real packages


def test_each_file_says_on_its_first_line_what_it_is() -> None:
    findings = []
    for path in PYTHON_FILES:
        first = text_of(path).removeprefix("#!/usr/bin/env python3\n").partition("\n")[0]
        if not re.fullmatch(r'r?"""[^ ].*[.:?!](""")?', first):
            findings.append(f"{relative(path)}:1: {first[:60]}")
    assert not findings, told(findings)


def test_names_say_things_not_roles() -> None:
    role = re.compile(r"(Manager|Helper|Util|Handler|Service)s?(?![a-z])")
    findings = []
    for path in PYTHON_FILES:
        if role.search(path.stem.title()):
            findings.append(relative(path))
        findings += [
            f"{relative(path)}:{node.lineno}: {node.name}"
            for node in ast.walk(tree_of(path))
            if isinstance(node, ast.ClassDef) and role.search(node.name)
        ]
    assert not findings, told(findings)


def sizes(path: Path) -> Iterator[tuple[str, int, int]]:
    """Yield (what, its size, the size it may have)."""
    yield relative(path), text_of(path).count("\n"), MAX_FILE_LINES
    for node in ast.walk(tree_of(path)):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                lines = (node.end_lineno or 0) - node.lineno + 1
                yield f"{relative(path)}:{node.name}", lines, MAX_FUNCTION_LINES
            case ast.ClassDef():
                methods = sum(
                    isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)) for each in node.body
                )
                yield f"{relative(path)}:{node.name}", methods, MAX_METHODS
            case _:
                pass


def test_files_functions_and_classes_stay_small_enough_to_read() -> None:
    findings = []
    for path in RING_FILES:
        for what, size, limit in sizes(path):
            allowed = LONGER.get(what, limit)
            if size > allowed:
                findings.append(f"{what}: {size}, where {allowed} may be: split it, or say why not")
    assert not findings, told(findings)


def test_the_ratchet_names_only_what_needs_it() -> None:
    needed = {what for path in RING_FILES for what, size, limit in sizes(path) if size > limit}
    assert set(LONGER) <= needed


# --- errors --------------------------------------------------------------------------------------


def reasons(path: Path) -> dict[int, str]:
    """Return line -> the reason that stands there after `# tidy:`."""
    found = {}
    for token in tokenize.generate_tokens(io.StringIO(text_of(path)).readline):
        if token.type == tokenize.COMMENT and "# tidy:" in token.string:
            found[token.start[0]] = token.string.partition("# tidy:")[2].strip()
    return found


PLAIN_ERRORS = (  # what Python itself means by them is the fact
    AssertionError,
    KeyboardInterrupt,
    LookupError,
    OSError,
    StopAsyncIteration,
    StopIteration,
)


def bare_errors(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield where a built-in error is raised that says nothing of the fact."""
    checks = {  # msgspec turns what __post_init__ raises into its own error, which decode catches
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "__post_init__"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node not in checks:
            error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = name_of(error)
            found = vars(builtins).get(name)
            if isinstance(found, type) and not issubclass(found, PLAIN_ERRORS):
                yield node.lineno, f"{name} says nothing of the fact: use one of errors.py"


def test_errors_are_named_for_the_fact() -> None:
    findings = [
        f"{relative(path)}:{line}: {finding}"
        for path in RING_FILES
        for line, finding in bare_errors(tree_of(path))
        if line not in reasons(path)
    ]
    assert not findings, told(findings)


def test_an_excuse_has_a_reason_and_excuses_something() -> None:
    findings = []
    for path in RING_FILES:
        lines = {line for line, _ in bare_errors(tree_of(path))}
        for line, reason in reasons(path).items():
            if len(reason.split()) < 3 or line not in lines:
                findings.append(f"{relative(path)}:{line}: # tidy: {reason}")
    assert not findings, told(findings)


@pytest.mark.parametrize(
    "code", ["raise ValueError", "raise RuntimeError(1)", "raise Exception('no')"]
)
def test_a_bare_error_is_found(code: str) -> None:
    assert list(bare_errors(ast.parse(code)))


@pytest.mark.parametrize("code", ["raise", "raise error", "raise Malformed(1)", "raise OSError(5)"])
def test_an_error_named_for_the_fact_is_left_alone(code: str) -> None:
    assert not list(bare_errors(ast.parse(code)))


# --- the pure rings -------------------------------------------------------------------------------


def test_importing_the_pure_rings_loads_nothing_that_sees_the_world() -> None:
    modules = [
        relative(path).removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        for path in PURE_FILES
    ]
    program = (
        "import importlib, json, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout))
    assert set(modules) <= loaded
    assert not loaded & {"aiohttp", "asyncio", "plyvel", "socket", "sqlite3", "ssl"}


def test_the_import_contracts_forbid_both_pure_parts_the_same() -> None:
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))
    contracts = {each["id"]: each for each in project["tool"]["importlinter"]["contracts"]}
    pure, ledger = contracts["pure"], contracts["ledger-pure"]
    assert pure["forbidden_modules"] == ledger["forbidden_modules"]
    worldly = {path.removesuffix(".py").replace("/", ".") for path in WORLDLY}
    assert {name for name in pure["forbidden_modules"] if name.startswith("ledger.")} == worldly
    assert {line.partition(" ->")[0] for line in ledger["ignore_imports"]} == worldly


# --- the tree -------------------------------------------------------------------------------------


def test_no_file_names_a_machine_or_puts_work_off() -> None:
    unwanted = re.compile(r"/(wor[k]|tm[p]|roo[t])/|\b(TO[D]O|FIXM[E]|XX[X])\b")
    findings = []
    for path in project_files():
        try:
            lines = text_of(path).splitlines()
        except UnicodeDecodeError:
            continue  # not text
        findings += [
            f"{relative(path)}:{number}: {line.strip()[:80]}"
            for number, line in enumerate(lines, 1)
            if unwanted.search(line)
        ]
    assert not findings, told(findings)


def test_each_script_can_be_run_and_is_in_the_readme() -> None:
    readme = text_of(ROOT / "README.md")
    findings = []
    for path in SCRIPTS:
        is_program = text_of(path).startswith("#!")
        if not path.suffix and not is_program:
            findings.append(f"{relative(path)}: no first line that says what runs it")
        if is_program != os.access(path, os.X_OK):
            findings.append(f"{relative(path)}: its run bit and its first line disagree")
        if is_program and relative(path) not in readme:
            findings.append(f"{relative(path)}: not in README.md")
    assert not findings, told(findings)


def test_the_tree_in_the_readme_is_the_real_one() -> None:
    block = re.search(r"^```tree\n(.*?)^```", text_of(ROOT / "README.md"), re.DOTALL | re.MULTILINE)
    assert block, "README.md has no block ```tree with the top of the tree, one name a line"
    shown = {line.split()[0] for line in block[1].splitlines() if line[:1].strip()}
    real = {
        f"{path.name}/" if path.is_dir() else path.name
        for path in ROOT.iterdir()
        if is_kept(path.name) and not path.name.startswith(".")
    }
    assert shown == real
