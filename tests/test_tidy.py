"""What no linter knows of this house: its tree, its names, and what the pure rings may not do.

A finding of `test_the_pure_rings_compute_alike_everywhere` or of
`test_errors_are_named_for_the_fact` that is no fault carries `# tidy: and the reason` on its line.
"""

import ast
import builtins
import fnmatch
import functools
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

ROOT = Path(__file__).resolve().parent.parent
RINGS = ("ledger", "consensus", "contracts", "node")
WORLDLY = {"ledger/lock.py", "ledger/segments.py", "ledger/store.py"}  # the I/O of ledger

# A file tells one thing. The ratchet: a longer one stands here with its reason, and only shrinks.
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60
MAX_METHODS = 30
LONGER = {
    "consensus/core.py": 620,  # the rules of agreement are one idea, read from top to bottom
    "consensus/core.py:Core": 36,  # most are one rule of docs/protocol.md each
    "node/replica.py": 580,  # the shell of agreement is one idea: the order of its steps
    "node/replica.py:Replica": 46,  # most answer one ask of the core, or one question of a peer
}


# --- the files ------------------------------------------------------------------------------------


@functools.cache
def ignored() -> tuple[str, ...]:
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    return (".git", *(line.strip("/") for line in lines))


def is_kept(name: str) -> bool:
    return not any(fnmatch.fnmatch(name, pattern) for pattern in ignored())


def project_files() -> Iterator[Path]:
    for folder, folders, files in os.walk(ROOT):
        folders[:] = sorted(filter(is_kept, folders))
        yield from (Path(folder, name) for name in sorted(filter(is_kept, files)))


@functools.cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(text_of(path))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


PYTHON_FILES = [path for path in project_files() if path.suffix == ".py"]
RING_FILES = [path for path in PYTHON_FILES if relative(path).startswith(RINGS)]
PURE_FILES = [
    path
    for path in RING_FILES
    if not relative(path).startswith("node/") and relative(path) not in WORLDLY
]
SCRIPTS = [path for path in (ROOT / "scripts").iterdir() if is_kept(path.name) and path.is_file()]


def told(findings: list[str]) -> str:
    return "\n" + "\n".join(findings)


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


# --- the pure rings -------------------------------------------------------------------------------

BANNED_CALLS = {
    "breakpoint": "stops",
    "eval": "runs text",
    "exec": "runs text",
    "float": "floats round differently",
    "hash": "differs from process to process",
    "id": "differs from process to process",
    "input": "asks the world",
    "open": "opens a file",
    "print": "writes to the world",
}
ORDER_IS_LOST = {"all", "any", "frozenset", "len", "max", "min", "set", "sorted", "sum"}
SET_TYPES = {"set", "frozenset", "AbstractSet", "Set", "MutableSet"}


def reasons(path: Path) -> dict[int, str]:
    """Return line -> the reason that stands there after `# tidy:`."""
    found = {}
    for token in tokenize.generate_tokens(io.StringIO(text_of(path)).readline):
        if token.type == tokenize.COMMENT and "# tidy:" in token.string:
            found[token.start[0]] = token.string.partition("# tidy:")[2].strip()
    return found


def name_of(node: ast.expr | None) -> str:
    """Return the last part of a name: `book` for `book` and for `self.book`."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return node.attr
        case ast.Subscript():
            return name_of(node.value)
        case _:
            return ""


def is_set(node: ast.expr | None, names: set[str]) -> bool:
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call():
            return name_of(node.func) in {"set", "frozenset"}
        case ast.Name() | ast.Attribute():
            return name_of(node) in names
        case ast.BinOp(op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor()):
            return is_set(node.left, names) or is_set(node.right, names)
        case _:
            return False


def names_of_sets(tree: ast.Module) -> set[str]:
    """Return the names that are annotated as a set, or given one, anywhere in the file."""
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.AnnAssign() if name_of(node.annotation) in SET_TYPES:
                names.add(name_of(node.target))
            case ast.arg() if name_of(node.annotation) in SET_TYPES:
                names.add(node.arg)
            case ast.Assign() if is_set(node.value, set()):
                names.update(name_of(target) for target in node.targets)
    return names


def unordered_walks(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield where the order of a set can show."""
    names = names_of_sets(tree)
    blind = {  # generators whose consumer loses the order anyway
        argument
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and name_of(node.func) in ORDER_IS_LOST
        for argument in node.args
    }
    for node in ast.walk(tree):
        match node:
            case ast.For() if is_set(node.iter, names):
                yield node.lineno, "a set has no order to walk in: sort it"
            case ast.ListComp() | ast.GeneratorExp() | ast.DictComp() if node not in blind:
                if any(is_set(each.iter, names) for each in node.generators):
                    yield node.lineno, "a set has no order to walk in: sort it"
            case ast.Call() if name_of(node.func) in {"tuple", "list", "join", "enumerate", "zip"}:
                if any(is_set(argument, names) for argument in node.args):
                    yield node.lineno, "a set has no order to take over: sort it"
            case ast.Starred() if is_set(node.value, names):
                yield node.lineno, "a set has no order to unpack in: sort it"


def uneven(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield what may compute differently on another machine, or sees the world: a hint only."""
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=float() | complex()):
                yield node.lineno, "floats round differently"
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
                yield node.lineno, "`/` makes a float: `//`"
            case ast.Call(func=ast.Name(id=name)) if name in BANNED_CALLS:
                yield node.lineno, f"{name}(): {BANNED_CALLS[name]}"
    yield from unordered_walks(tree)


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


def unexcused(paths: list[Path], rule: str) -> list[str]:
    """Return the findings of a rule that carry no reason on their line."""
    look = {"uneven": uneven, "bare_errors": bare_errors}[rule]
    return [
        f"{relative(path)}:{line}: {finding}"
        for path in paths
        for line, finding in look(tree_of(path))
        if line not in reasons(path)
    ]


def test_the_pure_rings_compute_alike_everywhere() -> None:
    findings = unexcused(PURE_FILES, "uneven")
    assert not findings, told(findings)


def test_errors_are_named_for_the_fact() -> None:
    findings = unexcused(RING_FILES, "bare_errors")
    assert not findings, told(findings)


def test_an_excuse_has_a_reason_and_excuses_something() -> None:
    findings = []
    for path in RING_FILES:
        lines = {line for rule in (uneven, bare_errors) for line, _ in rule(tree_of(path))}
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


@pytest.mark.parametrize(
    "code",
    [
        "x = 1.5",
        "x = a / b",
        "x /= 2",
        "x = float(a)",
        "x = hash(a)",
        "x = id(a)",
        "open('a')",
        "for x in {1, 2}: pass",
        "seen = set()\nfor x in seen: pass",
        "def f(self):\n    self.seen: set[int] = g()\n    return list(self.seen)",
        "def f(a: frozenset[int]): return tuple(a)",
        "a = {1}\nb = [x for x in a | c]",
        "a = {1}\nb = {x: 0 for x in a}",
        "a = {1}\nf(*a)",
    ],
)
def test_what_is_uneven_is_found(code: str) -> None:
    assert list(uneven(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "x = a // b",
        "a = {1}\nfor x in sorted(a): pass",
        "a = {1}\nb = any(x > 1 for x in a)",
        "a = {1}\nb = {x for x in a}",
        "a = [1]\nfor x in a: pass",
        "x = self.hash(a)",
    ],
)
def test_what_is_even_is_left_alone(code: str) -> None:
    assert not list(uneven(ast.parse(code)))


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
