"""The vault: a file in which each record is encrypted under a random key of its own.

A record's key, and the keyed hashes of the names by which it is found, stand in the keyring, a file
apart (`node.client.keyring`); to erase a record is to destroy its key there. Vault, record and kind
are bound to a ciphertext, so that none can be put in the place of another; an old copy of *both*
files is not recognised.
"""

import contextlib
import secrets
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from node.client import keyring_copies, migration
from node.client.aead import KEY_BYTES, NotOpened, decrypt, encrypt
from node.client.errors import Refused, VaultDamaged, WrongKey
from node.client.keyring import MAX_WAYS, Keyring, NoWay, Way
from node.client.unlocking import Key, Unlock
from node.client.vault_files import UID_BYTES, VaultFiles, beside


class Kind(IntEnum):
    """What a record is; the number stands in the file."""

    PRESCRIPTION = 1
    CLAIM = 2
    SETTLEMENT = 3
    TRANSACTION = 4
    RECEIVED = 5  # a disclosure that a shop handed over
    AUTHORISATION = 6
    QUESTION = 7  # asked of a prior agreement, with its answer
    DELIVERY = 8  # something sent to a member, and what became of it
    ACCESS = 9  # something that a member sent us, and what we acknowledged
    QUEUED = 10  # a claim that waits for its window
    ERASURE = 11  # that something was erased here, and who was asked to erase it too
    REVIEW = 12  # a disclosed claim of which something is still to be done by its payer
    ASKED = 16  # that somebody asked us to erase what it disclosed
    PROOF = 13  # of the day of a reimbursement: made by us, or handed to us
    CONTROL = 14  # what was attested of an early renewal, and what a control of it came to
    TALLY = 15  # what a payer's machine decided in a day


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation did."""

    rewrapped: int  # keys of records
    is_swept: bool  # nothing of old keys is left in the file; otherwise the next opening sees to it
    copies: list[keyring_copies.Copy]

    def warnings(self) -> list[str]:
        """Return which copies of the keyring could not be written anew, in sentences."""
        return [
            f"the copy of the keyring in {copy.folder} could not be rewritten, and still opens what"
            " was erased: bring it back and run depoli vault backup, or destroy it and run depoli"
            f" vault forget {copy.folder}"
            for copy in self.copies
            if copy.state is keyring_copies.State.STALE
        ]


class Vault:
    """An open vault. Use it in a `with` statement; changes are written by `changes`."""

    def __init__(self, path: Path, unlock: bytes | Unlock, keyring: Path | None = None) -> None:
        """Open the vault at `path`, or make it; its keyring is beside it where none is named.

        `unlock` is its key of 32 bytes or another way. A vault of version 1 becomes one of this.
        Raises `WrongKey`, `VaultLocked`, `KeyringMissing`, `NotReadable`, `VaultDamaged`.
        """
        way = Key(unlock) if isinstance(unlock, bytes) else unlock
        self.files = VaultFiles(path, keyring or beside(path))
        self._database = self.files.database
        self._changes_keys = False
        try:
            self._open(way)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return the vault."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the vault."""
        self.close()

    def close(self) -> None:
        """Close the files; nothing is left to write."""
        self.files.close()

    @contextlib.contextmanager
    def changes(self) -> Iterator[None]:
        """Write all that is changed inside, or nothing. Raises `VaultLocked`, `DiskFull`.

        What is inside may read what it decides by: nobody else writes meanwhile.
        """
        assert not self._database.in_transaction  # changes do not stand in each other
        with self.files.guarded():
            self._database.execute("BEGIN IMMEDIATE")
            self._changes_keys = False
            try:
                self._catch_up()
                yield
                if self._changes_keys:
                    self._database.execute("UPDATE main.heading SET edition = edition + 1")
                    self._database.execute("UPDATE keyring.heading SET edition = edition + 1")
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # a full disk may have ended it already
                    self._database.execute("ROLLBACK")
                self._keyring.rotated = -1  # a key that was made in vain is not used
                raise

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """Inside `changes`: undo what is changed inside where it raises, and nothing else."""
        self._database.execute("SAVEPOINT attempt")
        try:
            yield
        except BaseException:
            if self._database.in_transaction:  # a full disk undoes all of it
                self._database.execute("ROLLBACK TO attempt")
                self._database.execute("RELEASE attempt")
            raise
        self._database.execute("RELEASE attempt")

    def add(self, kind: Kind, content: bytes, names: Iterable[str] = ()) -> int:
        """Keep a new record under `names`, and return its number.

        A name that another record of the kind has is an error of the caller, who looked it up.
        """
        uid, key = secrets.token_bytes(UID_BYTES), secrets.token_bytes(KEY_BYTES)
        number = self._database.execute(
            "INSERT INTO record (uid, kind, content) VALUES (?, ?, ?)",
            (uid, kind, encrypt(content, key, self._bound(uid, kind))),
        ).lastrowid
        assert number is not None  # SQLite gives every new row a number
        self._keyring.wrap(uid, key)
        self._changes_keys = True
        self.name(number, kind, names)
        return number

    def name(self, number: int, kind: Kind, names: Iterable[str]) -> None:
        """Let the record be found under further names."""
        for name in names:
            hash_ = self._keyring.hash(kind, name)
            self._database.execute(  # of a record that did not come back with a backup
                "DELETE FROM keyring.name WHERE hash = ?"
                " AND NOT EXISTS (SELECT 1 FROM record WHERE record.uid = keyring.name.uid)",
                (hash_,),
            )
            self._database.execute(
                "INSERT INTO keyring.name SELECT ?, uid FROM record WHERE number = ?",
                (hash_, number),
            )
            self._changes_keys = True

    def unname(self, kind: Kind, name: str) -> None:
        """Let no record be found under this name; what has none is left as it is."""
        self._database.execute(
            "DELETE FROM keyring.name WHERE hash = ?", (self._keyring.hash(kind, name),)
        )
        self._changes_keys = True

    def replace(self, number: int, content: bytes) -> None:
        """Put new content in a record, under the same key; raise `KeyError` if there is none."""
        uid, kind, key, _ = self._record(number)
        sealed = encrypt(content, key, self._bound(uid, kind))
        self._database.execute("UPDATE record SET content = ? WHERE number = ?", (sealed, number))

    def renew(self, number: int, content: bytes) -> None:
        """Put new content in a record as `erase` and `add` would; it keeps number and names.

        In a backup of the data the old content is that of a record that was erased. Raises
        `KeyError` if there is none.
        """
        old, kind, _, _ = self._record(number)
        uid, key = secrets.token_bytes(UID_BYTES), secrets.token_bytes(KEY_BYTES)
        sealed = encrypt(content, key, self._bound(uid, kind))
        self._database.execute(
            "UPDATE record SET uid = ?, content = ? WHERE number = ?", (uid, sealed, number)
        )
        self._keyring.wrap(uid, key)
        self._database.execute("UPDATE keyring.name SET uid = ? WHERE uid = ?", (uid, old))
        self._database.execute("DELETE FROM keyring.key WHERE uid = ?", (old,))
        self._changes_keys = True

    def find(self, kind: Kind, name: str) -> tuple[int, bytes] | None:
        """Return number and content of the record of that name, None where there is none."""
        with self.files.guarded():
            found = self._database.execute(
                "SELECT number FROM keyring.name JOIN record USING (uid) WHERE hash = ?",
                (self._keyring.hash(kind, name),),
            ).fetchone()
        if found is None:
            return None
        try:
            return found[0], self.read(found[0])
        except KeyError:  # erased since it was found
            return None

    def read(self, number: int) -> bytes:
        """Return the content of a record; raise `KeyError`, `VaultDamaged`."""
        uid, kind, key, content = self._record(number)
        with self._undamaged():
            return decrypt(content, key, self._bound(uid, kind))

    def all(self, kind: Kind, *, after: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield number and content of every record of a kind above `after`, oldest first."""
        with self.files.guarded():
            numbers = self._database.execute(
                "SELECT number FROM record WHERE kind = ? AND number > ? ORDER BY number",
                (kind, after),
            ).fetchall()
        for (number,) in numbers:
            with contextlib.suppress(KeyError):  # erased since the list was made
                yield number, self.read(number)

    def erase(self, number: int) -> None:
        """Destroy a record, its key and its names; SQLite overwrites the pages they were on.

        `rotate` next: until then copies of the keyring hold the key, and so does its old journal.
        """
        self._database.execute(
            "DELETE FROM keyring.key WHERE uid = (SELECT uid FROM record WHERE number = ?)",
            (number,),
        )
        self._database.execute("DELETE FROM record WHERE number = ?", (number,))
        self._changes_keys = True

    def rotate(self, progress: Callable[[int], None] = lambda _: None) -> Rotation:
        """Give the vault a new key, under which only what is left now is wrapped.

        An old keyring does not open the new one, nor the new one an old backup's erased records.
        Copies of the keyring that can be reached are written anew. Raises as `changes`.
        """
        with self.changes():
            rewrapped = self._renew(progress)
        return Rotation(rewrapped, self._sweep(), keyring_copies.rewrite(self.files))

    @property
    def identity(self) -> bytes:
        """The random id of the vault, which stands in both files and in every copy."""
        return self._id

    def ways(self) -> list[Way]:
        """Return the ways to unlock it."""
        with self.files.guarded(), self._undamaged():
            return self._keyring.ways()

    def rekey(
        self, add: Mapping[str, Unlock], remove: Collection[int] = ()
    ) -> tuple[list[Way], Rotation]:
        """Add ways to unlock under their labels, and remove others; return those that are left.

        The vault's key changes too, so that who could open it by a way that is gone, and copied
        the keyring, reads nothing that is kept from now on. Raises `Refused`, and as `changes`.
        """
        with self.changes():
            known = {way.number for way in self.ways()}
            if unknown := sorted(set(remove) - known):
                raise Refused("way", f"there is none with the number {unknown[0]}")
            if not known - set(remove) and not add:
                raise Refused("way", "the last one stays, or nobody opens the vault any more")
            if len(known) - len(set(remove)) + len(add) > MAX_WAYS:
                raise Refused("way", f"there are at most {MAX_WAYS}")
            for label, unlock in add.items():
                self._keyring.enrol(unlock, label)
            for number in set(remove):
                self._keyring.remove(number)
            rewrapped = self._renew(lambda _: None)
            left = self.ways()
        return left, Rotation(rewrapped, self._sweep(), keyring_copies.rewrite(self.files))

    def _renew(self, progress: Callable[[int], None]) -> int:
        (edition,) = self._one("SELECT edition FROM keyring.heading")
        self._changes_keys = True
        with self._undamaged():
            return self._keyring.rotate(edition + 1, progress)

    def _open(self, unlock: Unlock) -> None:
        files = self.files
        files.attach(is_made=files.is_new or files.version == 1)
        if files.is_new:
            self._create(unlock)
        elif files.version == 1:
            with files.guarded():
                migration.from_version_1(files, unlock)
        self._id = files.identity()
        self._keyring = Keyring(self._database, self._id)
        with files.guarded(files.keyring), self._undamaged():
            try:
                self._keyring.open(unlock)
            except NoWay as none:
                known = [kind.words for kind in none.known]
                raise WrongKey.of(files.path, unlock.kind.words, known) from None
            (unswept,) = self._one("SELECT unswept FROM keyring.heading")
        if unswept and self._sweep():  # a rotation was stopped, before copies were written or while
            keyring_copies.rewrite(files)

    def _create(self, unlock: Unlock) -> None:
        with self.files.guarded():
            self._database.execute(
                "BEGIN IMMEDIATE"
            )  # what is raised here ends with the connection
            if not self._one("PRAGMA main.schema_version")[0]:
                self.files.require_no_keyring()
                identity = secrets.token_bytes(UID_BYTES)
                self.files.create(identity)
                Keyring(self._database, identity).create(unlock, unlock.kind.words)
            self._database.execute("COMMIT")

    def _sweep(self) -> bool:
        """Write the keyring's file anew, so that no page of it holds what was there; say if done.

        SQLite overwrites what is deleted, but for what it had moved to another page before.
        """
        try:
            (unswept,) = self._one("SELECT unswept FROM keyring.heading")
            if unswept > 1:
                self._database.execute("VACUUM main")
            self._database.execute("VACUUM keyring")
            self._database.execute("UPDATE keyring.heading SET unswept = 0")
        except sqlite3.OperationalError:  # somebody reads, or the disk is full: the next opening
            return False
        return True

    def _record(self, number: int) -> tuple[bytes, int, bytes, bytes]:
        """Return uid, kind, key and sealed content of a record; raise `KeyError`.

        One statement reads both files at one moment. A record whose key is gone was erased.
        """
        query = (
            "SELECT uid, kind, wrapped, content, rotated"
            " FROM record JOIN keyring.key USING (uid), keyring.heading WHERE number = ?"
        )
        while True:
            with self.files.guarded():
                row = self._database.execute(query, (number,)).fetchone()
            if row is None:
                raise KeyError(number)
            uid, kind, wrapped, content, rotated = row
            if rotated == self._keyring.rotated:
                break
            self._catch_up()
        with self._undamaged():
            return uid, kind, self._keyring.unwrap(uid, wrapped), content

    def _catch_up(self) -> None:
        """Take the key that another command gave the vault meanwhile, if it did."""
        (rotated,) = self._one("SELECT rotated FROM keyring.heading")
        if rotated == self._keyring.rotated:
            return
        try:
            with self._undamaged():
                self._keyring.refresh()
        except NoWay:
            raise WrongKey(
                f"{self.files.path} no longer opens by what opened it",
                hint="the way to unlock it was removed meanwhile: use one of the others",
            ) from None

    def _one(self, query: str) -> Any:  # noqa: ANN401 - a row of SQLite
        return self._database.execute(query).fetchone()

    @contextlib.contextmanager
    def _undamaged(self) -> Iterator[None]:
        try:
            yield
        except NotOpened:
            raise VaultDamaged(
                f"a record of {self.files.path} was changed by something else than this program",
                hint="put back a backup of the vault: depoli vault restore",
            ) from None

    def _bound(self, uid: bytes, kind: int) -> bytes:
        return self._id + uid + bytes((kind,))
