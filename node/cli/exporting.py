"""`depoli claim export`: what became of claims, for the shop's own software."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from node.cli.output import emit, json_option
from node.cli.person import Person, at_home, run, write_private
from node.client import fhir_export, sheet_export
from node.client.agreements import authorisation_of
from node.client.client import NodeClient
from node.client.errors import NotFound
from node.client.fhir_export import RELEASES, Release, Told
from node.client.lots import load, prescription_of
from node.client.records import AuthorisationRecord, ClaimRecord, PrescriptionRecord, every
from node.client.vault import Vault
from node.errors import Usage


@click.command()
@click.argument("names", nargs=-1, metavar="[CLAIM]...")
@click.option("--authorisation", is_flag=True, help="They are requests for prior agreements.")
@click.option("--all", "is_all", is_flag=True, help="Every claim of the vault.")
@click.option(
    "--format",
    "form",
    required=True,
    type=click.Choice(["fhir", "csv"]),
    help="A FHIR Bundle with Claim and ClaimResponse, or a table.",
)
@click.option(
    "--fhir-version",
    "release",
    type=click.Choice(list(RELEASES)),
    default="R4",
    show_default=True,
    help="Release of FHIR.",
)
@click.option("--output", type=click.Path(path_type=Path), help="New file; otherwise it is shown.")
@at_home
@json_option
@click.pass_context
def export(
    context: click.Context,
    person: Person,
    names: Sequence[str],
    form: str,
    release: Release,
    output: Path | None,
    *,
    is_all: bool,
    authorisation: bool,
) -> None:
    """Write CLAIMs, and what became of them, for the shop's own software.

    The FHIR Bundle holds the prescriptions, and of patients that they are masked: it is for the
    shop alone. The table holds no correction.
    """
    if bool(names) is is_all:
        raise Usage("name claims, or give --all")
    type_ = AuthorisationRecord if authorisation else ClaimRecord
    with person.vault() as vault:
        if is_all:
            records = [record for _, record in every(vault, type_)]
        else:
            records = [load(vault, name, type_)[1] for name in names]
        held = [(record, _prescription(vault, record)) for record in records]

    async def ask() -> list[Told]:
        async with person.node() as node:
            if authorisation:
                return [await _agreement(node, *each) for each in held]
            ids = [record.claim for record in records if record.claim is not None]
            views = await node.claims_by_id(ids)
            return [Told(*each, views.get(each[0].claim or b"")) for each in held]

    told = run(ask()) if any(record.claim for record in records) else [Told(*e, None) for e in held]
    labels = {record.payer: person.members.label_of(record.payer) for record in records}
    if form == "csv":
        content = sheet_export.table(told, labels)
    else:
        bundle = fhir_export.bundle(told, labels, person.home.label, release)
        content = json.dumps(bundle, indent=2, ensure_ascii=False, default=float).encode() + b"\n"
    if output is None:
        click.echo(content.decode("utf-8-sig"), nl=False)
        return
    write_private(output, content)
    result = {"file": str(output), "claims": len(told)}
    emit(context, result, f"wrote {output}: {len(told)} claims")


async def _agreement(
    node: NodeClient, record: ClaimRecord, prescription: PrescriptionRecord | None
) -> Told:
    assert isinstance(record, AuthorisationRecord)  # they were asked for
    if record.claim is None:
        return Told(record, prescription, None)
    try:
        view = await authorisation_of(node, record.claim)
    except NotFound:  # refused by the network
        return Told(record, prescription, None)
    return fhir_export.agreed(record, prescription, view)


def _prescription(vault: Vault, claim: ClaimRecord) -> PrescriptionRecord | None:
    try:
        return prescription_of(vault, claim)
    except NotFound:  # erased
        return None
