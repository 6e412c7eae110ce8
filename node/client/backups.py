"""Backups of a vault: the data without any key in one place, the keyring in another.

Whatever erases destroys keys, and rewrites the copies of the keyring: an old backup of the data
stays, and what was erased in it opens to nobody. A restored file is never put in the place of one
that is open: its rows are, in one commit over both files, after every record has been read.
"""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node.client import keyring as keyrings
from node.client import keyring_copies, vault_files
from node.client.aead import NotOpened, decrypt
from node.client.errors import ClientError, KeyringMissing, NotReadable, VaultDamaged, WrongKey
from node.client.files import create_private
from node.client.keyring import Keyring, NoWay
from node.client.keyring_copies import identity_in
from node.client.unlocking import Unlock
from node.client.vault import Vault
from node.client.vault_files import APPLICATION_ID, KEYRING_ID, SCHEMA_VERSION, VaultFiles

_KEYRING_TABLES: Final = ("heading", "way", "key", "name")


class InTheWay(ClientError):
    """Something is there that would be replaced, or lost; nothing was done."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup made."""

    data: Path
    keyring: Path | None
    records: int
    size: int  # bytes of the data


@dataclass(frozen=True, slots=True)
class Restored:
    """What came back, and what did not."""

    records: int
    without_key: int  # of the backup: erased since, or added after the keyring's copy
    only_here: int  # were in the vault that was replaced, and are not in the backup
    aside: list[Path]  # damaged files, kept beside under another name


def backup(vault: Vault, data: Path, keyring: Path | None) -> Backup:
    """Copy the data into a folder and the keyring into another, both of one moment.

    A backup of the same vault that is there already is replaced, whole. Raises `InTheWay`.
    """
    files = vault.files
    _require_apart(files, data, keyring)
    _require_there(files, data, keyring)
    for folder in (data, keyring):
        if folder is not None:
            _make_folder(folder)
    target = data / files.path.name
    _require_ours(target, APPLICATION_ID, vault.identity)
    if keyring is not None:
        _require_ours(keyring / files.keyring.name, KEYRING_ID, vault.identity)
        keyring_copies.begin(files, keyring)
    with keyring_copies.standing_still(files) as edition:
        (records,) = files.database.execute("SELECT count(*) FROM record").fetchone()
        keyring_copies.copy_into(files, "main", target)
        if keyring is not None:
            keyring_copies.copy_into(files, "keyring", keyring / files.keyring.name)
    keyring_copies.remember(files, data, edition, is_keyring=False)
    if keyring is not None:
        keyring_copies.remember(files, keyring, edition, is_keyring=True)
    made = None if keyring is None else keyring / files.keyring.name
    return Backup(target, made, records, target.stat().st_size)


def restore(
    path: Path,
    keyring: Path,
    unlock: Unlock,
    *,
    data: Path | None,
    keys: Path | None,
    replaces: bool,
    progress: Callable[[int], None] = lambda _: None,
) -> Restored:
    """Put a backup's data, or a copy of the keyring, or both in the place of what is at `path`.

    Everything is read before anything is replaced. Records whose keys are gone do not come back.
    Raises `InTheWay`, `NotReadable`, `KeyringMissing`, `WrongKey`, `VaultDamaged`.
    """
    here, here_keys = _stands(path, APPLICATION_ID), _stands(keyring, KEYRING_ID)
    if keys is None and here_keys is not True:
        raise KeyringMissing(path, keyring)
    if data is None and here is not True:
        raise NotReadable(f"{path} is gone or damaged", hint="name the folder of its backup, too")
    _require_backup(data, APPLICATION_ID)
    _require_backup(keys, KEYRING_ID)
    if keys is not None and here_keys and identity_in(keys) == identity_in(keyring):
        raise InTheWay(
            f"{keyring} stands and is good: a copy of it can only bring back what was erased",
            hint="leave out --keyring",
        )
    replaced = [
        each
        for each, stands, source in ((path, here, data), (keyring, here_keys, keys))
        if source is not None and stands is not None
    ]
    if replaced and not replaces:
        raise InTheWay(
            f"{replaced[0]} is there and would be replaced",
            hint="say --replace; first make a backup of it, if it is good",
        )
    aside = [path] if here is False else []
    if here_keys is not None and keys is not None:
        aside.append(keyring)
    with _moved_aside(aside) as moved:
        counts = _put(path, keyring, unlock, data, keys, progress)
    return Restored(*counts, moved)


