"""`depoli prescription check` and `import`: many at once, of any form."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from node.cli.given import FILES, read_prescriptions, report, tell_left_out
from node.cli.output import emit, json_option, note
from node.cli.person import Person, at_home, run, wait_option
from node.client import importing, lots, prescriptions
from node.client.request import HandedPrescription
from node.errors import Usage


@click.command()
@FILES
@json_option
@click.pass_context
def check(context: click.Context, files: Sequence[Path]) -> None:
    """Judge the prescriptions in FILEs, of any form; nothing is kept or sent."""

    def shown(handed: HandedPrescription) -> dict[str, Any]:
        return {"reference": handed.reference, "written": handed.prescription.written}

    report(context, files, read_prescriptions, shown)


@click.command("import")
@FILES
@wait_option
@at_home
@json_option
@click.pass_context
def import_(context: click.Context, person: Person, files: Sequence[Path]) -> None:
    """Keep the prescriptions in FILEs, and commit to them on the chain.

    FILE is a FHIR VisionPrescription or a Bundle of them, a table (CSV), or what another shop
    exported. All are judged first, and none is kept where one is refused. Run again, it goes on.
    """
    entries = [entry for path in files for entry in read_prescriptions(path)]
    handed = importing.whole(entries)
    names = [each.reference for each in handed]
    if None in names:
        raise Usage(
            "a prescription in the files has no reference of yours",
            hint="its identifier in FHIR, or the column Ordonnance; or depoli prescription add",
        )
    references = [prescriptions.parse_reference(str(name)) for name in names]
    for entry in entries:
        tell_left_out(entry)
    with person.vault() as vault:
        sender = person.sender
        with vault.changes():
            new = [
                lots.add_prescription(vault, sender, each, reference)[1]
                for each, reference in zip(handed, references, strict=True)
            ]

        async def commit() -> None:
            async with person.node() as node:
                await prescriptions.commit_all(
                    vault, node, sender, references, wait_s=person.wait_s, say=note
                )

        run(commit())
    result = [
        {"reference": reference, "new": is_new}
        for reference, is_new in zip(references, new, strict=True)
    ]
    emit(context, result, f"{len(result)} prescriptions are kept, {sum(new)} of them new")
