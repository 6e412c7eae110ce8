"""`depoli validator`: who runs validators, and how that and their keys change while they run."""

from pathlib import Path
from typing import Any, Final, TypeVar

import click

from contracts.calls import (
    Change,
    Joining,
    JoinValidators,
    LeaveValidators,
    Leaving,
    ReplaceValidator,
    Replacing,
    Rotating,
)
from contracts.membership import EFFECT
from node import keystore
from node.cli.output import Verbs, emit, fields, json_option, note, table
from node.cli.person import Person, at_home, run, wait_option
from node.cli.proposal import find
from node.client import validators, voting
from node.client.client import EraView, ValidatorsView
from node.client.proposals import ProposalView
from node.client.validators import ROLES, Keys, Registrar
from node.errors import Usage

SubjectT = TypeVar("SubjectT", JoinValidators, LeaveValidators, ReplaceValidator)
_FOLDER: Final = click.Path(path_type=Path, file_okay=False)
_keys_option = click.option(
    "--keys",
    "folder",
    required=True,
    type=_FOLDER,
    help="Folder of the validator's consensus, checkpoint and node seeds.",
)
_proposal_option = click.option(
    "--proposal", "name", required=True, help="Number or id of the proposal that passed."
)


@click.group(cls=Verbs)
def validator() -> None:
    """See who runs validators; join, leave, replace, and change keys while the network runs."""


@validator.command("list")
@at_home
@json_option
@click.pass_context
def show_list(context: click.Context, person: Person) -> None:
    """Show who votes now and in the block after next, and who did from when on."""

    async def ask() -> tuple[ValidatorsView, list[EraView]]:
        async with person.node() as node:
            view = await node.validators()
            eras = list(view.eras)
            while page := (await node.validators(eras[-1].number + 1)).eras:
                eras += page
            return view, eras

    view, eras = run(ask())
    label = person.members.label_of
    now, then = (
        [label(bytes.fromhex(each.member)) for each in voters]
        for voters in (view.validators, view.next)
    )
    result = {
        "height": view.height,
        "quorum": view.quorum,
        "now": now,
        "next": then,
        "history": [
            {
                "from_height": era.from_height,
                "members": [label(bytes.fromhex(member)) for member in era.members],
            }
            for era in eras
        ],
    }
    emit(context, result, lambda: _shown(result, is_changing=view.validators != view.next))


@validator.command("new-keys")
@click.argument("folder", type=_FOLDER)
@click.option("--keep", "kept", type=_FOLDER, help="Folder whose node.seed is to be kept.")
@json_option
@click.pass_context
def new_keys(context: click.Context, folder: Path, kept: Path | None) -> None:
    """Make the keys of a validator in FOLDER: consensus, checkpoint and node.

    With --keep the node key is copied from another folder, so that links to the node stay good.
    """
    roles = ROLES if kept is None else ROLES[:-1]
    seed = None if kept is None else keystore.load_seed(kept, ROLES[-1])
    made = dict(keystore.create_keys(folder, roles))
    if seed is not None:
        made[ROLES[-1]] = keystore.copy_key(folder, ROLES[-1], seed)
    public = {keystore.FILE_NAMES[role]: made[role].public for role in ROLES}
    emit(
        context,
        {"folder": str(folder), "keys": public},
        lambda: (
            f"{fields({f'{name} key': key for name, key in public.items()})}\n\n"
            f"The seeds are in {folder}; back them up, and hand them to nobody."
        ),
    )


@validator.command()
@_proposal_option
@_keys_option
@wait_option
@at_home
@json_option
@click.pass_context
def join(context: click.Context, person: Person, name: str, folder: Path) -> None:
    """Begin to run a validator with the keys in a folder, as a proposal that passed allows."""
    keys = _load(folder)
    id_, _ = _passed(person, name, JoinValidators)
    change = Joining(person.home.member, validators.public_keys(keys), id_)
    _send(context, person, change, keys)


@validator.command()
@_proposal_option
@wait_option
@at_home
@json_option
@click.pass_context
def leave(context: click.Context, person: Person, name: str) -> None:
    """Take a member out of the validators, as a proposal that passed allows.

    Any member that runs a validator may do it.
    """
    id_, subject = _passed(person, name, LeaveValidators)
    _send(context, person, Leaving(subject.member, id_))


@validator.command()
@_proposal_option
@_keys_option
@wait_option
@at_home
@json_option
@click.pass_context
def replace(context: click.Context, person: Person, name: str, folder: Path) -> None:
    """Take another's place among the validators, as a proposal that passed allows."""
    keys = _load(folder)
    id_, subject = _passed(person, name, ReplaceValidator)
    public = validators.public_keys(keys)
    _send(context, person, Replacing(subject.leaving, person.home.member, public, id_), keys)


@validator.command()
@_keys_option
@wait_option
@at_home
@json_option
@click.pass_context
def rotate(context: click.Context, person: Person, folder: Path) -> None:
    """Give our member's validator the keys in a folder; those that are the same are kept.

    It takes no vote, and is possible once a day. Restart the node with the new folder when
    the change is in force.
    """
    keys = _load(folder)
    height = _send(
        context, person, Rotating(person.home.member, validators.public_keys(keys)), keys
    )
    note(f"From block {height + EFFECT} on the node must run with the keys in {folder}.")


def _passed(person: Person, name: str, kind: type[SubjectT]) -> tuple[bytes, SubjectT]:
    """Return the id of a proposal and its subject; raise `Usage` where it is of something else."""

    async def ask() -> ProposalView:
        async with person.node() as node:
            return await find(node, name)

    view = run(ask())
    subject = voting.subject_of(view)
    if not isinstance(subject, kind):
        says = voting.describe(subject, person.members)
        raise Usage(f"proposal {view.number} is another one: {says}")
    if view.state != "passed":
        raise Usage(
            f"proposal {view.number} is {view.state}, and allows nothing",
            hint=f"depoli proposal show {view.number}",
        )
    return bytes.fromhex(view.id), subject


def _send(context: click.Context, person: Person, change: Change, keys: Keys | None = None) -> int:
    async def send() -> int:
        async with person.node() as node:
            registrar = Registrar(node, person.sender, wait_s=person.wait_s)
            return await registrar.send(change, keys)

    height = run(send())
    result = validators.as_json(change, person.members, person.members.genesis.chain_id)
    result |= {"height": height, "from_height": height + EFFECT}
    emit(context, result, lambda: _done(result))
    return height


def _done(result: dict[str, Any]) -> str:
    return (
        f"{result['says']}: decided in block {result['height']},"
        f" in force from block {result['from_height']} on"
    )


def _shown(result: dict[str, Any], *, is_changing: bool) -> str:
    rows = [(era["from_height"], len(era["members"]), era["members"]) for era in result["history"]]
    now = {
        "block": result["height"],
        "validators": result["now"],
        "quorum": result["quorum"],
    }
    if is_changing:
        now["after it"] = result["next"]
    return f"{fields(now)}\n\n{table(('from block', 'n', 'validators'), rows)}"


def _load(folder: Path) -> Keys:
    return keystore.load_keys(folder, ROLES)