def _put(
    path: Path,
    keyring: Path,
    unlock: Unlock,
    data: Path | None,
    keys: Path | None,
    progress: Callable[[int], None],
) -> tuple[int, int, int]:
    """Replace rows by those of the sources, in one commit; return the counts of `Restored`."""
    for each in (path, keyring):
        create_private(each)
    with contextlib.closing(
        sqlite3.connect(path, timeout=vault_files.BUSY_S, isolation_level=None)
    ) as database:
        files = VaultFiles.of(database, path, keyring)
        with files.guarded(), _attached(database, data, keys):
            database.execute("BEGIN IMMEDIATE")
            try:
                if keys is not None:
                    _take_keyring(database)
                counts = (0, 0, 0) if data is None else _take_data(files)
                _remember(database, data, keys)
                _agree(files)
                read = _read_all(files, unlock, progress)
                database.execute("COMMIT")
            except BaseException as error:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                if isinstance(error, sqlite3.IntegrityError):
                    raise _not_ours(data or keys) from None
                raise
    return read, counts[1], counts[2]


@contextlib.contextmanager
def _attached(database: sqlite3.Connection, data: Path | None, keys: Path | None) -> Iterator[None]:
    database.execute("PRAGMA trusted_schema = OFF")  # a backup's file may say anything
    for name, source in (("data_copy", data), ("key_copy", keys)):
        if source is not None:
            database.execute(f"ATTACH DATABASE ? AS {name}", (str(source),))
            (fault,) = database.execute(f"PRAGMA {name}.quick_check(1)").fetchone()
            if fault != "ok":
                raise NotReadable(f"{source} is damaged", hint="take another backup")
    yield


def _take_keyring(database: sqlite3.Connection) -> None:
    for statement in filter(str.strip, keyrings.SCHEMA.split(";")):
        database.execute(statement)
    for table in _KEYRING_TABLES:
        database.execute(f"INSERT INTO keyring.{table} SELECT * FROM key_copy.{table}")  # noqa: S608


def _take_data(files: VaultFiles) -> tuple[int, int, int]:
    """Put the backup's records that have a key in the place of ours."""
    one = files.database.execute
    (identity,) = one("SELECT id FROM data_copy.heading").fetchone()
    if identity != one("SELECT id FROM keyring.heading").fetchone()[0]:
        raise NotReadable(
            f"the backup is not of the vault that the keyring {files.keyring} is of",
            hint="take the backup and the keyring of one vault",
        )
    only_here = 0
    if one("PRAGMA main.schema_version").fetchone()[0]:
        (only_here,) = one(
            "SELECT count(*) FROM main.record WHERE uid NOT IN (SELECT uid FROM data_copy.record)"
            " AND uid IN (SELECT uid FROM keyring.key)"
        ).fetchone()
        one("DELETE FROM main.record")
    else:
        for statement in filter(str.strip, vault_files.SCHEMA.split(";")):
            one(statement)
        one("INSERT INTO main.heading VALUES (?, 0)", (identity,))
        one("INSERT INTO main.copy SELECT * FROM data_copy.copy")
    (offered,) = one("SELECT count(*) FROM data_copy.record").fetchone()
    taken = one(
        "INSERT INTO main.record SELECT number, uid, kind, content FROM data_copy.record"
        " WHERE uid IN (SELECT uid FROM keyring.key)"
    ).rowcount
    return taken, offered - taken, only_here


def _remember(database: sqlite3.Connection, data: Path | None, keys: Path | None) -> None:
    """Know of the copies that were used: a backup was made before it was written down in it."""
    for name, source in (("data_copy", data), ("key_copy", keys)):
        if source is not None:
            (edition,) = database.execute(f"SELECT edition FROM {name}.heading").fetchone()  # noqa: S608
            made = int(source.stat().st_mtime)
            row = (str(source.parent.absolute()), source is keys, made, edition)
            database.execute("INSERT OR REPLACE INTO main.copy VALUES (?, ?, ?, ?)", row)


def _agree(files: VaultFiles) -> None:
    """Let both files be of one edition, above any that either had."""
    one = files.database.execute
    (edition,) = one(
        "SELECT max(m.edition, k.edition) + 1 FROM main.heading m, keyring.heading k"
    ).fetchone()
    one("UPDATE main.heading SET edition = ?", (edition,))
    one("UPDATE keyring.heading SET edition = ?", (edition,))
    files.mark()


