"""`depoli gateway`: what these commands do, for shop software, by HTTP on this machine."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from node.cli.output import Verbs, emit, json_option, note, table
from node.cli.person import Person, at_home, today
from node.client.queue import Windows
from node.errors import NotFound, Usage

TOKENS: Final = "gateway.toml"
LISTEN: Final = "127.0.0.1:8470"


@click.group(cls=Verbs)
def gateway() -> None:
    """Serve shop software on this machine: claims, receipts, events by HTTP."""


@gateway.command()
@click.option(
    "--listen", default=LISTEN, show_default=True, metavar="HOST:PORT", help="Where; loopback only."
)
@at_home
def run(person: Person, listen: str) -> None:
    """Run the gateway until it is stopped; what it was given and not sent yet is kept.

    It opens the vault once: with a passphrase, that is asked for at the start.
    """
    from ledger.receipt import parse_json  # noqa: PLC0415
    from node.cli.printing import page_of  # noqa: PLC0415 - other verbs need no web server
    from node.cli.receipt import proved  # noqa: PLC0415
    from node.gateway.application import application  # noqa: PLC0415
    from node.gateway.desk import Desk  # noqa: PLC0415
    from node.gateway.doors import Doors, require_loopback  # noqa: PLC0415
    from node.listener import serve_http  # noqa: PLC0415
    from node.log import Log  # noqa: PLC0415
    from node.stopping import told_to_stop  # noqa: PLC0415

    host, port = _parse_address(listen)
    require_loopback(host)
    doors = Doors(person.home.folder / TOKENS)
    if not len(doors.book()):
        note("no application has a token yet: depoli gateway token new --label SOFTWARE")
    members = person.members
    with person.vault() as vault:
        desk = Desk(
            person.sender,
            person.home.label,
            members,
            vault,
            person.home.node,
            person.node,
            lambda node: person.post(vault, node),
            Windows(60 * person.home.window_minutes),
            lambda: int(time.time()),
            today,
            lambda content: page_of(parse_json(content.decode()), members),
            lambda content: proved(parse_json(content.decode()), members),
        )

        async def serve() -> None:
            serving = serve_http(application(desk, doors, Log()), (host, port), key="--listen")
            async with asyncio.TaskGroup() as tasks:
                task = tasks.create_task(serving)
                note(f"the gateway of {person.home.label} listens on http://{listen}")
                await told_to_stop()
                task.cancel()

        asyncio.run(serve())


@gateway.group(cls=Verbs)
def token() -> None:
    """Give applications access to the gateway, each a token of its own."""


@token.command()
@click.option("--label", required=True, help="The application, in your words.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["read", "submit"]),
    help="Once for each; both where none is given.",
)
@click.option(
    "--output",
    "out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="New file for the token; only its hash is kept.",
)
@at_home
@json_option
@click.pass_context
def new(
    context: click.Context, person: Person, label: str, scopes: Sequence[str], out: Path
) -> None:
    """Write a new token to a file that only you can read; it opens at once."""
    from node.initialise import give_token  # noqa: PLC0415
    from node.tokens import Scope, load_grants  # noqa: PLC0415

    book = person.home.folder / TOKENS
    if any(grant.label == label for grant in load_grants(book)):
        raise Usage(f"{label} has a token", hint="remove that one first, or choose another label")
    granted = frozenset(map(Scope, scopes or ("read", "submit")))
    give_token(book, out, member=person.home.member, scopes=granted, label=label)
    result = {"token_file": str(out), "label": label, "scopes": sorted(granted)}
    emit(context, result, lambda: f"The token of {label} is in {out}.")


@token.command("list")
@at_home
@json_option
@click.pass_context
def list_(context: click.Context, person: Person) -> None:
    """List which applications have a token."""
    from node.tokens import load_grants  # noqa: PLC0415

    grants = load_grants(person.home.folder / TOKENS)
    result = [{"label": each.label, "scopes": sorted(each.scopes)} for each in grants]
    rows = [(each["label"], each["scopes"]) for each in result]
    emit(context, result, lambda: table(("application", "scopes"), rows))


@token.command()
@click.argument("label")
@at_home
@json_option
@click.pass_context
def remove(context: click.Context, person: Person, label: str) -> None:
    """Let the application LABEL in no more; a gateway that runs knows it at once."""
    from node.tokens import remove_grant  # noqa: PLC0415

    if not remove_grant(person.home.folder / TOKENS, label):
        raise NotFound(f"no application is called {label}", hint="depoli gateway token list")
    emit(context, {"label": label}, f"{label} comes in no more")


def _parse_address(text: str) -> tuple[str, int]:
    """Return host and port; raise `Usage`."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise Usage(f"{text[:80]} is no address", hint=f"such as {LISTEN}")
    return host.strip("[]"), int(port)
