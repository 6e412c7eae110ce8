"""`depoli vault`: what the vault holds, its backups, what opens it, and the way out of it."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from node.cli import opening
from node.cli.auditor import Meter
from node.cli.output import Verbs, emit, fields, is_json, json_option, moment, note, table
from node.cli.person import Person, at_home
from node.cli.subject import subject
from node.client import backups, inventory, keyring_copies, vault_export
from node.client.keyring_copies import Copy
from node.client.unlocking import Unlock, WayKind
from node.client.vault import Vault
from node.client.vault_files import beside
from node.errors import Usage

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
_TOLD_EVERY: Final = 1000


@click.group(cls=Verbs)
def vault() -> None:
    """See what the vault holds; back it up, restore it, change what opens it, export it."""


vault.add_command(subject)


@vault.command()
@click.option("--verify", is_flag=True, help="Read every record too, and say if one is damaged.")
@at_home
@json_option
@click.pass_context
def status(context: click.Context, person: Person, *, verify: bool) -> None:
    """Show records by kind, ways to unlock, copies of the keyring, backups, and what is wrong."""
    with person.vault() as opened:
        found = inventory.take(opened)
        read = None
        if verify:
            show = Meter("read")
            read = inventory.verify(opened, _counting(show))
            show.end()
        paths = {"vault": str(opened.files.path), "keyring": str(opened.files.keyring)}
    warnings = found.warnings()
    value: dict[str, Any] = {
        **paths,
        "version": found.version,
        "records": {held.kind: {"count": held.count, "bytes": held.size} for held in found.held},
        "without_key": found.without_key,
        "without_record": found.without_record,
        "ways": [
            {"number": way.number, "kind": way.kind.words, "label": way.label, "used": way.is_ours}
            for way in found.ways
        ],
        "keyring_copies": [_copy(copy) for copy in found.copies if copy.is_keyring],
        "backups": [_copy(copy) for copy in found.copies if not copy.is_keyring],
        "last_backup": found.last_backup,
        "verified": read,
        "warnings": warnings,
    }
    emit(context, value, lambda: _human(paths, found, read))
    if not is_json(context):
        for warning in warnings:
            note(f"warning: {warning}")


def _human(paths: dict[str, str], found: inventory.Inventory, read: int | None) -> str:
    last = found.last_backup
    shown = {
        **paths,
        "version": found.version,
        "last backup": None if last is None else f"{moment(last)}, {inventory.age(last)} ago",
        "records read": read,
    }
    kinds = [(held.kind, held.count, held.size) for held in found.held]
    ways = [(way.number, way.kind.words, way.label, way.is_ours) for way in found.ways]
    copies = [
        (
            "keyring" if copy.is_keyring else "data",
            copy.folder,
            copy.state.value,
            f"{inventory.age(copy.made)} ago",
        )
        for copy in found.copies
    ]
    return "\n\n".join(
        [
            fields(shown),
            table(("records", "count", "bytes"), kinds),
            table(("way", "opens by", "label", "used now"), ways),
            table(("copy of", "in", "state", "made"), copies),
        ]
    )


def _counting(show: Meter) -> Callable[[int], None]:
    def tell(records: int) -> None:
        if records % _TOLD_EVERY == 0:
            show.say(f"read {records:,} records")

    return tell


def _copy(copy: Copy) -> dict[str, object]:
    return {"folder": str(copy.folder), "made": copy.made, "state": copy.state.value}


@vault.command()
@click.argument("folder", type=FOLDER)
@click.option(
    "--keyring",
    type=FOLDER,
    help="Where a copy of the keyring goes; without it, keyring_copy of client.toml.",
)
@at_home
@json_option
@click.pass_context
def backup(context: click.Context, person: Person, folder: Path, keyring: Path | None) -> None:
    """Copy the data, which opens to nobody by itself, to FOLDER; the vault may be in use.

    The keyring goes elsewhere, and is rewritten there at every erasure: what is erased does not
    come back, however old the backup of the data is.
    """
    place = keyring or person.home.keyring_copy
    with person.vault() as opened:
        made = backups.backup(
            opened, folder.absolute(), None if place is None else place.expanduser().absolute()
        )
    result = {
        "data": str(made.data),
        "keyring": None if made.keyring is None else str(made.keyring),
        "records": made.records,
        "bytes": made.size,
    }
    emit(context, result, lambda: fields(result))
    if made.keyring is None:
        note("no copy of the keyring was made: if this disk dies, nobody reads this backup")
        note("hint:  --keyring FOLDER, or keyring_copy in client.toml")


@vault.command()
@click.argument("folder", type=FOLDER, required=False)
@click.option("--keyring", type=FOLDER, help="Folder with a copy of the keyring, after a loss.")
@click.option("--replace", is_flag=True, help="What is there goes: data that is not in the backup.")
@at_home
@json_option
@click.pass_context
def restore(
    context: click.Context,
    person: Person,
    folder: Path | None,
    keyring: Path | None,
    *,
    replace: bool,
) -> None:
    """Put the backup in FOLDER in the vault's place, after reading all of it.

    The keyring that stands says what comes back: records that were erased since do not. After a
    dead disk name a copy of the keyring too.
    """
    if folder is None and keyring is None:
        raise Usage("name the folder of a backup, or --keyring, or both")
    home = person.home
    path, keys = home.vault, home.keyring or beside(home.vault)
    show = Meter("read")
    found = backups.restore(
        path,
        keys,
        opening.way_of(home),
        data=None if folder is None else folder / path.name,
        keys=None if keyring is None else keyring / keys.name,
        replaces=replace,
        progress=_counting(show),
    )
    show.end()
    result = asdict(found) | {"aside": [str(each) for each in found.aside]}
    emit(context, result, lambda: _restored(found))


def _restored(found: backups.Restored) -> str:
    told = [f"{found.records} records are in the vault, and each was read"]
    if found.without_key:
        told.append(
            f"{found.without_key} of the backup did not come back: their keys were destroyed by an"
            " erasure, or are newer than the copy of the keyring"
        )
    if found.only_here:
        told.append(f"{found.only_here} that were here are not in the backup, and are gone")
    told += [f"what was there is now {each}: look at it, then destroy it" for each in found.aside]
    return "\n".join(told)


@vault.command()
@click.option("--passphrase", is_flag=True, help="Add a new passphrase, asked for twice.")
@click.option("--key-file", type=FILE, help="Add the key in this file; a new file is made.")
@click.option(
    "--credential", type=FILE, help="The same, of a file that becomes a systemd credential."
)
@click.option("--token", is_flag=True, help="Add the key in the token that client.toml names.")
@click.option("--remove", type=int, multiple=True, help="Remove the way with this number.")
@click.option("--replace", is_flag=True, help="Remove the way that opens it now.")
@at_home
@json_option
@click.pass_context
def rekey(
    context: click.Context,
    person: Person,
    key_file: Path | None,
    credential: Path | None,
    remove: tuple[int, ...],
    *,
    passphrase: bool,
    token: bool,
    replace: bool,
) -> None:
    """Change what opens the vault: add ways, remove others. The vault's own key changes too.

    Several ways may stand side by side, a passphrase and a token say. A copy of an old keyring
    still opens by the old ones, to what was kept until now.
    """
    if not (passphrase or key_file or credential or token or remove or replace):
        raise Usage("say what to change", hint="depoli vault status lists the ways to unlock")
    with person.vault() as opened:
        added: dict[str, Unlock] = {}
        if passphrase:
            added["passphrase"] = opening.new_passphrase()
        if key_file is not None:
            added[key_file.name] = opening.key_in(key_file, WayKind.KEY_FILE)
        if credential is not None:
            added[credential.name] = opening.key_in(credential, WayKind.CREDENTIAL)
        if token:
            if person.home.token_key is None:
                raise Usage("client.toml names no token", hint="set pkcs11_module, _token and _key")
            named = person.home.token_key
            added[f"{named.token}/{named.key}"] = opening.token_of(named)
        gone = {*remove, *(way.number for way in opened.ways() if replace and way.is_ours)}
        ways, rotation = opened.rekey(added, gone)
    value = {
        "ways": [{"number": w.number, "kind": w.kind.words, "label": w.label} for w in ways],
        "rewrapped": rotation.rewrapped,
        "keyring_copies": [_copy(copy) for copy in rotation.copies if copy.is_keyring],
    }
    rows = [(way.number, way.kind.words, way.label) for way in ways]
    emit(context, value, lambda: table(("way", "opens by", "label"), rows))
    for warning in rotation.warnings():
        note(f"warning: {warning}")


@vault.command()
@click.argument("folder", type=FOLDER)
@at_home
@json_option
@click.pass_context
def forget(context: click.Context, person: Person, folder: Path) -> None:
    """Look no more after the copies in FOLDER: you destroyed them."""
    place = folder.absolute()
    with person.vault() as opened:
        if not any(copy.folder == place for copy in keyring_copies.known(opened.files)):
            raise Usage(f"no copy is known in {folder}", hint="depoli vault status lists them")
        keyring_copies.forget(opened.files, place)
    emit(context, {"forgotten": str(place)}, f"{place}: forgotten")


@vault.command()
@click.argument("file", type=FILE)
@click.option("--yes", is_flag=True, help="Do not ask whether you mean it.")
@at_home
@json_option
@click.pass_context
def export(context: click.Context, person: Person, file: Path, *, yes: bool) -> None:
    """Write everything that is in the vault to FILE as plain JSON, for moving to other software.

    Prescriptions, amounts, secrets: nothing protects them there, and no erasure reaches it.
    """
    with person.vault() as opened:
        if not yes:
            _confirm(opened, file)
        count = vault_export.write(opened, file)
    emit(context, {"file": str(file), "records": count}, f"{count} records are in {file}, in plain")


def _confirm(opened: Vault, file: Path) -> None:
    held = sum(each.count for each in inventory.take(opened).held)
    click.confirm(
        f"write {held} records to {file}, readable to whoever gets that file?", abort=True, err=True
    )
