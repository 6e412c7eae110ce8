"""`depoli backup`: keep the record of a node elsewhere, prove that copy, and restore it."""

from collections.abc import Sequence
from pathlib import Path

import click

from node.backup.manifest import Manifest
from node.cli.auditor import FILE, Meter
from node.cli.output import Verbs, emit, fields, json_option, moment, note

_folder = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
_genesis = click.option(
    "--genesis", type=FILE, help="The genesis that it must be of; without it, the backup's own."
)


@click.group(cls=Verbs)
def backup() -> None:
    """Keep the record of a node elsewhere, prove that copy, and restore it."""


@backup.command()
@_folder
@click.option(
    "--config",
    required=True,
    type=click.Path(path_type=Path),
    help="config.toml, or the node's folder; the node may run.",
)
@json_option
@click.pass_context
def create(context: click.Context, folder: Path, config: Path) -> None:
    """Copy the blocks of a node to FOLDER; once more, copy only what is new.

    With them the genesis, the settings without secrets, and the proposals that judge forks. No key,
    token or journal is in it. Interrupted, FOLDER stays the backup that it was.
    """
    from node.backup.create import create as copy  # noqa: PLC0415  (brings the whole node)

    show = Meter("copied up to")
    made = copy(config, folder, show)
    show.end()
    emit_backup(context, folder, made.manifest, {"copied_bytes": made.copied})


@backup.command()
@_folder
@_genesis
@click.option(
    "--scratch",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Where the blocks are executed: it needs room for the state, not for the blocks.",
)
@json_option
@click.pass_context
def verify(
    context: click.Context, folder: Path, genesis: Path | None, scratch: Path | None
) -> None:
    """Compare every file with its hash, and execute every block again from the genesis."""
    from node.backup.restore import verify as prove  # noqa: PLC0415

    show = Meter("verified")
    found = prove(folder, genesis, scratch, show)
    show.end()
    if genesis is None:
        note("the genesis is the backup's own: compare the chain id, or name yours with --genesis")
    emit_backup(context, folder, found.manifest, {"state_digest": found.state_digest})


@backup.command()
@_folder
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="New folder of a node: settings, genesis, data.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Instead: the new folder of data of a node whose settings are there.",
)
@_genesis
@json_option
@click.pass_context
def restore(
    context: click.Context,
    folder: Path,
    home: Path | None,
    data: Path | None,
    genesis: Path | None,
) -> None:
    """Make a node of a backup, in a folder that is empty; every block is verified before.

    A validator that starts from it signs nothing until the chain is past all that its old self can
    have signed. Never start it while the old one may still run.
    """
    from node.backup.restore import restore as make  # noqa: PLC0415

    target = home or data
    if target is None or (home and data):
        raise click.UsageError("name either --home or --data")
    show = Meter("verified")
    made = make(folder, target, genesis, show, is_home=home is not None)
    show.end()
    found = made.manifest
    result = {
        "folder": str(target),
        "chain_id": found.chain_id,
        "height": found.height,
        "block": found.block,
        "keys": None if made.keys is None else str(made.keys),
        "missing_keys": list(made.missing),
    }
    left = _next(home, made.keys, made.missing, votes=made.votes)
    emit(context, result, lambda: "\n".join([fields(result), "", *left]))


def _next(
    home: Path | None, keys: Path | None, missing: Sequence[str], *, votes: bool
) -> list[str]:
    """Return what is left to be done, in sentences."""
    told = []
    if missing:
        told.append(f"Put {', '.join(missing)} into {keys}: a backup holds no keys.")
    if home is not None:
        told.append("Tokens are not in a backup either: give new ones with depoli node token new.")
    if votes:
        told += [
            "Start it only when its old self can run no more, and put no old journal beside it.",
            "It signs nothing before a quorum of others have shown how far they are and the chain",
            "is three blocks past that: `silence` in depoli node status says why.",
        ]
    return [*told, f"Start it with: depoli node run --config {home or 'FOLDER'}"]


def emit_backup(
    context: click.Context, folder: Path, found: Manifest, more: dict[str, object]
) -> None:
    """Print what a backup is."""
    result = {
        "folder": str(folder),
        "chain_id": found.chain_id,
        "height": found.height,
        "block": found.block,
        "made": found.made,
        "files": len(found.files),
        "bytes": found.size,
        **more,
    }
    emit(context, result, lambda: fields({**result, "made": moment(found.made)}))
