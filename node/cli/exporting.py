"""`depoli claim export`: what became of claims, for the shop's own software."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from node.cli.output import emit, json_option
from node.cli.person import Person, at_home, run, write_private
from node.client import fhir_export, sheet_export
from node.client.client import ClaimView
from node.client.errors import NotFound
from node.client.fhir_export import RELEASES, Release, Told
from node.client.lots import load, prescription_of
from node.client.records import ClaimRecord, PrescriptionRecord, every
from node.client.vault import Vault
from node.errors import Usage


@click.command()
@click.argument("names", nargs=-1, metavar="[CLAIM]...")
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
) -> None:
    """Write CLAIMs, and what became of them, for the shop's own software.

    The FHIR Bundle holds the prescriptions, and of patients that they are masked: it is for the
    shop alone. The table holds no correction.
    """
    if bool(names) is is_all:
        raise Usage("name claims, or give --all")
    with person.vault() as vault:
        if is_all:
            records = [record for _, record in every(vault, ClaimRecord)]
        else:
            records = [load(vault, name)[1] for name in names]
        held = [_prescription(vault, record) for record in records]
    ids = [record.claim for record in records if record.claim is not None]

    async def ask() -> dict[bytes, ClaimView]:
        async with person.node() as node:
            return await node.claims_by_id(ids)

    views = run(ask()) if ids else {}
    told = [
        Told(record, prescription, None if record.claim is None else views.get(record.claim))
        for record, prescription in zip(records, held, strict=True)
    ]
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


def _prescription(vault: Vault, claim: ClaimRecord) -> PrescriptionRecord | None:
    try:
        return prescription_of(vault, claim)
    except NotFound:  # erased
        return None
