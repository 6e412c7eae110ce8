"""`depoli snapshot`: make, list and verify snapshots of the state."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from contracts.genesis import Genesis
from ledger.errors import StoreLocked
from ledger.lock import DirectoryLock
from ledger.store import open_store
from node.chain import state_folder
from node.cli.auditor import FILE, Meter, load_genesis
from node.cli.output import Verbs, emit, fields, json_option, moment
from node.config import Config, load_config
from node.errors import Locked, NotFound
from node.snapshots import (
    BadSnapshot,
    Snapshot,
    folder_of,
    heights,
    keep_newest,
)
from node.snapshots import (
    create as make,
)

_config = click.option(
    "--config",
    required=True,
    type=click.Path(path_type=Path),
    help="config.toml, or the node's folder.",
)


class NodeRuns(Locked):
    """A snapshot is asked for by hand, of a node that makes them by itself."""

    def __init__(self, newest: int) -> None:
        there = f"the newest is of block {newest}" if newest else "there is none yet"
        super().__init__(
            f"the node runs, and makes snapshots by itself; {there}",
            hint="see them with depoli snapshot list; to have one now, stop the node first",
        )


class NoState(NotFound):
    """A node has no state to make a snapshot of."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder} does not exist", hint="start the node once: it makes its state")


@click.group(cls=Verbs)
def snapshot() -> None:
    """Make, list and verify snapshots of the state."""


@snapshot.command()
@_config
@json_option
@click.pass_context
def create(context: click.Context, config: Path) -> None:
    """Make a snapshot of the last block of a stopped node; the newest two are kept."""
    settings, show = load_config(config), Meter("written of")
    genesis = _genesis(settings)
    with _stopped(settings):
        state = state_folder(settings.data)
        if not state.is_dir():
            raise NoState(state)
        with contextlib.closing(open_store(state)) as store:
            folder = make(store, settings.data, genesis, show=show)
        made = Snapshot.open(folder, genesis)
        keep_newest(settings.data, made.height)
    show.end()
    _emit(context, made)


@snapshot.command("list")
@_config
@json_option
@click.pass_context
def list_(context: click.Context, config: Path) -> None:
    """List the snapshots of a node, which may run, and whether their manifests are true."""
    settings = load_config(config)
    genesis = _genesis(settings)
    folders = [folder_of(settings.data, height) for height in heights(settings.data)]
    told = [_told(folder, genesis) for folder in folders]
    # A node that runs may have removed the oldest meanwhile.
    found = [each for each, folder in zip(told, folders, strict=True) if folder.is_dir()]
    emit(context, {"snapshots": found}, lambda: "\n".join(map(_line, found)) or "none yet")


@snapshot.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--genesis", required=True, type=FILE, help="The genesis of the chain, your own.")
@json_option
@click.pass_context
def verify(context: click.Context, folder: Path, genesis: Path) -> None:
    """Verify all of a snapshot from the genesis: who signed it, and every pair of the state."""
    founding, show = load_genesis(genesis).genesis, Meter("verified of")
    found = Snapshot.open(folder, founding)
    found.verify(show)
    show.end()
    _emit(context, found)


@contextlib.contextmanager
def _stopped(settings: Config) -> Iterator[None]:
    """Keep the node from starting meanwhile. Raises `NodeRuns`."""
    try:
        lock = DirectoryLock(settings.data)
    except StoreLocked:
        raise NodeRuns(max(heights(settings.data), default=0)) from None
    try:
        yield
    finally:
        lock.release()


def _genesis(settings: Config) -> Genesis:
    return load_genesis(settings.genesis).genesis


def _told(folder: Path, genesis: Genesis) -> dict[str, Any]:
    try:
        return _facts(Snapshot.open(folder, genesis)) | {"fault": ""}
    except (BadSnapshot, OSError) as fault:
        return {"folder": str(folder), "height": int(folder.name), "fault": str(fault)}


def _line(found: dict[str, Any]) -> str:
    if found["fault"]:
        return f"block {found['height']}: {found['fault']}"
    size = f"{found['bytes'] / 1e6:,.1f} MB"
    return f"block {found['height']}, {moment(found['time'])}, {size}, {found['folder']}"


def _facts(found: Snapshot) -> dict[str, Any]:
    header = found.manifest.header
    return {
        "folder": str(found.folder),
        "chain_id": header.chain_id,
        "height": header.height,
        "block": header.hash,
        "time": header.time,
        "state_digest": header.state_digest,
        "pairs": found.manifest.pairs,
        "chunks": len(found.manifest.chunks),
        "bytes": found.size,
    }


def _emit(context: click.Context, found: Snapshot) -> None:
    facts = _facts(found)
    emit(context, facts, lambda: fields({**facts, "time": moment(facts["time"])}))
