"""`depoli tlog`: the log in the formats of public transparency logs."""

import sys
from pathlib import Path

import click

from node.cli.auditor import FILE, load_genesis, read_bearer
from node.cli.output import Verbs, emit, json_option
from node.log_source import LogSource
from node.mirror import mirror


@click.group(cls=Verbs)
def tlog() -> None:
    """Take the log away as static files, in the formats of transparency logs."""


@tlog.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--log",
    "url",
    required=True,
    metavar="URL",
    help="Where the log is served, such as http://127.0.0.1:7680/tlog.",
)
@click.option(
    "--genesis", required=True, type=FILE, help="The signed genesis that you hold yourself."
)
@click.option("--entries", is_flag=True, help="The entries too, which are not for everybody.")
@click.option("--token-file", type=FILE, help="A token that may read the entries.")
@json_option
@click.pass_context
def export(
    context: click.Context,
    directory: Path,
    url: str,
    genesis: Path,
    *,
    entries: bool,
    token_file: Path | None,
) -> None:
    """Write checkpoint and tiles into DIR, verified; again, what is new since."""
    with (
        LogSource(url, read_bearer(token_file)) as source,
        click.progressbar(
            length=1, label="files", file=sys.stderr, hidden=not sys.stderr.isatty()
        ) as bar,
    ):

        def show(done: int, of: int) -> None:
            bar.length = of
            bar.update(done - bar.pos)

        made = mirror(source, directory, load_genesis(genesis), entries=entries, show=show)
    checkpoint = made.checkpoint
    result = {
        "directory": str(directory),
        "height": checkpoint.height,
        "log_size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "files": made.files,
        "written": made.written,
    }
    emit(
        context,
        result,
        f"{directory}: {checkpoint.size:,} entries up to block {checkpoint.height:,}, "
        f"{made.files:,} files, {made.written:,} of them new",
    )
