"""`depoli node`: make, run and look at one node."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from node.cli.output import Verbs, emit, fields, json_option, moment
from node.config import Address, Mode, Unfit, load_config, parse_address
from node.doctor.phrases import printable

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path)


class AddressType(click.ParamType[Address]):
    """host:port."""

    name = "host:port"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Address:
        """Return the address, or fail with what is wrong with it."""
        try:
            return value if isinstance(value, Address) else parse_address(value)
        except Unfit as error:
            self.fail(f"'{value}' {error}", param, ctx)


@click.group(cls=Verbs)
def node() -> None:
    """Initialise, run and look at a node."""


@node.command()
@click.option("--data", required=True, type=_FOLDER, help="The node's folder, made here.")
@click.option("--genesis", required=True, type=_FILE, help="The signed genesis of the chain.")
@click.option("--keys", required=True, type=_FOLDER, help="Folder of your *.seed files.")
@click.option(
    "--mode",
    type=click.Choice([mode.value for mode in Mode]),
    default=Mode.VALIDATOR.value,
    show_default=True,
    help="What the node does.",
)
@click.option(
    "--listen",
    type=AddressType(),
    default="127.0.0.1:7600",
    show_default=True,
    help="Where other nodes reach this one.",
)
@click.option(
    "--api",
    type=AddressType(),
    default="127.0.0.1:7680",
    show_default=True,
    help="Where the HTTP API answers.",
)
@click.option(
    "--admin",
    type=AddressType(),
    default="127.0.0.1:7690",
    show_default=True,
    help="Where health and metrics answer; loopback only.",
)
@click.option(
    "--peer",
    "peers",
    multiple=True,
    metavar="LABEL|ID=HOST:PORT",
    help="Where another member's node is reached; once for each.",
)
@click.option(
    "--first-start",
    is_flag=True,
    help="This chain has not begun: these keys have signed nothing for it, anywhere.",
)
@click.option(
    "--member",
    metavar="LABEL|ID",
    help="Whose node it is, where its keys are not in the genesis: one that joins, or came later.",
)
@json_option
@click.pass_context
def init(
    context: click.Context,
    data: Path,
    genesis: Path,
    keys: Path,
    mode: str,
    listen: Address,
    api: Address,
    admin: Address,
    peers: tuple[str, ...],
    *,
    first_start: bool,
    member: str | None,
) -> None:  # fmt: skip
    """Make the folder of a node, once the genesis is verified and found to hold your keys."""
    from node.initialise import Settings, initialise  # noqa: PLC0415  (brings the contracts)

    settings = Settings(
        Mode(mode), keys, listen, api, admin, dict(map(_parse_peer, peers)), first_start, member
    )
    made = initialise(data, genesis, settings)
    result = {
        "data": str(data),
        "chain_id": made.chain_id,
        "member": made.member,
        "label": made.label,
        "mode": mode,
        "changed": made.is_new,
    }
    emit(
        context,
        result,
        lambda: f"{fields(result)}\n\nRun it with: depoli node run --config {data}",
    )


@node.command()
@click.option("--config", required=True, type=_FILE, help="config.toml, or the node's folder.")
def run(config: Path) -> None:
    """Run a node until it is told to stop. It logs JSON lines on standard error."""
    from node.keystore import load_node_keys  # noqa: PLC0415

    settings = load_config(config)
    keys = load_node_keys(settings.keys, settings.mode)
    if settings.mode is Mode.LIGHT:
        from node.light.server import serve as serve_light  # noqa: PLC0415

        asyncio.run(serve_light(settings, keys))
    else:
        from node.server import serve  # noqa: PLC0415  (brings the whole node)

        asyncio.run(serve(settings, keys))


@node.command()
@click.option("--config", required=True, type=_FILE, help="config.toml, or the node's folder.")
@json_option
@click.pass_context
def status(context: click.Context, config: Path) -> None:
    """Ask the running node how it is."""
    from node.process import Process  # noqa: PLC0415

    value = Process("", load_config(config).home).status()
    emit(context, value, lambda: status_text(value))


@node.group(cls=Verbs)
def token() -> None:
    """Give programs access to the HTTP API of this node."""


@token.command("new")
@click.option("--config", required=True, type=_FILE, help="config.toml, or the node's folder.")
@click.option(
    "--scope",
    "scopes",
    required=True,
    multiple=True,
    type=click.Choice(["read", "submit", "audit", "admin"]),
    help="Once for each.",
)
@click.option("--member", metavar="LABEL|ID", help="Whose entries the token reads.")
@click.option("--label", default="", help="What the token is for, in your words.")
@click.option(
    "--output",
    "out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="New file for the token; only its hash is kept.",
)
@json_option
@click.pass_context
def token_new(
    context: click.Context,
    config: Path,
    scopes: tuple[str, ...],
    member: str | None,
    label: str,
    out: Path,
) -> None:  # fmt: skip
    """Write a new token to a file that only you can read."""
    from node import ceremony  # noqa: PLC0415
    from node.initialise import give_token  # noqa: PLC0415
    from node.tokens import Scope  # noqa: PLC0415

    if "read" in scopes and member is None:
        raise click.UsageError("the scope read needs --member: it reads what concerns a member")
    settings = load_config(config)
    id_ = (
        None
        if member is None
        else ceremony.id_of(ceremony.load_genesis(settings.genesis).genesis, member)
    )
    granted = frozenset(map(Scope, scopes))
    give_token(settings.tokens, out, member=id_, scopes=granted, label=label)
    emit(
        context,
        {"token_file": str(out), "member": id_, "scopes": sorted(granted), "label": label},
        lambda: f"The token is in {out}. Restart the node to let it in.",
    )


@node.group(cls=Verbs)
def resume() -> None:
    """Let validators go on where too many journals were lost: see docs/operator.md first."""


@resume.command()
@click.option("--config", required=True, type=_FILE, help="config.toml, or the node's folder.")
@click.option("--output", "out", required=True, type=_FILE, help="New file for the testimony.")
@json_option
@click.pass_context
def testify(context: click.Context, config: Path, out: Path) -> None:
    """Sign what is on the disk of our validator, which stands still, for the other operators."""
    from node.keystore import load_node_keys  # noqa: PLC0415
    from node.resume import testify as write  # noqa: PLC0415  (brings the whole node)

    settings = load_config(config)
    key = load_node_keys(settings.keys, Mode.VALIDATOR).consensus
    assert key is not None  # validators have one
    made = write(settings, key, out)
    result = {
        "testimony": str(out),
        "height": made.height,
        "block": made.block_id,
        "journal_is_current": made.is_current,
        "round": made.round,
        "locked": made.lock is not None,
    }
    emit(context, result, lambda: fields(result))


@resume.command()
@click.option("--config", required=True, type=_FILE, help="config.toml, or the node's folder.")
@click.option(
    "--agreed-height",
    required=True,
    type=int,
    help="The block from which all operators agreed, by voice, to go on.",
)
@click.argument("testimonies", required=True, nargs=-1, type=_FILE)
@json_option
@click.pass_context
def confirm(
    context: click.Context, config: Path, agreed_height: int, testimonies: tuple[Path, ...]
) -> None:
    """Let our validator, whose journal was lost, sign again: with one testimony of each."""
    from node.keystore import load_node_keys  # noqa: PLC0415
    from node.resume import resume as go_on  # noqa: PLC0415

    settings = load_config(config)
    key = load_node_keys(settings.keys, Mode.VALIDATOR).consensus
    assert key is not None  # validators have one
    made = go_on(settings, key, testimonies, agreed_height)
    result = {
        "height": made.height,
        "block": made.block_id,
        "first_round": made.round,
        "locked": made.lock is not None,
        "resuming": list(made.resuming),
    }
    emit(context, result, lambda: f"{fields(result)}\n\nStart it once all of these have done so.")


def status_text(value: Mapping[str, Any]) -> str:
    """Return the status for people: what holds several things, in a line for each."""
    trouble, twins = value["trouble"], value["twins"]
    shown = {
        **value,
        "time": moment(value["time"]),
        "peers": value["peers"] or "none",
        "trouble": f"{len(trouble)} not linked" if trouble else "none",
        "twins": "two nodes with one key" if twins else "none",
        "silence": value["silence"] or "none",
        "upgrade": value.get("upgrade") or "none",
    }
    shown |= {name: _parts(value[name]) for name in ("join", "sync") if name in value}
    if "snapshot" in value:  # a light node has none of the three
        shown["snapshot"] = _snapshot_text(**value["snapshot"])
    lines = [f"{label}: {printable(why)}" for label, why in trouble.items()]
    for twin in twins:
        whose = "the key of this node" if twin["label"] is None else f"the key of {twin['label']}"
        told = "" if twin["told_by"] is None else f", as {twin['told_by']} says"
        places = ", ".join(map(printable, twin["places"]))  # what a peer wrote
        lines.append(f"{whose} is used at {places}{told}")
    return "\n".join([fields(shown), *([""] if lines else []), *lines])


def _snapshot_text(height: int, failure: str) -> str:
    newest = f"of block {height}" if height else "none"
    return f"{newest}; the last one failed, {failure}" if failure else newest


def _parts(value: Mapping[str, Any] | None) -> str:
    return "none" if value is None else ", ".join(f"{name} {each}" for name, each in value.items())


def _parse_peer(text: str) -> tuple[str, Address]:
    label, equals, address = text.partition("=")
    if not equals or not label:
        raise click.BadParameter(f"'{text}' must be LABEL|ID=HOST:PORT", param_hint="--peer")
    try:
        return label, parse_address(address)
    except Unfit as error:
        raise click.BadParameter(f"'{text}' {error}", param_hint="--peer") from None
