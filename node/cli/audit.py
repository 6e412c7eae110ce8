"""`depoli audit`: take the chain away in one file, and verify it from genesis."""

import asyncio
from pathlib import Path

import click

from contracts.genesis_json import parse_signed_json
from node.audit.conviction import to_json
from node.audit.errors import FalseFact, UnknownRules
from node.audit.export import Writer, copy_blocks
from node.audit.fork import Fork, compare
from node.audit.replay import verify_export
from node.audit.report import Report, when
from node.cli import forks
from node.cli.auditor import FILE, GENESIS, JOBS, Meter, end_in_order, load_genesis, read_bearer
from node.cli.compare import compare as compare_command
from node.cli.output import Verbs, emit, fields, is_json, json_option, table
from node.cli.privacy import privacy
from node.cli.reports import check_report, report
from node.config import load_config
from node.errors import Exit, Usage
from node.files import replace
from node.journal import read_kept
from node.pledges import proposals_of


@click.group(cls=Verbs)
@click.pass_context
def audit(context: click.Context) -> None:
    """Export the chain and verify it from genesis."""
    end_in_order(context)


for _verb in (report, check_report, privacy, compare_command):
    audit.add_command(_verb)


@audit.command()
@click.option("--node", "url", metavar="URL", help="A running node's API.")
@click.option("--token-file", type=FILE, help="A token that may read the whole chain.")
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), help="A stopped node's folder."
)
@click.option("-o", "--output", required=True, type=FILE, help="The file to write or extend.")
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
    show = Meter("exported")
    if url is not None:
        token = read_bearer(token_file)
        height, size = asyncio.run(_fetch(url.rstrip("/"), token, output, show))
    else:
        assert data is not None
        config = load_config(data)
        genesis = load_genesis(config.genesis)
        with Writer(output, genesis) as writer:
            copy_blocks(writer, config.data / "segments", show)
            for proposal in proposals_of(read_kept(config.data / "journal")):
                writer.append(proposal)
            height, size = writer.height, writer.size
            writer.finish()
    show.end()
    result = {"file": str(output), "height": height, "bytes": size}
    blocks = f"blocks 1 to {height}" if height else "no block yet"
    emit(context, result, f"{output}: {blocks}, {size:,} bytes")


@audit.command()
@click.argument("file", type=FILE)
@GENESIS
@click.option(
    "--header", metavar="HEX", help="A block id you know; the export must contain this block."
)
@JOBS
@json_option
@click.pass_context
def verify(
    context: click.Context, file: Path, genesis: Path, header: str | None, jobs: int | None
) -> int:
    """Execute the chain in FILE again from genesis; stop at the first false fact."""
    show = Meter("verified")
    wanted = None if header is None else _parse_id(header)
    try:
        found = verify_export(file, load_genesis(genesis), contains=wanted, workers=jobs, show=show)
    except (FalseFact, UnknownRules) as fact:
        show.end()
        if not is_json(context):
            raise
        emit(context, fact.to_json(), "")
        return fact.exit_code
    show.end()
    emit(context, found.to_json(), lambda: _human(found))
    return Exit.OK


@audit.command()
@click.argument("first", type=FILE)
@click.argument("second", type=FILE)
@GENESIS
@click.option(
    "--also", multiple=True, type=FILE, help="Another export, for the proposals that it kept."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder for one file of evidence each.",
)
@JOBS
@json_option
@click.pass_context
def fork(
    context: click.Context,
    first: Path,
    second: Path,
    genesis: Path,
    also: tuple[Path, ...],
    output: Path | None,
    jobs: int | None,
) -> int:
    """Compare two exports; where they fork, name who contradicted himself."""
    show = Meter("compared")
    signed = load_genesis(genesis)
    exports = first, second
    found = compare(exports, signed, also=also, workers=jobs, show=show)
    show.end()
    told = forks.to_json(found, exports, signed.genesis)
    if isinstance(found, Fork) and output is not None:
        output.mkdir(parents=True, exist_ok=True)
        for shown, conviction in zip(told["evidence"], found.convictions, strict=True):
            path = output / f"{shown['id']}.json"
            replace(path, to_json(conviction, signed.genesis).encode())
            shown["file"] = str(path)
    emit(context, told, lambda: forks.in_words(told))
    return Exit.VERIFICATION_FAILED if isinstance(found, Fork) else Exit.OK


async def _fetch(url: str, token: str, output: Path, show: Meter) -> tuple[int, int]:
    from node.audit.fetch import fetch_chain, fetch_genesis, open_session  # noqa: PLC0415

    async with open_session(token) as session:
        genesis = parse_signed_json(await fetch_genesis(session, url))
        with Writer(output, genesis) as writer:
            await fetch_chain(session, url, writer, show)
            height, size = writer.height, writer.size
            writer.finish()
    return height, size


def _versions(report: Report) -> dict[str, str]:
    """Return which rules were in force from when on, where there were more than the first."""
    if len(report.versions) <= 1:
        return {}
    spans = [f"{version} from block {first}" for version, first in report.versions.items()]
    return {"rules": ", ".join(spans)}


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
                **_versions(report),
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
            f"  {report.members[member].label} {member.hex()}: {count} offence{'s' * (count > 1)}"
            for member, count in sorted(report.accused.items())
        ]
    if report.late:
        lines += ["", f"blocks built in a later round than 0: {report.late:,}"]
    return "\n".join(lines)
