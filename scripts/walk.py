"""Walk through a page of the docs: run its commands on a network of four, and compare.

In a block of the kind `console` a line `shop-1$ depoli …` is what the people of shop-1 type, and
what follows is what they see. `$F_2` is the id of what shop-1 calls F-2, `$S_1` that of the first
settlement. Ids, times and heights may differ; a line `…` stands for any lines. With --write, the
page is made to say what is seen otherwise.
"""

import argparse
import difflib
import os
import re
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from click.testing import CliRunner

from node import testnet
from node.cli.main import main as depoli
from node.testnet import LocalNetwork

ROOT: Final = Path(__file__).resolve().parent.parent
DATA: Final = ROOT / "docs" / "walk"
PAGE: Final = ROOT / "docs" / "claims.md"
CATCH_UP_S: Final = 60.0  # far above what it takes
SHOP: Final = "shop-1"  # whose references name what is meant
_BLOCK: Final = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TYPED: Final = re.compile(r"([a-z0-9-]+)\$ depoli (.*)")
_VARIABLE: Final = re.compile(r"\$([A-Z0-9_]+)")
_ID: Final = re.compile(r"\b[0-9a-f]{64}\b")
_ANY: Final = "…"  # a line of its own: any lines
# What differs from one walk to the next, and what stands for it.
_VARYING: Final = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"), "TIME"),
    (re.compile(r"\b[0-9a-f]{8}…"), "ID"),
    (re.compile(r"^((?:chain: )?height) +\d+$"), r"\1 N"),
    (re.compile(r" +"), " "),
)


class Otherwise(Exception):
    """A command does not show what the page says."""

    def __init__(self, command: str, expected: list[str], found: list[str]) -> None:
        lines = difflib.unified_diff(expected, found, "the page", "what is seen", lineterm="")
        super().__init__("\n".join((command, *lines)))


@dataclass
class Step:
    """One command of a page, who types it, and what he sees."""

    who: str
    command: str
    seen: list[str] = field(default_factory=list)

    @property
    def typed(self) -> str:
        """The line as it stands in the page."""
        return f"{self.who}$ depoli {self.command}"


def parse_steps(block: str) -> list[Step]:
    """Return the commands in a block."""
    steps: list[Step] = []
    for line in block.rstrip("\n").split("\n"):
        if (found := _TYPED.fullmatch(line)) is not None:
            steps.append(Step(found[1], found[2]))
        else:
            steps[-1].seen.append(line)
    return steps


def matches(expected: list[str], found: list[str]) -> bool:
    """Return whether this is what the page says, whatever may differ."""
    pattern = "\n".join(
        r"(?:.*\n)*?.*" if line == _ANY else re.escape(_normal(line)) for line in expected
    )
    return re.fullmatch(pattern, "\n".join(map(_normal, found))) is not None


class Walk:
    """A network, the folder in which people type, and the ids that were seen."""

    def __init__(self, network: LocalNetwork) -> None:
        self._network = network
        self._names: dict[str, str] = {}  # id -> variable

    def run(self, step: Step) -> list[str]:
        """Run a command, once every node has what was done before; return what is seen."""
        self._await_one_height()
        words = shlex.split(_VARIABLE.sub(lambda found: self._value(found[1]), step.command))
        home = str(self._network.organisation(step.who).home)
        result = CliRunner(env={"DEPOLI_HOME": home}).invoke(depoli, words)
        for id_ in re.findall(r"\bsettlement +([0-9a-f]{64})\b", result.output):
            known = sum(name.startswith("S_") for name in self._names.values())
            self._names.setdefault(id_, f"S_{known + 1}")
        shown = _ID.sub(lambda found: self._shown(found[0]), result.output)
        return shown.rstrip("\n").split("\n") if shown.strip() else []

    def _await_one_height(self) -> None:
        deadline = time.monotonic() + CATCH_UP_S
        while len({state["height"] for state in self._network.status()}) > 1:
            if time.monotonic() > deadline:
                raise TimeoutError("the nodes do not come to one height")

    def _shown(self, id_: str) -> str:
        return f"${self._names[id_]}" if id_ in self._names else f"{id_[:8]}…"

    def _value(self, name: str) -> str:
        for id_, known in self._names.items():
            if known == name:
                return id_
        id_ = self._look_up(name.replace("_", "-"))
        self._names[id_] = name
        return id_

    def _look_up(self, reference: str) -> str:
        home = str(self._network.organisation(SHOP).home)
        for noun, pattern in (
            ("claim", r'"claim": "(\w{64})"'),
            ("authorisation", r'"id": "(\w{64})"'),
        ):
            line = [noun, "show", reference, "--home", home, "--json"]
            found = re.search(pattern, CliRunner().invoke(depoli, line).output)
            if found is not None:
                return found[1]
        raise LookupError(reference)


@contextmanager
def walking(folder: Path) -> Iterator[Walk]:
    """Run a network of four in a folder, and stand where the files of the page are."""
    desk = folder / "desk"
    shutil.copytree(DATA, desk)
    network = testnet.create(folder / "network")
    network.start()
    try:
        with chdir(desk):
            yield Walk(network)
    finally:
        network.stop()


def walk(page: str, folder: Path) -> str:
    """Return the page with what is seen; raise nothing where that differs."""
    with walking(folder) as on:

        def seen(block: re.Match[str]) -> str:
            lines = []
            for step in parse_steps(block[1]):
                found = on.run(step)
                kept = matches(step.seen, found)  # ids and times of an earlier walk are as good
                lines += [step.typed, *(step.seen if kept else found)]
            return "\n".join(("```console", *lines, "```"))

        return _BLOCK.sub(seen, page)


def check(page: str, folder: Path) -> int:
    """Return how many commands of the page show what it says; raise `Otherwise`."""
    count = 0
    with walking(folder) as on:
        for block in _BLOCK.finditer(page):
            for step in parse_steps(block[1]):
                found = on.run(step)
                if not matches(step.seen, found):
                    raise Otherwise(step.typed, step.seen, found)
                count += 1
    return count


def _normal(line: str) -> str:
    for pattern, instead in _VARYING:
        line = pattern.sub(instead, line)
    return line.rstrip()


def main() -> None:
    """Walk through the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write what is seen into the page")
    parser.add_argument("--page", type=Path, default=PAGE)
    chosen = parser.parse_args()
    page = chosen.page.read_text("utf-8")
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        if chosen.write:
            chosen.page.write_text(walk(page, Path(folder)), "utf-8")
            return
        try:
            count = check(page, Path(folder))
        except Otherwise as error:
            sys.exit(str(error))
    print(f"{count} commands show what {chosen.page.name} says")


if __name__ == "__main__":
    main()
