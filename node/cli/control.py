"""`depoli control`: what shops attest of early renewals is looked into, where a block draws it."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from contracts.control import parse_verdict
from node.cli.deeds import human_option
from node.cli.handing import hand_over, require_way
from node.cli.opened import shown_opening
from node.cli.output import Verbs, emit, fields, json_option, table
from node.cli.person import (
    Person,
    at_home,
    authorisation_id,
    read_input,
    run,
    write_private,
)
from node.client import controls, inbox, sealing
from node.client.client import NodeClient
from node.client.controls import Draw
from node.client.deliveries import Letter
from node.client.errors import NotFound
from node.client.records import AuthorisationRecord, ControlRecord, every, find
from node.client.vault import Vault
from node.errors import Usage

HOUR_S: Final = 3_600
_FILE: Final = click.Path(path_type=Path, dir_okay=False)


@click.group(cls=Verbs)
def control() -> None:
    """See which attestations are drawn, open them to a health professional, take the verdict."""


@control.command()
@click.argument("names", nargs=-1, metavar="[AUTHORISATION...]")
@at_home
@json_option
@click.pass_context
def draw(context: click.Context, person: Person, names: Sequence[str]) -> None:
    """Say of each AUTHORISATION, or of all that were attested, whether a block drew it.

    Shop and payer compute the same, and so does anybody who is told the answer's commitment: by the
    header of the second block after the answer's.
    """

    async def go(vault: Vault) -> list[dict[str, Any]]:
        records = (
            [controls.load(vault, authorisation_id(vault, name))[1] for name in names]
            if names
            else [record for _, record in every(vault, ControlRecord)]
        )
        async with person.node() as node:
            return [await _drawn(vault, node, record) for record in records]

    with person.vault() as vault:
        result = run(go(vault))
    headings = ("reference", "drawn", "by_block", "verdict", "authorisation")
    rows = [[_word(item[name]) for name in headings] for item in result]
    emit(context, result, lambda: table(headings, rows))


@control.command("open")
@click.argument("name", metavar="AUTHORISATION")
@click.option("--to", metavar="MEMBER", help="A prescriber: writes a file that only it reads.")
@click.option(
    "--hours", type=click.IntRange(1, 24 * 14), default=72, show_default=True, help="Readable."
)
@click.option("--output", required=True, type=_FILE, help="New file for the professional.")
@at_home
@json_option
@click.pass_context
def open_(
    context: click.Context, person: Person, name: str, to: str | None, hours: int, output: Path
) -> None:
    """Open both prescriptions of AUTHORISATION, which was drawn, to a health professional.

    Without --to they are shown here, in the shop, and the file holds nothing of them: who looked
    signs it. With --to they are in the file, sealed. That it was opened is kept.
    """
    now = int(time.time())

    async def go(vault: Vault) -> dict[str, Any]:
        member = None if to is None else person.members.id_of(to)
        record = controls.load(vault, authorisation_id(vault, name))[1]
        async with person.node() as node:
            await controls.require_drawn(node, record)
            if member is not None:
                if (await node.member(member)).family != "prescriber":
                    raise Usage(f"{to} is no prescriber: open it here, to who looks in the shop")
                await person.post(vault, node).require_key(member)
        lifetime = hours * HOUR_S
        opening = controls.open_to(vault, record, member, now=now, lifetime_s=lifetime)
        if member is None:
            write_private(output, controls.slip_of(opening).to_json())
            return shown_opening(opening, person.members, now=now) | {"file": str(output)}
        write_private(output, await person.sealed(opening.to_json(), member))
        return {"file": str(output), "for": person.members.label_of(member)}

    with person.vault() as vault:
        result = run(go(vault))
    emit(context, result, lambda: fields(result))


@control.command()
@click.argument("file", type=_FILE)
@click.option(
    "--conform/--not-conform", default=None, help="Your verdict. Left out, it is only shown."
)
@click.option("--output", type=_FILE, help="New file for the payer. Left out, it goes by post.")
@human_option
@at_home
@json_option
@click.pass_context
def sign(
    context: click.Context,
    person: Person,
    file: Path,
    *,
    conform: bool | None,
    output: Path | None,
    human: bool,
) -> None:
    """Look at what FILE opens, and sign that it is conform, or that it is not: nothing else.

    For the health professional, at a home of its own.
    """
    plain = sealing.unseal(read_input(file), file.name, person.sealing_seed)
    opening = controls.parse_opening(plain, file.name)
    result = shown_opening(opening, person.members, now=int(time.time()))
    if conform is None:
        emit(context, result, lambda: fields(result))
        return
    sender = person.human_sender if human else person.sender
    verdict = controls.sign(opening, sender, conform=conform)
    finding = verdict.finding
    letter = Letter(
        recipient=finding.recipient,
        format=controls.VERDICT,
        purpose=inbox.CONTROLLED,
        subject=finding.authorisation,
        version=finding.attestation,
        plain=controls.verdict_json(verdict),
    )

    async def tell(vault: Vault) -> str:
        async with person.node() as node:
            await require_way(person, vault, node, letter.recipient, output)
            return await hand_over(person, vault, node, letter, output)

    with person.vault() as vault:
        way = run(tell(vault))
    said = {"authorisation": finding.authorisation.hex(), "verdict": _verdict(conform=conform)}
    emit(context, said, lambda: f"{fields(said)}\n{way}")


@control.command()
@click.argument("file", type=_FILE)
@at_home
@json_option
@click.pass_context
def verify(context: click.Context, person: Person, file: Path) -> None:
    """Verify the verdict in FILE, which a health professional handed over, and keep it."""
    plain = sealing.unseal(read_input(file), file.name, person.sealing_seed)
    verdict = controls.read_verdict(plain, file.name)

    async def go(vault: Vault) -> None:
        async with person.node() as node:
            checked = await inbox.check(vault, node, person.reader, plain, file.name)
        with vault.changes():
            checked.keep()

    with person.vault() as vault:
        run(go(vault))
    result = {
        "authorisation": verdict.finding.authorisation.hex(),
        "verdict": _verdict(conform=verdict.finding.conform),
        "by": person.members.label_of(verdict.signed.member),
    }
    emit(context, result, lambda: fields(result))


async def _drawn(vault: Vault, node: NodeClient, record: ControlRecord) -> dict[str, Any]:
    found: Draw | None = None
    try:
        found = await controls.draw(node, record)
    except NotFound:  # it was not answered with yet
        if record.answer is not None:
            raise
    request = find(vault, AuthorisationRecord, record.authorisation.hex())
    verdict = record.verdict and parse_verdict(record.verdict)
    return {
        "authorisation": record.authorisation.hex(),
        "reference": None if request is None else request[1].reference,
        "drawn": None if found is None else found.is_drawn,
        "by_block": None if found is None else found.height,
        "header": None if found is None or found.header is None else found.header.hex(),
        "answer": None if found is None else found.answer.hex(),
        "control": None if found is None else found.control,
        "verdict": _verdict(conform=verdict.finding.conform) if verdict else None,
    }


def _verdict(*, conform: bool) -> str:
    return "conform" if conform else "not conform"


def _word(value: object) -> object:
    if value is None:
        return "–"
    return ("yes" if value else "no") if isinstance(value, bool) else value
