"""How far long work has come: a bar where a person looks on, plain lines elsewhere."""

import sys
from types import TracebackType
from typing import Any, Final, Self

import click

from node.cli.output import note

FEW: Final = 20  # of fewer nothing is said: they are done before it is read
_PARTS: Final = 10  # lines for a step where nobody looks on


class Course:
    """What long work says of itself, on standard error. Use it in a `with` statement."""

    def __init__(self) -> None:
        self._is_watched = sys.stderr.isatty()
        self._step, self._done = "", 0
        self._bar: Any = None

    def __enter__(self) -> Self:
        """Return it; nothing is shown yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the bar, if there is one."""
        self._finish()

    def say(self, text: str) -> None:
        """Say a sentence, on a line of its own."""
        self._finish()
        note(text)

    def advance(self, step: str, done: int, of: int) -> None:
        """Show that `done` of so many are past a step."""
        if of < FEW:
            return
        if step != self._step:
            self._finish()
            self._step, self._done = step, 0
        if self._is_watched:
            if self._bar is None:
                self._bar = click.progressbar(length=of, label=step.rjust(12), file=sys.stderr)
                self._bar.__enter__()
                self._bar.update(self._done)
            self._bar.update(done - self._done)
        elif done == of or done * _PARTS // of > self._done * _PARTS // of:
            note(f"{step}: {done} of {of}")
        self._done = done

    def _finish(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None
