"""What the commands for auditors share: their own genesis, a token, and a line of progress."""

import signal
import sys
import threading
import time
from pathlib import Path
from typing import Final, NoReturn

import click

from contracts.errors import BadGenesis
from contracts.genesis import SignedGenesis
from contracts.genesis_json import MAX_BYTES, parse_signed_json
from node.audit.report import Progress
from node.files import read_public, read_secret

FILE: Final = click.Path(path_type=Path, dir_okay=False)
GENESIS: Final = click.option(
    "--genesis", required=True, type=FILE, help="The signed genesis that you hold yourself."
)
JOBS: Final = click.option(
    "--jobs", type=click.IntRange(1, 256), help="Processes; as many as cores if not said."
)
_MAX_TOKEN_BYTES: Final = 4 << 10
_REDRAW_S: Final = 0.5


def end_in_order(context: click.Context) -> None:
    """Let SIGTERM and SIGHUP end a command as Ctrl-C does, so that its temporary files go."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)
            context.call_on_close(lambda number=number: signal.signal(number, signal.SIG_DFL))


def _end(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)  # as shells report it


def load_genesis(path: Path) -> SignedGenesis:
    """Return the genesis that the auditor holds; raise as `files.read_public`, and `BadGenesis`."""
    hint = "take it from your own organisation, not from who gave you the export"
    text = read_public(path, limit=MAX_BYTES, hint=hint)
    try:
        return parse_signed_json(text)
    except BadGenesis as error:
        raise BadGenesis(f"{path} is no genesis: {error.reason}") from None


def read_bearer(path: Path | None) -> str:
    """Return the bearer token in a file, none where no file is named."""
    if path is None:
        return ""
    hint = "an operator of the node makes one with the scope audit"
    return read_secret(path, limit=_MAX_TOKEN_BYTES, hint=hint).decode("ascii", "replace").strip()


class Meter:
    """A line on a terminal's standard error that says how far and how fast."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._start = self._shown = time.monotonic()
        self._is_drawn = False

    def __call__(self, progress: Progress) -> None:
        """Draw the line again, where it was not drawn just now."""
        now = time.monotonic()
        if now - self._shown < _REDRAW_S or not sys.stderr.isatty():
            return
        self._shown, self._is_drawn = now, True
        seconds = now - self._start
        text = f"{self._verb} block {progress.height:,}, {progress.done / 1e6:,.1f} MB"
        if progress.calls:
            text += f", {progress.calls / seconds:,.0f} calls/s"
        if progress.total > progress.done > 0:
            left = seconds * (progress.total - progress.done) / progress.done
            text += f", {left:,.0f} s left"
        click.echo(f"\r\x1b[K{text}", nl=False, err=True)

    def say(self, text: str) -> None:
        """Say what is done meanwhile, where nothing can be counted."""
        if sys.stderr.isatty():
            self._is_drawn = True
            click.echo(f"\r\x1b[K{text}", nl=False, err=True)

    def end(self) -> None:
        """Take the line away."""
        if self._is_drawn:
            click.echo("\r\x1b[K", nl=False, err=True)