def _read_all(files: VaultFiles, unlock: Unlock, progress: Callable[[int], None]) -> int:
    """Read every record that will be there; return how many; raise `WrongKey`, `VaultDamaged`."""
    identity = files.identity()
    keyring = Keyring(files.database, identity)
    try:
        keyring.open(unlock)
    except NoWay as none:
        known = [kind.words for kind in none.known]
        raise WrongKey.of(files.path, unlock.kind.words, known) from None
    except NotOpened:
        raise _changed() from None
    done = 0
    rows = files.database.execute(
        "SELECT uid, kind, wrapped, content FROM main.record JOIN keyring.key USING (uid)"
    )
    for done, (uid, kind, wrapped, content) in enumerate(rows, 1):
        try:
            decrypt(content, keyring.unwrap(uid, wrapped), identity + uid + bytes((kind,)))
        except (NotOpened, TypeError, ValueError):
            raise _changed() from None
        progress(done)
    return done


def _changed() -> VaultDamaged:
    return VaultDamaged(
        "a record of the backup was changed by something else than this program",
        hint="nothing was replaced; take another backup",
    )


def _stands(path: Path, application: int) -> bool | None:
    """Return whether a file is what it should be; None where there is nothing in its place."""
    if not path.exists():
        return None
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=vault_files.BUSY_S)) as database:
            if not database.execute("PRAGMA schema_version").fetchone()[0]:
                return None
            version = database.execute("PRAGMA user_version").fetchone()[0]
            found = database.execute("PRAGMA application_id").fetchone()[0]
            fault = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError:
        return False
    return (found, version, fault) == (application, SCHEMA_VERSION, "ok")


def _require_backup(source: Path | None, application: int) -> None:
    if source is None:
        return
    if (stands := _stands(source, application)) is None:
        raise NotReadable(f"there is no {source}", hint="name the folder that a backup was made in")
    if not stands:
        raise _not_ours(source)


def _not_ours(source: Path | None) -> NotReadable:
    return NotReadable(
        f"{source} is no backup of this kind and version, or is damaged",
        hint="a whole vault of an older version is put in its place by hand, and then opened",
    )


def _require_apart(files: VaultFiles, data: Path, keyring: Path | None) -> None:
    """Refuse copies over the vault itself, and a keyring in one folder with data."""
    ours = {files.path.resolve().parent, files.keyring.resolve().parent}
    for folder in (data, keyring):
        if folder is not None and folder.resolve() in ours:
            raise InTheWay(
                f"{folder} is where the vault itself is", hint="a backup lies on another disk"
            )
    if keyring is None:
        return
    one, other = data.resolve(), keyring.resolve()
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise InTheWay(
            f"{other if one.is_relative_to(other) else one} would hold the data and its keys: what"
            " is erased would stay in that copy",
            hint="put the keyring where the data's backup does not go",
        )


def _require_there(files: VaultFiles, data: Path, keyring: Path | None) -> None:
    """Refuse to fill the empty mount point of a disk that holds copies and is not there."""
    for copy in keyring_copies.known(files):
        is_meant = copy.folder == (keyring if copy.is_keyring else data)
        name = files.keyring.name if copy.is_keyring else files.path.name
        if is_meant and copy.was_made and not (copy.folder / name).exists():
            raise InTheWay(
                f"the copy that was in {copy.folder} is not there: is its disk?",
                hint=f"plug it in; if it was destroyed: depoli vault forget {copy.folder}",
            )


def _require_ours(target: Path, application: int, identity: bytes) -> None:
    if target.exists() and not (_stands(target, application) and identity_in(target) == identity):
        raise InTheWay(
            f"{target} is there and is no copy of this vault", hint="choose another folder"
        )


@contextlib.contextmanager
def _moved_aside(paths: list[Path]) -> Iterator[list[Path]]:
    """Put files under another name beside; back again, if what is inside fails."""
    suffix = f".aside-{int(time.time())}"
    moved: list[tuple[Path, Path]] = []
    try:
        for path in paths:
            for each in (path, path.with_name(path.name + "-journal")):
                if each.exists():
                    moved.append((each, each.with_name(each.name + suffix)))
                    each.replace(moved[-1][1])
        yield [there for _, there in moved]
    except BaseException:
        for here, there in moved:
            there.replace(here)
        raise


def _make_folder(path: Path) -> None:
    for each in (*reversed(path.parents), path):
        each.mkdir(mode=0o700, exist_ok=True)
