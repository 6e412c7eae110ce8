"""`depoli genesis`: organisations agree on how a chain begins, each with keys that stay with it."""

from pathlib import Path
from typing import Any

import click

from node.cli.output import Verbs, emit, fields, json_option, note, table

_FILE = click.Path(path_type=Path, dir_okay=False)
_DRAFT = click.argument("draft", type=_FILE)


@click.group(cls=Verbs)
def genesis() -> None:
    """Agree on how a chain begins: draft, sign, assemble, verify."""


@genesis.command()
@click.option("--network", required=True, help="Name of the network: a-z, 0-9 and -.")
@click.option(
    "--member",
    "members",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    help="A member.json; once for each member.",
)
@click.option(
    "--validator",
    "validators",
    required=True,
    multiple=True,
    metavar="LABEL",
    help="A member that validates, in the order of turns; once for each.",
)
@click.option(
    "--output",
    "out",
    type=_FILE,
    default=Path("draft.json"),
    show_default=True,
    help="New file for the draft.",
)
@json_option
@click.pass_context
def draft(
    context: click.Context,
    network: str,
    members: tuple[Path, ...],
    validators: tuple[str, ...],
    out: Path,
) -> None:  # fmt: skip
    """Write a genesis without signatures from the members' cards."""
    from node import ceremony  # noqa: PLC0415  (brings the contracts)

    drafted = ceremony.write_draft(out, members, validators, network=network)
    result = ceremony.describe(drafted)
    emit(context, result | {"draft": str(out)}, lambda: _human(result))
    note(f"Send {out} to every validator; each compares the chain id and signs.")


@genesis.command()
@_DRAFT
@click.option(
    "--keys",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of your *.seed files.",
)
@click.option("--output", "out", type=_FILE, help="Default: LABEL.signature.json here.")
@json_option
@click.pass_context
def sign(context: click.Context, draft: Path, keys: Path, out: Path | None) -> None:  # fmt: skip
    """Sign a draft as the validator whose keys these are."""
    from node import ceremony  # noqa: PLC0415

    signed = ceremony.write_signature(draft, keys, out)
    emit(
        context,
        {"chain_id": signed.chain_id, "label": signed.label, "signature": str(signed.path)},
        lambda: f"{signed.label} signed the chain {signed.chain_id.hex()}: {signed.path}",
    )


@genesis.command()
@_DRAFT
@click.argument("signatures", required=True, nargs=-1, type=_FILE)
@click.option(
    "--output",
    "out",
    type=_FILE,
    default=Path("genesis.json"),
    show_default=True,
    help="New file for the signed genesis.",
)
@json_option
@click.pass_context
def assemble(context: click.Context, draft: Path, signatures: tuple[Path, ...], out: Path) -> None:
    """Put a draft and the signatures of all its validators together, and verify the whole."""
    from node import ceremony  # noqa: PLC0415

    made = ceremony.write_genesis(draft, signatures, out)
    emit(
        context,
        {"chain_id": made.chain_id, "genesis": str(out)},
        lambda: f"chain {made.chain_id.hex()} begins with {out}",
    )


@genesis.command()
@click.argument("file", type=_FILE)
@json_option
@click.pass_context
def verify(context: click.Context, file: Path) -> None:
    """Verify that a genesis is well made and signed by every one of its validators."""
    from node import ceremony  # noqa: PLC0415

    made = ceremony.load_genesis(file)
    result = ceremony.describe(made.genesis)
    emit(context, result | {"verified": True}, lambda: _verified(result))


@genesis.command()
@click.argument("file", type=_FILE)
@json_option
@click.pass_context
def show(context: click.Context, file: Path) -> None:
    """Show a draft or a genesis, to be compared by voice before it is signed."""
    from node import ceremony  # noqa: PLC0415

    result = ceremony.describe(ceremony.load_either(file))
    emit(context, result, lambda: _human(result))


def _human(result: dict[str, Any]) -> str:
    rows = [
        (
            each["label"],
            each["family"],
            each["country"],
            each["member"],
            "validator" if each["validates"] else "",
        )
        for each in result["members"]
    ]
    tables = [
        (each["subject"], each["hash"].hex(), "as here" if each["packaged"] else "not as here")
        for each in result["tables"]
    ]
    return (
        f"{table(('label', 'family', 'country', 'member', 'runs'), rows)}\n\n"
        f"{table(('reference table', 'sha-256', 'packaged'), tables)}\n\n"
        f"{fields({name: result[name] for name in ('network', 'time', 'chain_id')})}"
    )


def _verified(result: dict[str, Any]) -> str:
    return f"{_human(result)}\n\nsigned by every validator"
