"""`depoli lot`: many claims under one signature."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from node.cli.claim import own_view
from node.cli.output import Verbs, emit, json_option, note, table
from node.cli.person import Person, at_home, read_input, run, today, wait_option
from node.client import lots
from node.client.errors import ClientError, Refused
from node.client.records import ClaimRecord, Progress
from node.client.refusals import told
from node.client.request import ClaimRequest, parse_claim
from node.errors import NodeError, Usage


@click.group(cls=Verbs)
def lot() -> None:
    """Submit many claims under one signature."""


@lot.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--skip-refused", is_flag=True, help="Submit the others where some are refused at the door."
)
@wait_option
@at_home
@json_option
@click.pass_context
def submit(
    context: click.Context, person: Person, paths: Sequence[Path], *, skip_refused: bool
) -> None:
    """Submit the claims in FILEs, or in the *.json of a folder.

    All are judged before any leaves. Run again after a failure, it goes on where it stopped.
    """
    files = _files(paths)
    with person.vault() as vault:
        sender = person.sender
        references, refused = [], []
        with vault.changes():
            for file in files:
                try:
                    request = _parse(file)
                    if request.reference in references:
                        raise Refused("claim.reference", f"{request.reference} stands twice")
                    lots.prepare(vault, sender, request, person.members.id_of)
                    references.append(request.reference)
                    for doubt in lots.doubts_of(vault, request):
                        note(f"{file.name}: look again: {doubt}")
                except (ClientError, NodeError) as error:
                    note(f"{file.name}: {error}")
                    refused.append({"file": file.name, "error": str(error)})
            if refused and not skip_refused:
                raise Refused(
                    "lot",
                    f"{len(refused)} of {len(files)} claims are refused, and nothing was sent",
                    hint="mend the files named above, or give --skip-refused to send the others",
                )
        note(f"{len(references)} claims are ready")

        async def go() -> list[ClaimRecord]:
            async with person.node() as node:
                return await lots.submit(
                    vault, node, sender, references, wait_s=person.wait_s, say=note
                )

        records = run(go()) if references else []
    result = [own_view(record, person) for record in records]
    emit(context, {"claims": result, "refused": refused}, lambda: _human(result))
    failed = [record for record in records if record.progress is not Progress.COMMITTED]
    if failed:
        note(f"{len(failed)} of {len(records)} claims were refused; the first:")
        first = failed[0]
        raise told(str(first.refusal), str(first.refusal_text), first.reference)


def _files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        files += sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise Usage("there is no *.json file in this folder")
    return files


def _parse(file: Path) -> ClaimRequest:
    return parse_claim(read_input(file), file.name, today=today())


def _human(result: list[dict[str, Any]]) -> str:
    rows = [
        (
            item["reference"],
            item["payer"],
            item["progress"],
            item["height"],
            item["claim"] or item["refusal"],
        )
        for item in result
    ]
    return table(("reference", "payer", "state", "block", "claim"), rows)
