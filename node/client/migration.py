"""A vault of version 1, in which all stood in one file, becomes one of version 2.

In version 1 the way to unlock was the key that wrapped, and each record's key stood beside its
content. Contents stay as they are: only keys move, into a keyring, wrapped anew by a random key.
SQLite commits both files as one: whoever is stopped leaves the old vault or the new one. Copies of
an old file hold its keys, and open for ever to who has its key file or passphrase: destroy them.
"""

from nacl.pwhash import argon2id

from node.client.aead import KEY_BYTES, NotOpened, decrypt, keyed_hash
from node.client.errors import VaultDamaged, WrongKey
from node.client.keyring import Keyring
from node.client.unlocking import Key, Passphrase, Unlock
from node.client.vault_files import VaultFiles


def from_version_1(files: VaultFiles, unlock: Unlock) -> None:
    """Do it, under the same way to unlock; raise `WrongKey`, `VaultDamaged`, `NotReadable`."""
    database = files.database
    heading = _heading(files)
    if heading is None:
        return
    master = _master(files, unlock, *heading)  # slow for a passphrase; nobody is kept waiting
    database.execute("BEGIN IMMEDIATE")
    try:
        if database.execute("PRAGMA main.user_version").fetchone()[0] == 1:
            _move(files, unlock, *master)
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def _heading(files: VaultFiles) -> tuple[bytes, bytes, bytes] | None:
    """Return the heading of version 1; None where another command has moved it meanwhile."""
    files.database.execute("BEGIN")
    try:
        if files.database.execute("PRAGMA main.user_version").fetchone()[0] != 1:
            return None
        found: tuple[bytes, bytes, bytes] | None = files.database.execute(
            "SELECT id, salt, opened FROM vault"
        ).fetchone()
    finally:
        files.database.execute("COMMIT")
    if found is None:
        raise VaultDamaged(f"{files.path} has lost its heading")
    return found


def _master(
    files: VaultFiles, unlock: Unlock, identity: bytes, salt: bytes, opened: bytes
) -> tuple[bytes, bytes]:
    """Return the key that wraps records' keys and the one that hashes names, of version 1."""
    if isinstance(unlock, Passphrase):
        cost = argon2id.OPSLIMIT_MODERATE, argon2id.MEMLIMIT_MODERATE
        master = argon2id.kdf(KEY_BYTES, unlock.text.encode(), salt, *cost)
    elif isinstance(unlock, Key):
        master = unlock.secret
    else:
        raise WrongKey.of(files.path, unlock.kind.words, [])
    wrap = keyed_hash(b"", key=master, salt=salt, person=b"vault wrap")
    try:
        decrypt(opened, wrap, identity)
    except NotOpened:
        raise WrongKey.of(files.path, unlock.kind.words, []) from None
    return wrap, keyed_hash(b"", key=master, salt=salt, person=b"vault index")


def _move(files: VaultFiles, unlock: Unlock, wrap: bytes, names: bytes) -> None:
    files.require_no_keyring()
    database = files.database
    (identity,) = database.execute("SELECT id FROM vault").fetchone()
    for statement in (
        "DROP INDEX record_kind",
        "DROP INDEX name_record",
        "ALTER TABLE record RENAME TO old_record",
        "ALTER TABLE name RENAME TO old_name",
    ):
        database.execute(statement)
    files.create(identity)
    keyring = Keyring(database, identity)
    keyring.create(unlock, unlock.kind.words, names)
    for uid, kind, key in database.execute("SELECT uid, kind, key FROM old_record").fetchall():
        try:
            keyring.wrap(uid, decrypt(key, wrap, identity + uid + bytes((kind,))))
        except NotOpened:
            raise VaultDamaged(
                f"a record of {files.path} was changed by something else than this program",
                hint="put back a backup of the vault, made by the version that wrote it",
            ) from None
    for statement in (
        "INSERT INTO record SELECT number, uid, kind, content FROM old_record",
        "INSERT INTO keyring.name SELECT hash, uid FROM old_name, old_record WHERE record = number",
        "DROP TABLE old_name",
        "DROP TABLE old_record",
        "DROP TABLE vault",
        "UPDATE keyring.heading SET unswept = 2",
    ):
        database.execute(statement)
