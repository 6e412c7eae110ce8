"""`depoli audit`: take the chain away in one file, and verify it from genesis."""

import asyncio
import sys
import time
from pathlib import Path
from typing import Final

import click

from contracts.genesis import SignedGenesis
from contracts.genesis_json import MAX_BYTES, parse_signed_json
from node.audit.errors import FalseFact
from node.audit.export import Writer, copy_blocks
from node.audit.replay import verify_export
from node.audit.report import Progress, Report, when
from node.cli.output import emit, fields, is_json, json_option, table
from node.config import load_config
from node.errors import Exit, Usage
from node.files import read_public, read_secret

_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_MAX_TOKEN_BYTES: Final = 4 << 10
_REDRAW_S: Final = 0.5


@click.group()
def audit() -> None:
    """Export the chain and verify it from genesis."""


@audit.command()
@click.option("--node", "url", metavar="URL", help="A running node's API.")
@click.option("--token-file", type=_FILE, help="A token that may read the whole chain.")
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), help="A stopped node's folder."
)
@click.option("-o", "--output", required=True, type=_FILE, help="The file to write or extend.")
@json_option
@click.pass_context
def export(
    context: click.Context,
    url: str | None,
    token_file: Path | None,
    data: Path | None,
    output: Path,
) -> None:
    """Write the chain into one file; what an interrupted export had read is kept."""
    if (url is None) == (data is None):
        raise Usage("name one source", hint="--node URL --token-file FILE, or --data FOLDER")
    show = _Meter("exported")
    if url is not None:
        token = ""
        if token_file is not None:
            hint = "an operator of the node makes one with the scope audit"
            token = (
                read_secret(token_file, limit=_MAX_TOKEN_BYTES, hint=hint)
                .decode("ascii", "replace")
                .strip()
            )
        height, size = asyncio.run(_fetch(url.rstrip("/"), token, output, show))
    else:
        assert data is not None
        config = load_config(data)
        genesis = _load_genesis(config.genesis)
        with Writer(output, genesis) as writer:
            copy_blocks(writer, config.data / "segments", show)
            height, size = writer.height, writer.size
            writer.finish()
    show.end()
    result = {"file": str(output), "height": height, "bytes": size}
    blocks = f"blocks 1 to {height}" if height else "no block yet"
    emit(context, result, f"{output}: {blocks}, {size:,} bytes")


@audit.command()
@click.argument("file", type=_FILE)
@click.option(
    "--genesis", required=True, type=_FILE, help="The signed genesis that you hold yourself."
)
@click.option(
    "--header", metavar="HEX", help="A block id you know; the export must contain this block."
)
@click.option(
    "--jobs", type=click.IntRange(1, 256), help="Processes; as many as cores if not said."
)
@json_option
@click.pass_context
def verify(
    context: click.Context, file: Path, genesis: Path, header: str | None, jobs: int | None
) -> int:
    """Execute the chain in FILE again from genesis; stop at the first false fact."""
    show = _Meter("verified")
    wanted = None if header is None else _parse_id(header)
    try:
        report = verify_export(
            file, _load_genesis(genesis), contains=wanted, workers=jobs, show=show
        )
    except FalseFact as fact:
        show.end()
        if not is_json(context):
            raise
        emit(context, fact.to_json(), "")
        return Exit.VERIFICATION_FAILED
    show.end()
    emit(context, report.to_json(), lambda: _human(report))
    return Exit.OK


class _Meter:
    """A line on a terminal's standard error that says how far and how fast."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._start = self._shown = time.monotonic()
        self._is_drawn = False

    def __call__(self, progress: Progress) -> None:
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

    def end(self) -> None:
        """Take the line away."""
        if self._is_drawn:
            click.echo("\r\x1b[K", nl=False, err=True)


async def _fetch(url: str, token: str, output: Path, show: _Meter) -> tuple[int, int]:
    from node.audit.fetch import fetch_chain, fetch_genesis, open_session  # noqa: PLC0415

    async with open_session(token) as session:
        genesis = parse_signed_json(await fetch_genesis(session, url))
        with Writer(output, genesis) as writer:
            await fetch_chain(session, url, writer, show)
            height, size = writer.height, writer.size
            writer.finish()
    return height, size


def _load_genesis(path: Path) -> SignedGenesis:
    hint = "take it from your own organisation, not from who gave you the export"
    return parse_signed_json(read_public(path, limit=MAX_BYTES, hint=hint))


def _parse_id(text: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != 32:  # noqa: PLR2004 - SHA-256
        raise Usage(f"'{text}' is no block id", hint="64 hexadecimal digits")
    return value


def _human(report: Report) -> str:
    header = report.header
    lines = [
        fields(
            {
                "chain": report.chain_id,
                "blocks": f"1 to {header.height}, all true" if header.height else "none yet",
                "last block": header.hash,
                "from": when(report.first_time) if header.height else "–",
                "to": when(header.time),
                "transactions": f"{report.transactions:,}",
                "calls": f"{report.entries:,}, of which {sum(report.refusals.values()):,} refused",
                "signatures": f"{report.signatures:,}",
                "took": f"{report.seconds:.1f} s",
            }
        ),
        "",
        table(
            ("member", "transactions", "applied", "refused", "concerned", "blocks"),
            [
                (m.label, m.transactions, m.applied, m.refused, m.concerned, m.proposed)
                for _, m in sorted(report.members.items())
            ],
        ),
    ]
    if report.calls:
        lines += ["", table(("call", "entries"), sorted(report.calls.items()))]
    if report.refusals:
        lines += ["", table(("refused because", "entries"), sorted(report.refusals.items()))]
    if report.accused:
        lines += ["", "recorded as having broken the rules of agreement:"]
        lines += [
            f"  {report.members[member].label} {member.hex()}: {count} offences"
            for member, count in sorted(report.accused.items())
        ]
    if report.late:
        lines += ["", f"{len(report.late)} blocks were built in a later round than 0"]
    return "\n".join(lines)
