"""`depoli prescription`: what the shop holds, and the commitment of it that stands on the chain."""

import json
from pathlib import Path
from typing import Any

import click

from node.cli.given import the_prescription
from node.cli.output import Verbs, emit, fields, json_option, note, table
from node.cli.person import Person, at_home, run, wait_option, write_private
from node.client import fhir, lots, prescriptions
from node.client.client import CallOutcome
from node.client.records import PrescriptionRecord, every
from node.client.refusals import refusal
from node.client.request import PRESCRIPTION_FORMAT
from node.errors import Usage

_FILES = dict.fromkeys(("check", "import"), "node.cli.given_prescriptions")


@click.group(cls=Verbs, elsewhere=_FILES)
def prescription() -> None:
    """Keep a prescription in the vault and commit to it."""


@prescription.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--reference", help="Your own reference of it: A-Z, 0-9 and -, at most 20.")
@wait_option
@at_home
@json_option
@click.pass_context
def add(context: click.Context, person: Person, file: Path, reference: str | None) -> None:
    """Keep the prescription in FILE, and commit to it on the chain.

    FILE is a FHIR VisionPrescription, a table of one row (CSV), or what another shop exported, with
    the secret of its marks. `import` takes many.
    """
    handed = the_prescription(file)
    name = reference or handed.reference
    if name is None:
        raise Usage("a prescription needs your reference of it", hint="--reference ORD-17")
    with person.vault() as vault:
        sender = person.sender
        with vault.changes():
            record, is_new = lots.add_prescription(
                vault, sender, handed, prescriptions.parse_reference(name)
            )

        async def commit() -> None:
            async with person.node() as node:
                await prescriptions.commit(
                    vault, node, sender, record.reference, wait_s=person.wait_s, say=note
                )

        run(commit())
    result = {"reference": name, "commitment": record.commitment, "new": is_new}
    emit(context, result, lambda: fields(result))


@prescription.command()
@click.argument("reference")
@at_home
@json_option
@click.pass_context
def show(context: click.Context, person: Person, reference: str) -> None:
    """Show a prescription of the vault; nothing is asked of any node."""
    with person.vault() as vault:
        record = prescriptions.load(vault, reference)[1]
    held = record.prescription
    result: dict[str, Any] = {
        "reference": record.reference,
        "written": held.written,
        "prescriber": held.prescriber,
        "right": fhir.as_text(held.right),
        "left": fhir.as_text(held.left),
        "commitment": record.commitment,
        "committed": record.is_committed,
    }
    emit(context, result, lambda: fields(result))


@prescription.command("list")
@at_home
@json_option
@click.pass_context
def list_(context: click.Context, person: Person) -> None:
    """List the prescriptions of the vault, without what they say."""
    with person.vault() as vault:
        records = [record for _, record in every(vault, PrescriptionRecord)]
    result = [
        {
            "reference": record.reference,
            "written": record.prescription.written,
            "committed": record.is_committed,
        }
        for record in records
    ]
    rows = [tuple(item.values()) for item in result]
    emit(context, result, lambda: table(("reference", "written", "committed"), rows))


@prescription.command()
@click.argument("reference")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="New file to write.")
@at_home
@json_option
@click.pass_context
def export(context: click.Context, person: Person, reference: str, output: Path) -> None:
    """Write a prescription with its secret to a file, for the shop that the patient goes to.

    Whoever holds the file reads the prescription: hand it to the patient, or send it sealed.
    """
    with person.vault() as vault:
        record = prescriptions.load(vault, reference)[1]
    value: dict[str, Any] = {
        "format": PRESCRIPTION_FORMAT,
        "reference": record.reference,
        "secret": record.secret.hex(),
        "prescription": fhir.as_resource(record.prescription),
    }
    if record.ordinal:
        value["ordinal"] = record.ordinal
    write_private(output, json.dumps(value, indent=2, default=float).encode() + b"\n")
    emit(context, {"reference": reference, "file": str(output)}, f"wrote {output}")


@prescription.command()
@click.argument("reference")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@wait_option
@at_home
@json_option
@click.pass_context
def supersede(context: click.Context, person: Person, reference: str, file: Path) -> None:
    """Put the rectified prescription in FILE in the place of REFERENCE; secret and marks stay.

    Nothing new may rest on the earlier document then.
    """
    handed = the_prescription(file)
    with person.vault() as vault:

        async def go() -> CallOutcome:
            async with person.node() as node:
                acts = person.acts(vault, node, human=False)
                held = handed.prescription
                return await prescriptions.supersede(vault, acts, person.sender, reference, held)

        outcome = run(go())
    _told(context, reference, "superseded", outcome)


@prescription.command()
@click.argument("reference")
@click.option("--proof", help="Your reference of the proof of the last reimbursement.")
@click.option("--claim", help="Your last claim on it, which its payer accepted.")
@at_home
@json_option
@click.pass_context
def renew(
    context: click.Context, person: Person, reference: str, proof: str | None, claim: str | None
) -> None:
    """Let REFERENCE be claimed once more: its next marks, and a commitment of its own.

    A prescription serves for years. That its last reimbursement is proved is asked for each time.
    """
    if (proof is None) == (claim is None):
        raise Usage("give --proof or --claim, one of the two")
    with person.vault() as vault:

        async def go() -> PrescriptionRecord:
            async with person.node() as node:
                return await prescriptions.renew(
                    vault, node, person.sender, reference, proof=proof, claim=claim
                )

        record = run(go())
    result = {"reference": reference, "ordinal": record.ordinal, "commitment": record.commitment}
    emit(context, result, lambda: fields(result))


@prescription.command()
@click.argument("reference")
@wait_option
@at_home
@json_option
@click.pass_context
def revoke(context: click.Context, person: Person, reference: str) -> None:
    """Revoke the prescription REFERENCE: nothing new may rest on it; what was claimed stands."""
    with person.vault() as vault:

        async def go() -> CallOutcome:
            async with person.node() as node:
                acts = person.acts(vault, node, human=False)
                return await prescriptions.revoke(vault, acts, reference)

        outcome = run(go())
    _told(context, reference, "revoked", outcome)


def _told(context: click.Context, reference: str, done: str, outcome: CallOutcome) -> None:
    if outcome.code:
        raise refusal(outcome)
    result = {"reference": reference, "outcome": done}
    emit(context, result, f"{reference}: {done}")
