"""`depoli testnet`: make, start, look at and stop a whole network on this machine."""

from pathlib import Path
from typing import Any

import click

from node.cli.output import Verbs, emit, json_option, note, table
from node.errors import Usage
from node.process import NodeDied, NotReady

_FOLDER = click.Path(path_type=Path, file_okay=False)
_DIRECTORY = click.argument("directory", type=_FOLDER)
_NODE = click.option("--node", "label", metavar="LABEL", help="Only this node.")


class KillWhom(Usage):
    """A whole network would be killed."""

    def __init__(self) -> None:
        super().__init__("--kill ends one node at once", hint="name it: --node LABEL")


@click.group(cls=Verbs)
def testnet() -> None:
    """A whole network on this machine, for trying things."""


@testnet.command()
@_DIRECTORY
@click.option("--validators", type=int, default=4, show_default=True, help="How many nodes.")
@click.option("--shops", type=int, default=2, show_default=True, help="Opticians without a node.")
@json_option
@click.pass_context
def create(context: click.Context, directory: Path, validators: int, shops: int) -> None:
    """Make the keys, the ceremony and the folders of a network in DIRECTORY."""
    from node import testnet as networks  # noqa: PLC0415  (brings the contracts)

    network = networks.create(directory, validators=validators, shops=shops)
    rows = [
        (each.label, each.family, "validator" if each.runs_node else "", each.home)
        for each in network.organisations
    ]
    result = {
        "directory": str(network.directory),
        "chain_id": network.chain_id,
        "genesis": str(network.genesis),
        "organisations": [
            {"label": label, "family": family, "runs_node": bool(runs), "home": str(home)}
            for label, family, runs, home in rows
        ],
    }
    emit(
        context,
        result,
        lambda: (
            f"{table(('label', 'family', 'runs', 'home of its people'), rows)}\n\n"
            f"chain {network.chain_id.hex()}\nStart it with: depoli testnet start {directory}"
        ),
    )


@testnet.command()
@_DIRECTORY
@_NODE
@json_option
@click.pass_context
def start(context: click.Context, directory: Path, label: str | None) -> None:
    """Start what is down, and wait until every node is ready."""
    from node import testnet as networks  # noqa: PLC0415

    network = networks.load(directory)
    labels = (label,) if label else ()
    try:
        started = network.start(*labels)
    except (NodeDied, NotReady) as error:
        for line in error.tail:
            note(f"  {line}")
        raise
    result = {
        "started": started,
        "nodes": [
            {"label": each.label, "pid": each.pid(), "api": network.api(each.label)}
            for each in network.processes
        ],
    }
    said = f"started {', '.join(started)}" if started else "all of it was running"
    emit(context, result, lambda: f"{said}; ready")


@testnet.command()
@_DIRECTORY
@_NODE
@click.option("--kill", is_flag=True, help="End it at once, as a power cut would.")
@json_option
@click.pass_context
def stop(context: click.Context, directory: Path, label: str | None, *, kill: bool) -> None:
    """Stop the nodes; one that does not end by itself is killed, and that is said."""
    from node import testnet as networks  # noqa: PLC0415

    network = networks.load(directory)
    if kill:
        if label is None:
            raise KillWhom
        network.kill(label)
        emit(context, {"killed": [label]}, f"killed {label}")
        return
    ended = network.stop(*((label,) if label else ()))
    result = {
        "stopped": [each for each, by_itself in ended.items() if by_itself],
        "killed": [each for each, by_itself in ended.items() if not by_itself],
    }
    said = [
        f"{how} {', '.join(labels)}"
        for how, labels in (
            ("stopped", result["stopped"]),
            ("had to kill", result["killed"]),
        )
        if labels
    ]
    emit(context, result, "\n".join(said) or "nothing was running")


@testnet.command()
@_DIRECTORY
@json_option
@click.pass_context
def status(context: click.Context, directory: Path) -> None:
    """Show the height, the newest header, the peers and the process of each node."""
    from node import testnet as networks  # noqa: PLC0415

    found = networks.load(directory).status()
    headings = ("node", "pid", "height", "header", "peers", "")
    emit(context, found, lambda: table(headings, list(map(_row, found))))


def _row(state: dict[str, Any]) -> tuple[object, ...]:
    peers = state.get("peers")
    return (
        state["label"],
        state["pid"],
        state.get("height"),
        str(state.get("hash", ""))[:16] or None,
        len(peers) if isinstance(peers, list) else peers,
        _remark(state),
    )


def _remark(state: dict[str, Any]) -> str:
    if state["pid"] is None:
        return "down"
    if "error" in state:
        return str(state["error"])
    return f"signs nothing: {state['silence']}" if state.get("silence") else ""
