"""`depoli validator`: who runs validators, and how that and their keys change while they run."""

import time
from pathlib import Path
from typing import Any, Final

import click

from contracts.calls import Approved, Joining, Leaving, Replacing, Rotating
from contracts.errors import Refusal
from contracts.membership import EFFECT, LEAST, MAX_AHEAD_S
from node import files, keystore
from node.cli.output import Verbs, emit, fields, json_option, moment, note, table
from node.cli.person import Person, at_home, run, wait_option
from node.client import validators
from node.client.client import CallOutcome, EraView, ValidatorsView
from node.client.refusals import refusal
from node.client.validators import ROLES, Keys, Registrar
from node.errors import Usage

_FOLDER: Final = click.Path(path_type=Path, file_okay=False)
_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_DAY_S: Final = 86_400
_keys_option = click.option(
    "--keys",
    "folder",
    required=True,
    type=_FOLDER,
    help="Folder of the validator's consensus, checkpoint and node seeds.",
)
_output_option = click.option(
    "-o", "--output", "out", required=True, type=_FILE, help="New file to write."
)
_days_option = click.option(
    "--days",
    type=click.IntRange(1, MAX_AHEAD_S // _DAY_S),
    default=7,
    show_default=True,
    help="How long it may be approved and sent.",
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
        "term": view.term,
        "now": now,
        "next": then,
        "history": [
            {
                "from_height": era.from_height,
                "term": era.term,
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


@validator.command("propose-join")
@_keys_option
@_days_option
@_output_option
@at_home
@json_option
@click.pass_context
def propose_join(
    context: click.Context, person: Person, folder: Path, days: int, out: Path
) -> None:
    """Propose that our member begins to run a validator with the keys in a folder."""
    keys, view = validators.public_keys(_load(folder)), _view(person)
    change = Joining(person.home.member, keys, view.term, _until(days))
    _propose(context, person, change, view, out)


@validator.command("propose-leave")
@click.argument("member")
@_days_option
@_output_option
@at_home
@json_option
@click.pass_context
def propose_leave(
    context: click.Context, person: Person, member: str, days: int, out: Path
) -> None:
    """Propose that MEMBER (label or id) ceases to run a validator."""
    leaving, view = person.members.id_of(member), _view(person)
    _propose(context, person, Leaving(leaving, view.term, _until(days)), view, out)


@validator.command("propose-replace")
@click.argument("member")
@_keys_option
@_days_option
@_output_option
@at_home
@json_option
@click.pass_context
def propose_replace(
    context: click.Context, person: Person, member: str, folder: Path, days: int, out: Path
) -> None:
    """Propose that our member takes the place of MEMBER among the validators."""
    keys = validators.public_keys(_load(folder))
    leaving, view = person.members.id_of(member), _view(person)
    change = Replacing(leaving, person.home.member, keys, view.term, _until(days))
    _propose(context, person, change, view, out)


@validator.command()
@click.argument("proposal", type=_FILE)
@at_home
@json_option
@click.pass_context
def show(context: click.Context, person: Person, proposal: Path) -> None:
    """Say in words what a proposal does; nothing is signed, and no node is asked."""
    change = _read_change(person, proposal)
    emit(context, _described(person, change), lambda: _words(person, change))


@validator.command()
@click.argument("proposal", type=_FILE)
@_output_option
@at_home
@json_option
@click.pass_context
def approve(context: click.Context, person: Person, proposal: Path, out: Path) -> None:
    """Approve a proposal in our member's name.

    It is signed with the transaction key. See first what it says (depoli validator show), and
    compare its id with whoever made it. Only members that run validators count.
    """
    change = _read_change(person, proposal)
    view = _view(person)
    _require_possible(person, change, view)
    if person.home.member.hex() not in {each.member for each in view.next}:
        raise Usage(
            f"{person.home.label} runs no validator, so its approval does not count",
            hint="depoli validator list shows whose does",
        )
    files.create(out, validators.approve(person.sender, change))
    emit(
        context,
        _described(person, change) | {"approval": str(out)},
        lambda: (
            f"{_words(person, change)}\n\n{person.home.label} approves this:"
            f" hand {out} to who sends it."
        ),
    )


@validator.command()
@click.argument("proposal", type=_FILE)
@click.argument("approvals", nargs=-1, type=_FILE)
@click.option(
    "--keys", "folder", type=_FOLDER, help="Folder of the new validator's seeds; not for a leave."
)
@wait_option
@at_home
@json_option
@click.pass_context
def submit(
    context: click.Context,
    person: Person,
    proposal: Path,
    approvals: tuple[Path, ...],
    folder: Path | None,
) -> None:
    """Send a proposal with its APPROVALS; the member that comes in does so itself."""
    change, members = _read_change(person, proposal), person.members
    chain_id = members.genesis.chain_id
    given = [
        validators.parse_approval(_read(path), chain_id, change, members, str(path))
        for path in approvals
    ]
    view = _view(person)
    _require_possible(person, change, view)
    ordered = validators.require_quorum(given, view, members)
    keys = None
    if not isinstance(change, Leaving):
        if folder is None:
            raise Usage("name the folder of the new validator's keys with --keys")
        if change.member != person.home.member:
            raise Usage(f"only {members.label_of(change.member)} can send this: it has the keys")
        keys = _load(folder)
        if validators.public_keys(keys) != change.keys:
            raise Usage(f"the keys in {folder} are not those that were proposed")

    async def send() -> int:
        async with person.node() as node:
            return await Registrar(node, person.sender, wait_s=person.wait_s).send(
                change, ordered, keys
            )

    height = run(send())
    result = _described(person, change) | {"height": height, "from_height": height + EFFECT}
    emit(context, result, lambda: _done(result))


@validator.command()
@_keys_option
@wait_option
@at_home
@json_option
@click.pass_context
def rotate(context: click.Context, person: Person, folder: Path) -> None:
    """Give our member's validator the keys in a folder; those that are the same are kept.

    It takes no approval, and is possible once a day. Restart the node with the new folder when
    the change is in force.
    """
    keys = _load(folder)
    change = Rotating(person.home.member, validators.public_keys(keys))

    async def send() -> int:
        async with person.node() as node:
            return await Registrar(node, person.sender, wait_s=person.wait_s).send(
                change, keys=keys
            )

    height = run(send())
    result = _described(person, change) | {"height": height, "from_height": height + EFFECT}
    emit(context, result, lambda: _done(result))
    note(f"From block {height + EFFECT} on the node must run with the keys in {folder}.")


def _propose(
    context: click.Context, person: Person, change: Approved, view: ValidatorsView, out: Path
) -> None:
    _require_possible(person, change, view)
    files.create(out, validators.change_json(person.members.genesis.chain_id, change))
    emit(
        context,
        _described(person, change) | {"proposal": str(out)},
        lambda: (
            f"{_words(person, change)}\n\nSend {out} to every member that runs a validator;"
            " a quorum of them must approve it."
        ),
    )


def _described(person: Person, change: Approved | Rotating) -> dict[str, Any]:
    return validators.as_json(change, person.members, person.members.genesis.chain_id)


def _words(person: Person, change: Approved) -> str:
    shown = _described(person, change)
    keys = {} if isinstance(change, Leaving) else {
        f"{name} key": getattr(change.keys, name) for name in ("consensus", "checkpoint", "node")
    }  # fmt: skip
    return f"{shown['says']}.\n\n" + fields(
        {
            "change": shown["change"],
            "member": shown["member"],
            **keys,
            "good until": moment(change.valid_until),
            "term": change.term,
        }
    )


def _done(result: dict[str, Any]) -> str:
    return (
        f"{result['says']}: decided in block {result['height']},"
        f" in force from block {result['from_height']} on"
    )


def _shown(result: dict[str, Any], *, is_changing: bool) -> str:
    rows = [
        (era["from_height"], era["term"], len(era["members"]), era["members"])
        for era in result["history"]
    ]
    now = {
        "block": result["height"],
        "validators": result["now"],
        "quorum": result["quorum"],
        "term": result["term"],
    }
    if is_changing:
        now["after it"] = result["next"]
    return f"{fields(now)}\n\n{table(('from block', 'term', 'n', 'validators'), rows)}"


def _load(folder: Path) -> Keys:
    return keystore.load_keys(folder, ROLES)


def _read(path: Path) -> bytes:
    return files.read_public(
        path, limit=validators.MAX_FILE_BYTES, hint="name a file that is there"
    )


def _read_change(person: Person, path: Path) -> Approved:
    return validators.parse_change(_read(path), person.members.genesis.chain_id, str(path))


def _view(person: Person) -> ValidatorsView:
    async def ask() -> ValidatorsView:
        async with person.node() as node:
            return await node.validators()

    return run(ask())


def _until(days: int) -> int:
    return int(time.time()) + days * _DAY_S - 60  # a little less than the most: clocks differ


def _require_possible(person: Person, change: Approved, view: ValidatorsView) -> None:
    """Raise `Usage`, `NetworkRefused` for what the chain would refuse, before anybody signs it."""
    if change.term != view.term:
        raise Usage(
            f"the validators changed since this was proposed (term {change.term}, now {view.term})",
            hint="propose it again, and have it approved again",
        )
    label, voters = person.members.label_of, {bytes.fromhex(each.member) for each in view.next}
    if not isinstance(change, Joining):
        leaving = change.member if isinstance(change, Leaving) else change.leaving
        if leaving not in voters:
            raise Usage(
                f"{label(leaving)} runs no validator", hint="depoli validator list shows who does"
            )
        voters.discard(leaving)
    if not isinstance(change, Leaving) and change.member in voters:
        raise Usage(
            f"{label(change.member)} runs a validator already",
            hint="other keys for it: depoli validator rotate",
        )
    if isinstance(change, Leaving) and len(voters) == LEAST - 1:
        few = Refusal.TOO_FEW_VALIDATORS
        raise refusal(CallOutcome(few, few.name, (len(voters),)), "the change")
