"""`depoli keys`: an organisation's keys, which never leave the folder they are made in."""

from pathlib import Path

import click

from ledger.keys import Algorithm, Role
from node.card import FAMILIES, FILE_NAME, Card, Runs, create_card, load_card, verify_seeds
from node.cli.output import Verbs, emit, fields, json_option
from node.keystore import FILE_NAMES, SUFFIX, read_signer

algorithm_option = click.option(
    "--algorithm",
    type=click.Choice([algorithm.name.lower() for algorithm in Algorithm]),
    default=Algorithm.ED25519.name.lower(),
    show_default=True,
    help="Of keys that sign transactions.",
)


@click.group(cls=Verbs)
def keys() -> None:
    """Make an organisation's keys and show their public parts."""


@keys.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--label", required=True, help="Name for people: a-z, 0-9 and -.")
@click.option("--family", required=True, type=click.Choice(FAMILIES), help="What the member is.")
@click.option("--country", default="FR", show_default=True, help="Two letters (ISO 3166-1).")
@click.option(
    "--runs",
    type=click.Choice([runs.name.lower() for runs in Runs]),
    default=Runs.NOTHING.name.lower(),
    show_default=True,
    help="What the member runs, and so which keys it needs.",
)
@algorithm_option
@click.option("--person", is_flag=True, help="A key too that a person holds, who decides disputes.")
@json_option
@click.pass_context
def new(
    context: click.Context,
    folder: Path,
    label: str,
    family: str,
    country: str,
    runs: str,
    algorithm: str,
    *,
    person: bool,
) -> None:
    """Make new keys in FOLDER, and the card member.json to hand to the others."""
    card = create_card(
        folder,
        label=label,
        family=family,
        country=country,
        runs=Runs[runs.upper()],
        signing=Algorithm[algorithm.upper()],
        has_person=person,
    )
    emit(
        context,
        _result(card, folder),
        lambda: (
            f"{_human(card)}\n\nHand {folder / FILE_NAME} to who drafts the genesis."
            f" Back up the *.seed files; they are shown to nobody."
        ),
    )


@keys.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@json_option
@click.pass_context
def show(context: click.Context, folder: Path) -> None:
    """Show the public parts of the keys in FOLDER, after comparing them with the seeds.

    A folder without member.json, as `depoli validator new-keys` makes it, has seeds only.
    """
    if not (folder / FILE_NAME).exists() and (found := _seeds_in(folder)):
        keys = {
            FILE_NAMES[role]: read_signer(folder / (FILE_NAMES[role] + SUFFIX)).public
            for role in found
        }
        value = {"keys": keys, "folder": str(folder)}
        emit(context, value, lambda: fields({f"{name} key": key for name, key in keys.items()}))
        return
    card = load_card(folder)
    verify_seeds(folder, card)
    emit(context, _result(card, folder), lambda: _human(card))


def _seeds_in(folder: Path) -> list[Role]:
    return [role for role, name in FILE_NAMES.items() if (folder / (name + SUFFIX)).exists()]


def _result(card: Card, folder: Path) -> dict[str, object]:
    return card.as_json() | {"member": card.member, "folder": str(folder)}


def _human(card: Card) -> str:
    shown: dict[str, object] = {
        "label": card.label,
        "family": card.family,
        "country": card.country,
        "member": card.member,
    }
    return fields(shown | {f"{FILE_NAMES[role]} key": key for role, key in card.keys.items()})
