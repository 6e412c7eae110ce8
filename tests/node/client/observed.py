"""A process that runs one command at a node in memory, and then writes down what others see of it.

    python -m tests.node.client.observed REPORT NODE [--crash] ARGUMENT...

NODE is a file that keeps the node between commands. The report holds the command line, the
environment, the limit on core dumps, and each file that was opened for writing. With `--crash` the
node breaks in the middle of the command.
"""

import json
import os
import pickle
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from node.cli.main import main
from node.cli.person import Person
from node.client.client import Sent
from tests.node.client import cheap
from tests.node.client.desk import MemoryNode

_WRITES = os.O_WRONLY | os.O_RDWR
_written: set[str] = set()


def _watch(event: str, given: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(given[2], int) and given[2] & _WRITES:
        _written.add(os.fspath(given[0]) if not isinstance(given[0], int) else "")
    elif event == "sqlite3.connect":
        _written.add(str(given[0]))


def _report(path: Path) -> None:
    here = Path("/proc/self")
    found = {
        "cmdline": (here / "cmdline").read_bytes().hex(),
        "environ": (here / "environ").read_bytes().hex(),
        "now": json.dumps(dict(os.environ)).encode().hex(),
        "limits": (here / "limits").read_text(),
        "written": sorted(_written),
    }
    path.write_text(json.dumps(found))


class Broken(Exception):
    """What no command expects."""


class BreakingNode(MemoryNode):
    """A node that breaks when it is asked for anything of a transaction's kind."""

    async def submit(self, raws: Sequence[bytes], *, wait: int = 0) -> list[Sent]:
        del raws, wait
        raise Broken("the node broke")


def run(report: Path, kept: Path, args: list[str]) -> None:
    node = pickle.loads(kept.read_bytes()) if kept.exists() else MemoryNode()  # noqa: S301 - ours
    if args[0] == "--crash":
        args = args[1:]
        node.__class__ = BreakingNode
    Person.node = lambda _person: node  # type: ignore[method-assign, assignment]
    sys.addaudithook(_watch)
    try:
        main(args)
    finally:
        _report(report)
        if not isinstance(node, BreakingNode):
            kept.write_bytes(pickle.dumps(node))


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))  # as a machine that keeps core dumps
    cheap.cheap_passphrases()
    run(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
