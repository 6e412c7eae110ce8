"""`depoli witness`: follow a chain without a vote, and say what one saw."""

import time
from pathlib import Path
from typing import Any

import click

from ledger.errors import LedgerError
from node.audit.errors import AuditError
from node.cli.auditor import FILE, load_genesis
from node.cli.output import Verbs, emit, fields, json_option, note
from node.errors import Exit
from node.log_source import LogSource
from node.witness import SplitViewKept, Witness, standing

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group(cls=Verbs)
def witness() -> None:
    """Follow a chain without a vote in it, and cosign what it shows."""


@witness.command()
@click.option("--data", required=True, type=_FOLDER, help="The witness's folder, made here.")
@click.option(
    "--name", required=True, help="What it goes by, such as witness.example/w1; for ever."
)
@click.option(
    "--genesis", required=True, type=FILE, help="The signed genesis that you hold yourself."
)
@click.option(
    "--log",
    "urls",
    required=True,
    multiple=True,
    metavar="URL",
    help="Where the log is served, such as http://127.0.0.1:7680/tlog; several nodes' are better.",
)
@click.option(
    "--every",
    type=click.IntRange(1, 86_400),
    default=10,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option("--once", is_flag=True, help="Look once, and fail where that fails.")
def run(
    data: Path, name: str, genesis: Path, urls: tuple[str, ...], every: int, *, once: bool
) -> None:
    """Look at a log again and again, and cosign what is right; stop at a split view."""
    known = load_genesis(genesis)
    with Witness(data, name, known.genesis) as one:
        while True:
            for url in urls:
                try:
                    with LogSource(url) as source:
                        sight = one.look(source, time=int(time.time()))
                    note(f"{url}: {sight}")
                except SplitViewKept:
                    raise
                except (AuditError, LedgerError) as error:
                    if once:
                        raise
                    note(f"{url}: {error}")
            if once:
                return
            time.sleep(every)  # as --every says; Ctrl-C ends it, and nothing is half done


@witness.command()
@click.option("--data", required=True, type=_FOLDER, help="The witness's folder.")
@json_option
@click.pass_context
def status(context: click.Context, data: Path) -> int:
    """Show what a witness cosigned last; exit with 4 where it keeps a split view."""
    found = standing(data)
    checkpoint = found.checkpoint
    result: dict[str, Any] = {
        "name": found.cosigner.name,
        "verifier_key": found.cosigner.encode(),
        "chain_id": found.seen.chain_id.hex(),
        "height": None if checkpoint is None else checkpoint.height,
        "log_size": None if checkpoint is None else checkpoint.size,
        "root": None if checkpoint is None else checkpoint.root.hex(),
        "time": found.seen.time or None,
        "split_views": [str(path) for path in found.split_views],
    }
    shown = {name: value for name, value in result.items() if value not in (None, [])}
    emit(context, result, lambda: fields(shown))
    return Exit.VERIFICATION_FAILED if found.split_views else Exit.OK
