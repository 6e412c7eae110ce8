"""The files of the house, each read once: what test_tidy and test_purity look through."""

import ast
import fnmatch
import functools
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RINGS = ("ledger", "consensus", "contracts", "node")
WORLDLY = {"ledger/lock.py", "ledger/segments.py", "ledger/store.py"}  # the I/O of ledger


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


def told(findings: list[str]) -> str:
    return "\n" + "\n".join(findings)


PYTHON_FILES = [path for path in project_files() if path.suffix == ".py"]
RING_FILES = [path for path in PYTHON_FILES if relative(path).startswith(RINGS)]
PURE_FILES = [
    path
    for path in RING_FILES
    if not relative(path).startswith("node/") and relative(path) not in WORLDLY
]
