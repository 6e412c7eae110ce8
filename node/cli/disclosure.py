"""`depoli disclosure`: show a payer what it may see of a claim, and verify what one was shown."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from node.cli.handing import hand_over
from node.cli.output import Verbs, emit, fields, json_option
from node.cli.person import Person, at_home, euros, read_input, run
from node.cli.showing import list_, send
from node.client import disclosing, inbox, lots, nomenclature
from node.client import disclosure as disclosures
from node.client.deliveries import Letter
from node.client.disclosure import Disclosed
from node.client.records import AuthorisationRecord, ClaimRecord
from node.client.statements import Statement
from node.client.vault import Vault
from node.errors import Usage

_PARTS = frozenset(("lenses", "frame"))


@click.group(cls=Verbs)
def disclosure() -> None:
    """Show a payer what it may see of a claim, verify what one was shown, and see who saw what."""


disclosure.add_command(send)
disclosure.add_command(list_)


@disclosure.command()
@click.argument("claims", nargs=-1, required=True, metavar="CLAIM...")
@click.option("--output", type=click.Path(path_type=Path), help="New file, for one claim.")
@click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False), help="Folder, for many claims."
)
@click.option(
    "--authorisation", is_flag=True, help="They are prior agreements that you ask for, not claims."
)
@at_home
@json_option
@click.pass_context
def make(
    context: click.Context,
    person: Person,
    claims: Sequence[str],
    output: Path | None,
    folder: Path | None,
    *,
    authorisation: bool,
) -> None:
    """Write what the payer of each CLAIM may see of it: sealed to the payer, where it has a key."""
    if (output is None) == (folder is None) or (output is not None and len(claims) != 1):
        raise Usage("give --output FILE for one claim, or --folder FOLDER for many")
    result = []
    type_ = AuthorisationRecord if authorisation else ClaimRecord
    with person.vault() as vault:
        for name in claims:
            record = lots.load(vault, name, type_)[1]
            letter = disclosing.letter_of(vault, record, now=int(time.time()))
            path = output or Path(str(folder)) / f"{letter.subject.hex()}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            run(_hand(vault, person, letter, path))
            result.append(
                {
                    "reference": record.reference,
                    "claim": letter.subject.hex(),
                    "payer": person.members.label_of(record.payer),
                    "file": str(path),
                }
            )
    emit(
        context,
        result,
        lambda: "\n".join(f"wrote {item['file']}; hand it to {item['payer']}" for item in result),
    )


@disclosure.command()
@click.argument(
    "paths", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path)
)
@at_home
@json_option
@click.pass_context
def verify(context: click.Context, person: Person, paths: Sequence[Path]) -> None:
    """Verify FILEs against the chain and keep them: disclosures, and statements of a payer."""
    result: list[dict[str, Any]] = []

    async def go(vault: Vault) -> None:
        async with person.node() as node:
            for path in paths:
                found = await inbox.take(vault, node, person.reader, read_input(path), path.name)
                result.append({"file": str(path)} | _shown(found, person))

    with person.vault() as vault:
        run(go(vault))
    emit(context, result, lambda: "\n\n".join(_human(item) for item in result))


async def _hand(vault: Vault, person: Person, letter: Letter, path: Path) -> None:
    async with person.node() as node:
        await hand_over(person, vault, node, letter, path)


def _shown(found: Disclosed | Statement, person: Person) -> dict[str, Any]:
    if isinstance(found, Statement):
        return {
            "kind": "statement",
            "id": found.id.hex(),
            "payer": person.members.label_of(found.payer),
            "cents": found.opening.amount,
        }
    kind = "claim" if found.purpose == disclosures.REIMBURSEMENT else "authorisation"
    shown: dict[str, Any] = {
        "kind": "disclosure",
        kind: found.claim.hex(),
        "submitter": person.members.label_of(found.submitter),
        "leg": found.leg.name.lower(),
        "right": found.codes.right,
        "left": found.codes.left,
        "frame": found.codes.frame,
        "supplements": list(found.codes.supplements),
        "category": found.category,
        "bearable_cents": nomenclature.most_of(found.codes, found.lenses_cents, found.frame_cents),
        "lenses_cents": found.lenses_cents,
        "frame_cents": found.frame_cents,
        "cents": found.opening.amount,
        "invoice_date": found.invoice_date,
        "insured": found.insured,
    }
    # A claim's field of that name is the number that the payer gave.
    return shown if kind == "authorisation" else shown | {"authorisation": found.authorisation}


def _human(item: dict[str, Any]) -> str:
    shown: dict[str, Any] = {}
    for name, value in item.items():
        if name.endswith("cents"):
            part = name.removesuffix("cents").rstrip("_")
            shown[f"{part} cost" if part in _PARTS else part or "amount"] = euros(value)
        else:
            shown[name] = " ".join(value) if isinstance(value, list) else value
    verified = fields({name: value for name, value in shown.items() if value})
    if item["kind"] == "statement":
        return f"{verified}\nholds against the chain"
    kind = "claim" if "claim" in item else "authorisation"
    after = f"what may happen next: depoli explain {kind} {item[kind]}"
    return f"{verified}\nholds against the chain\n{after}"
