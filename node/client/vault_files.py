"""The two files of a vault in one SQLite connection: how they are made, told apart and locked.

The data file is `main`, the keyring is attached as `keyring`. Both keep rollback journals, never a
write-ahead log: SQLite commits several files as one only so (a super-journal names both journals,
and its removal is the commit). `edition` counts the commits that changed keys and stands in both
files, so that one that was put back alone is noticed.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

from node.client.errors import (
    DiskFull,
    KeyringMissing,
    NotReadable,
    VaultDamaged,
    VaultLocked,
)
from node.client.files import create_private

SCHEMA_VERSION: Final = 2
APPLICATION_ID: Final = 0xDE90_11 << 4  # tells the data file from other SQLite files
KEYRING_ID: Final = APPLICATION_ID + 1
BUSY_S: Final = 10  # how long another command's writing is waited for
UID_BYTES: Final = 16
SCHEMA: Final = """
CREATE TABLE heading (id BLOB NOT NULL, edition INTEGER NOT NULL);
CREATE TABLE record (
  number INTEGER PRIMARY KEY,
  uid BLOB NOT NULL UNIQUE,
  kind INTEGER NOT NULL,
  content BLOB NOT NULL
);
CREATE INDEX record_kind ON record (kind, number);
CREATE TABLE copy (
  path TEXT NOT NULL,
  is_keyring INTEGER NOT NULL,
  made INTEGER NOT NULL,
  edition INTEGER NOT NULL,
  PRIMARY KEY (path, is_keyring)
);
"""
_RESTORE: Final = "depoli vault restore puts a backup in its place"


def beside(path: Path) -> Path:
    """Return where the keyring of a data file is, unless it was put elsewhere."""
    return path.with_suffix(".keys")


class VaultFiles:
    """The open connection, and what its errors mean."""

    def __init__(self, path: Path, keyring: Path) -> None:
        """Open the data file, or make an empty one; raise `VaultLocked`, `NotReadable`."""
        self.path, self.keyring = path, keyring
        if not path.exists() and keyring.exists() and not path.exists():
            raise self._alone()
        create_private(path)
        self.database = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        try:
            with self.guarded():
                self.database.execute("PRAGMA temp_store = MEMORY")
                self.set_up("main")
                self.is_new = not self._pragma("main.schema_version")
                application = self._pragma("main.application_id")
                self.version: int = self._pragma("main.user_version")
            if not self.is_new:
                self._require(path, application, APPLICATION_ID)
        except BaseException:
            self.database.close()
            raise

    @classmethod
    def of(cls, database: sqlite3.Connection, path: Path, keyring: Path) -> Self:
        """Return files over a connection to the data, as they are; the keyring is attached."""
        files = cls.__new__(cls)
        files.database, files.path, files.keyring = database, path, keyring
        files.is_new, files.version = False, SCHEMA_VERSION
        with files.guarded():
            database.execute("PRAGMA temp_store = MEMORY")
            files.set_up("main")
            files.attach(is_made=True)
        return files

    def _require(self, path: Path, application: int, expected: int) -> None:
        if application != expected:
            what = "keyring" if expected == KEYRING_ID else "vault"
            raise NotReadable(f"{path} is no {what}", hint=_RESTORE)
        version = self._pragma(f"{'keyring' if expected == KEYRING_ID else 'main'}.user_version")
        if version > SCHEMA_VERSION:
            raise NotReadable(
                f"{path} is a vault of version {version}, this program reads version "
                f"{SCHEMA_VERSION}",
                hint="use the version of depoli that wrote it, or a newer one",
            )

    def require_no_keyring(self) -> None:
        """Refuse to make a vault where the keyring of one is; raise `NotReadable`."""
        if not self._pragma("keyring.schema_version"):
            return
        if self.version == 1:
            raise NotReadable(
                f"{self.path} is a vault of version 1, and the keyring {self.keyring} is of"
                " another",
                hint="put that elsewhere, and open the vault again: it makes a keyring of its own",
            )
        raise self._alone()

    def _alone(self) -> NotReadable:
        return NotReadable(
            f"{self.path} is gone, and its keyring {self.keyring} is here",
            hint=f"no new vault is made in its place; {_RESTORE}",
        )

    def attach(self, *, is_made: bool) -> None:
        """Attach the keyring; `is_made` says that it is about to be made, if it is not there."""
        if is_made:
            create_private(self.keyring)
        elif not self.keyring.exists():
            raise KeyringMissing(self.path, self.keyring)
        with self.guarded(self.keyring):
            self.database.execute("ATTACH DATABASE ? AS keyring", (str(self.keyring),))
            self.set_up("keyring")
            self._pragma("keyring.schema_version")

    def set_up(self, name: str) -> None:
        """Let `main` or `keyring` be durable, and leave nothing of what is deleted."""
        # EXTRA makes the removal of a journal durable, and so a commit: DELETE alone does not.
        for pragma in ("journal_mode = DELETE", "secure_delete = ON", "synchronous = EXTRA"):
            self.database.execute(f"PRAGMA {name}.{pragma}").fetchall()
        self.database.execute("PRAGMA foreign_keys = ON")

    def create(self, identity: bytes) -> None:
        """Write the headings of a data file, within a transaction; the keyring's rows come next."""
        for statement in filter(str.strip, SCHEMA.split(";")):
            self.database.execute(statement)
        self.database.execute("INSERT INTO heading VALUES (?, 0)", (identity,))
        self.mark()

    def mark(self) -> None:
        """Write into both files what they are, within a transaction."""
        for name, application in (("main", APPLICATION_ID), ("keyring", KEYRING_ID)):
            self.database.execute(f"PRAGMA {name}.application_id = {application}")
            self.database.execute(f"PRAGMA {name}.user_version = {SCHEMA_VERSION}")

    def identity(self) -> bytes:
        """Return the id of the vault, when both files are of it and of one time; raise otherwise.

        `NotReadable`, `VaultDamaged`.
        """
        with self.guarded(self.keyring):
            if not self._pragma("keyring.schema_version"):
                raise KeyringMissing(self.path, self.keyring)
            self._require(self.keyring, self._pragma("keyring.application_id"), KEYRING_ID)
            found = self.database.execute(
                "SELECT m.id, k.id, m.edition, k.edition, k.rotated, k.unswept"
                " FROM heading m, keyring.heading k"
            ).fetchone()
        if found is None or not all(isinstance(number, int) for number in found[2:]):
            raise VaultDamaged(f"{self.path} has lost its heading", hint=_RESTORE)
        ours, theirs, data_edition, key_edition = found[:4]
        if ours != theirs:
            raise NotReadable(
                f"{self.keyring} is the keyring of another vault than {self.path}",
                hint="put the right one back; the keyring that depoli vault backup copied is one",
            )
        if data_edition != key_edition:
            older = self.path if data_edition < key_edition else self.keyring
            raise NotReadable(
                f"{older} is older than its other half: it was put back alone",
                hint=_RESTORE + ", and says what that loses",
            )
        identity: bytes = ours
        return identity

    @contextlib.contextmanager
    def guarded(self, path: Path | None = None) -> Iterator[None]:
        """Say of SQLite's errors what they mean to a person; `path` is the file that is read."""
        where = path or self.path
        try:
            yield
        except sqlite3.IntegrityError:  # two records under one name: a fault of the caller
            raise
        except sqlite3.OperationalError as error:
            said = str(error)
            if "locked" in said:
                raise VaultLocked(
                    f"another command is writing to {where}", hint="wait until it has finished"
                ) from None
            if "full" in said:
                raise DiskFull(where) from None
            raise NotReadable(f"{where}: {error}") from None
        except sqlite3.DatabaseError:
            what = "keyring" if path == self.keyring else "vault"
            raise NotReadable(
                f"{where} is no {what}, or is damaged", hint=f"put back its backup: {_RESTORE}"
            ) from None

    def close(self) -> None:
        """Close both files; nothing is left to write."""
        self.database.close()

    def _pragma(self, name: str) -> int:
        value: int = self.database.execute(f"PRAGMA {name}").fetchone()[0]
        return value
