"""`depoli db`: check, rebuild, heal and prune the data of a node that is stopped."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ledger.keys import PUBLIC_KEY_BYTES
from node.cli.auditor import FILE, Meter, read_bearer
from node.cli.output import Verbs, emit, fields, json_option, note
from node.config import Config, Mode, load_config
from node.errors import Exit, Usage
from node.initialise import JOURNAL_FOLDER
from node.kept import FILE_NAME as PROPOSALS
from node.kept import KeptFile
from node.pruning import Plan, Pruning
from node.rebuild import Rebuild, Rebuilt, Verdict

_config = click.option(
    "--config",
    required=True,
    type=click.Path(path_type=Path),
    help="config.toml, or the node's folder; the node is stopped.",
)


@click.group(cls=Verbs)
def db() -> None:
    """Check, rebuild, heal and prune the data of a stopped node."""


@db.command()
@_config
@json_option
@click.pass_context
def verify(context: click.Context, config: Path) -> int:
    """Execute all blocks again and compare what they lead to with the store; nothing is changed."""
    settings, show = load_config(config), Meter("verified")
    with _opened(settings, show) as rebuild:
        verdict = rebuild.verify()
    show.end()
    lost = list(_lost(settings))
    for each in lost:
        note(f"{each}; what was there is kept by others too")
    result = {**_verdict_json(verdict), "lost": lost}
    emit(context, result, lambda: _verdict_text(verdict, config))
    return Exit.OK if verdict.is_sound else Exit.VERIFICATION_FAILED


@db.command()
@_config
@json_option
@click.pass_context
def reindex(context: click.Context, config: Path) -> None:
    """Make state and indexes anew from the blocks; the old ones stay until the new ones are whole.

    Every certificate, signature, outcome, root and state digest is checked on the way. Interrupted,
    it changes nothing and begins again. The engine is that of store.engine: so it can be changed.
    """
    settings, show = load_config(config), Meter("rebuilt")
    with _opened(settings, show) as rebuild:
        made = rebuild.reindex()
    show.end()
    _emit_rebuilt(context, made)


@db.command()
@_config
@click.option(
    "--from",
    "source",
    required=True,
    metavar="URL|FILE",
    help="The API of another node, http://…, or an export of the chain.",
)
@click.option("--token-file", type=FILE, help="A token of that node with the scope audit.")
@json_option
@click.pass_context
def heal(context: click.Context, config: Path, source: str, token_file: Path | None) -> None:
    """Fetch blocks in the place of damaged ones, verify each from genesis on, rebuild the rest.

    Whole blocks are kept. Who gives the blocks need not be trusted.
    """
    from node.healing import from_export, from_node  # noqa: PLC0415  (brings a web client)

    settings, show = load_config(config), Meter("healed")
    token = read_bearer(token_file)
    is_url = source.startswith(("http://", "https://"))
    blocks = from_node(source.rstrip("/"), token) if is_url else from_export(Path(source))
    with _opened(settings, show) as rebuild:
        made = rebuild.heal(blocks)
    show.end()
    if not made.healed:
        note("no block was damaged")
    _emit_rebuilt(context, made)


@db.command()
@_config
@click.option(
    "--before",
    required=True,
    type=click.IntRange(1),
    metavar="HEIGHT",
    help="The lowest block whose body stays.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be gone, and change nothing.")
@click.option("--yes", is_flag=True, help="Yes, this history may go from this node for ever.")
@json_option
@click.pass_context
def prune(context: click.Context, config: Path, before: int, *, dry_run: bool, yes: bool) -> None:
    """Remove the bodies of old blocks from the disk; headers, certificates and hashes stay.

    A snapshot on the disk must stand for them. Afterwards this node gives no receipt, entry or
    export of those blocks any more: whoever audits must have exported them before.
    """
    from node import ceremony  # noqa: PLC0415

    if not (dry_run or yes):
        raise Usage(
            "what is pruned does not come back on this node: no receipt, entry, history or export"
            " of those blocks, nor help for nodes that lack them",
            hint="let auditors export the chain before; look with --dry-run; then say --yes",
        )
    settings = load_config(config)
    genesis = ceremony.load_genesis(settings.genesis).genesis
    show = Meter("looked at")
    with Pruning(settings.data, genesis, show=show) as pruning:
        plan = pruning.plan(before)
        show.end()
        done = plan if dry_run else pruning.run(plan)
    result = {
        "from": done.first,
        "before": done.before,
        "blocks": done.blocks,
        "freed_bytes": done.freed,
        "snapshot": done.snapshot,
        "pruned": not dry_run and done.blocks > 0,
    }
    emit(context, result, lambda: _pruned_text(done, is_planned=dry_run))


def _pruned_text(plan: Plan, *, is_planned: bool) -> str:
    if not plan.blocks:
        return f"nothing to prune: bodies begin with block {plan.first}"
    would = "would be" if is_planned else "are"
    return (
        f"the bodies of blocks {plan.first} to {plan.before - 1} {would} gone:"
        f" {plan.freed:,} bytes; the snapshot of block {plan.snapshot} stands for them"
    )


def _opened(settings: Config, show: Meter) -> Rebuild:
    from node import ceremony  # noqa: PLC0415
    from node.signatures import VerifiedSignatures  # noqa: PLC0415  (brings the whole node)

    if settings.mode is Mode.LIGHT:
        raise Usage(
            "a light node keeps no blocks",
            hint=f"to have its record fetched anew, stop it and remove {settings.data / 'light'}",
        )
    genesis = ceremony.load_genesis(settings.genesis).genesis
    return Rebuild(
        settings.data, genesis, VerifiedSignatures(), engine=settings.store_engine, show=show
    )


def _lost(settings: Config) -> Iterator[str]:
    """Say what is damaged of that which no block and no state depends on."""
    from node import ceremony  # noqa: PLC0415
    from node.evidence import FILE_NAME as EVIDENCE  # noqa: PLC0415  (brings the whole node)

    chain_id = ceremony.load_genesis(settings.genesis).chain_id
    for path, rest in (
        (settings.data / JOURNAL_FOLDER / PROPOSALS, PUBLIC_KEY_BYTES),
        (settings.data / EVIDENCE, 0),
    ):
        kept = KeptFile(path.parent, chain_id + bytes(rest), path.name)
        yield from (f"{path}: {each}" for each in kept.lost())


def _emit_rebuilt(context: click.Context, made: Rebuilt) -> None:
    result = {
        "height": made.height,
        "block": made.block_id,
        "healed": list(made.healed),
    }
    shown = {**result, "healed": ", ".join(map(str, made.healed)) or "none"}
    emit(context, result, lambda: fields(shown))


def _verdict_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "sound": verdict.is_sound,
        "height": verdict.height,
        "damages": [
            {
                "file": str(damage.path),
                "offset": damage.offset,
                "height": damage.height,
                "reason": damage.reason,
            }
            for damage in verdict.damages
        ],
        "state": verdict.state,
        "snapshot": verdict.snapshot,
    }


def _verdict_text(verdict: Verdict, config: Path) -> str:
    lines = [str(damage.error) for damage in verdict.damages]
    if verdict.state:
        lines.append(f"the store: {verdict.state}")
    lines.append(f"blocks 1 to {verdict.height} are true" if verdict.height else "no block is here")
    if verdict.snapshot:
        lines[-1] = (
            f"the snapshot of block {verdict.snapshot} is true, what is kept of the blocks up to it"
            f" was decided, and from it on all is true up to block {verdict.height}"
        )
    if verdict.damages:
        lines.append(f"heal it with: depoli db heal --config {config} --from URL|FILE")
    elif verdict.state:
        lines.append(f"heal it with: depoli db reindex --config {config}")
    return "\n".join(lines)
