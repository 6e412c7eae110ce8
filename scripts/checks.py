"""Checks that are made one after the other and told as they end, and the commands that they run."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

COMMAND_S = 120  # no command of ours takes that long, on however slow a machine
QUOTED = 400  # characters of what a command said that a failure repeats
GREEN, RED, DIM, BOLD = "32", "31", "2", "1"


class Unmet(Exception):
    """Something is not as it has to be: what was expected, and what was found."""

    def __init__(self, expected: object, found: object) -> None:
        self.expected, self.found = str(expected), str(found)
        super().__init__(f"expected {self.expected}, found {self.found}")


def require(what: str, expected: object, found: object) -> None:
    """Raise `Unmet` unless two values are equal."""
    if expected != found:
        raise Unmet(f"{what}: {expected}", found)


def painter(stream: TextIO) -> Callable[[str, str], str]:
    """Return what puts a text in a colour, where the stream is a terminal that has colours."""
    is_coloured = stream.isatty() and not os.environ.get("NO_COLOR")
    return lambda text, colour: f"\x1b[{colour}m{text}\x1b[0m" if is_coloured else text


@dataclass
class Check:
    """One fact that has to hold; `detail` says what was seen, `quotes` what was answered."""

    name: str
    step: str
    detail: str
    quotes: Sequence[str] = ()
    ok: bool = False
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        seconds = round(self.seconds, 2)
        return {
            "name": self.name,
            "step": self.step,
            "ok": self.ok,
            "detail": self.detail,
            **({"quotes": list(self.quotes)} if self.quotes else {}),
            "seconds": seconds,
        }


class Checks:
    """All checks so far, each told on standard error in one line."""

    def __init__(self) -> None:
        self.made: list[Check] = []
        self._step = ""
        self._is_terminal = sys.stderr.isatty()
        self.painted = painter(sys.stderr)
        self._width = min(max(shutil.get_terminal_size().columns, 60), 100)

    def step(self, title: str) -> None:
        """Begin another step of the story."""
        self._step = title
        self.say(f"\n{self.painted(title, BOLD)}")

    @contextmanager
    def check(self, name: str, title: str) -> Iterator[Check]:
        """Time what is done inside, and tell whether it held; whoever checks sets `detail`.

        Raises `Unmet`, also for a fault of the check itself, once it is told.
        """
        made = Check(name, self._step, title)
        self.made.append(made)
        if self._is_terminal:
            print(f"  {self.painted(f'· {title} …', DIM)}", end="", file=sys.stderr, flush=True)
        started = time.monotonic()
        mark = self.painted("✗", RED)
        try:
            yield made
        except (Unmet, KeyboardInterrupt):
            raise
        except Exception as error:
            if os.environ.get("DEPOLI_DEBUG") == "1":
                raise
            raise Unmet("no fault of the demo", f"{type(error).__name__}: {error}") from error
        else:
            made.ok, mark = True, self.painted("✓", GREEN)
        finally:
            made.seconds = time.monotonic() - started
            self._tell(mark, made)

    def say(self, text: str) -> None:
        """Write a line to standard error."""
        print(text, file=sys.stderr, flush=True)

    def _tell(self, mark: str, made: Check) -> None:
        if self._is_terminal:
            print("\r\x1b[K", end="", file=sys.stderr)
        room = self._width - len("  ✓ ") - len("  99.9 s")
        first, *rest = textwrap.wrap(made.detail, room) or [""]
        took = self.painted(f"{made.seconds:6.1f} s", DIM)
        self.say(f"  {mark} {first.ljust(room)}{took}")
        for line in rest:
            self.say(f"    {line}")
        for quote in made.quotes:
            self.say(self.painted(f"      {quote}", DIM))


@dataclass(frozen=True)
class Ran:
    """What a command answered."""

    code: int
    value: Any  # what it printed, parsed; None where it printed nothing
    said: str  # on standard error

    @property
    def error(self) -> str:
        """The sentence with which it refused."""
        lines = (line for line in self.said.splitlines() if line.startswith("error: "))
        return next(lines, "").removeprefix("error: ")


class Commands:
    """Runs commands as a person would, and keeps a list of them in a file."""

    def __init__(self, transcript: Path) -> None:
        self._transcript = transcript
        self._writing = threading.Lock()
        self.count = 0

    def depoli(self, *words: object, home: Path | None = None, code: int = 0) -> Ran:
        """Run `depoli WORDS --json`; raise `Unmet` unless it ends with this exit code."""
        program = Path(sys.executable).with_name("depoli")
        at = () if home is None else ("--home", home)
        return self.run(program, *words, *at, "--json", code=code)

    def run(self, *words: object, code: int = 0) -> Ran:
        """Run a command whose result is JSON; raise `Unmet` unless it ends with this code."""
        command = [str(word) for word in words]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
            env=_environment(os.environ),
        )
        shown = shlex.join([Path(command[0]).name, *map(_shortened, command[1:])])
        with self._writing, self._transcript.open("a", encoding="utf-8") as file:
            file.write(f"$ {shown}\n{done.stderr}{done.stdout}[exit {done.returncode}]\n\n")
            self.count += 1
        said = " ".join(done.stderr.split())[-QUOTED:]
        if done.returncode != code or "Traceback" in done.stderr:
            raise Unmet(f"exit {code} of: {shown}", f"exit {done.returncode}: {said}")
        try:
            value = json.loads(done.stdout) if done.stdout.strip() else None
        except ValueError:
            raise Unmet(f"JSON from: {shown}", done.stdout[:QUOTED]) from None
        return Ran(done.returncode, value, done.stderr)


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in own.items() if not name.startswith("DEPOLI_")}


def _shortened(word: str) -> str:
    """Return a path below the working folder as a person would type it."""
    return word.removeprefix(f"{Path.cwd()}/")
