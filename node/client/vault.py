"""The vault: one file in which each record is encrypted under a random key of its own.

A record's key is wrapped by the vault's key; to erase a record is to destroy its key. Names by
which records are found (a shop's references, claim ids) are kept as keyed hashes only. Encryption
is XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha) by libsodium, hashing BLAKE2b (RFC 7693). Vault,
record and kind are bound to a ciphertext, so that none can be put in the place of another; an old
copy of the *whole file* is not recognised.
"""

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import nacl.bindings as sodium
from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id

from node.client.errors import NotReadable, VaultDamaged, VaultLocked, WrongKey

SCHEMA_VERSION: Final = 1
APPLICATION_ID: Final = 0xDE90_11 << 4  # tells this file from other SQLite files
KEY_BYTES: Final = 32
BUSY_S: Final = 10  # how long another command's writing is waited for
_NONCE: Final = sodium.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
_UID_BYTES: Final = 16
_CHECK: Final = b"depoli/vault/1\x00"
_SCHEMA: Final = """
CREATE TABLE vault (id BLOB NOT NULL, salt BLOB NOT NULL, opened BLOB NOT NULL);
CREATE TABLE record (
  number INTEGER PRIMARY KEY,
  uid BLOB NOT NULL UNIQUE,
  kind INTEGER NOT NULL,
  key BLOB NOT NULL,
  content BLOB NOT NULL
);
CREATE INDEX record_kind ON record (kind, number);
CREATE TABLE name (
  hash BLOB PRIMARY KEY,
  record INTEGER NOT NULL REFERENCES record (number) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX name_record ON name (record);
"""


class Kind(IntEnum):
    """What a record is; the number stands in the file."""

    PRESCRIPTION = 1
    CLAIM = 2
    SETTLEMENT = 3
    TRANSACTION = 4
    RECEIVED = 5  # a disclosure that a shop handed over
    AUTHORISATION = 6
    QUESTION = 7  # asked of a prior agreement, with its answer


@dataclass(frozen=True, slots=True)
class Passphrase:
    """What opens a vault that has no key file. It never prints itself."""

    text: str

    def __repr__(self) -> str:
        """Return no secret."""
        return "Passphrase(…)"

    def derive(self, salt: bytes) -> bytes:
        """Return the key by Argon2id (RFC 9106), at libsodium's moderate cost."""
        cost: tuple[int, int] = (argon2id.OPSLIMIT_MODERATE, argon2id.MEMLIMIT_MODERATE)
        key: bytes = argon2id.kdf(KEY_BYTES, self.text.encode(), salt, *cost)
        return key


class Vault:
    """An open vault. Use it in a `with` statement; changes are written by `changes`."""

    def __init__(self, path: Path, unlock: bytes | Passphrase) -> None:
        """Open the vault at `path`, or make it. `unlock` is its key of 32 bytes or a passphrase.

        Raises `WrongKey`, `VaultLocked`, `NotReadable`.
        """
        self._path = path
        if not path.exists():
            _create_empty(path)
        self._database = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        try:
            self._open(unlock)
        except BaseException:
            self._database.close()
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
        """Close the file; nothing is left to write."""
        self._database.close()

    @contextlib.contextmanager
    def changes(self) -> Iterator[None]:
        """Write all that is changed inside, or nothing. Raises `VaultLocked`.

        What is inside may read what it decides by: nobody else writes meanwhile.
        """
        with self._waiting():
            self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def add(self, kind: Kind, content: bytes, names: Iterable[str] = ()) -> int:
        """Keep a new record under `names`, and return its number.

        A name that another record of the kind has is an error of the caller, who looked it up.
        """
        uid, key = secrets.token_bytes(_UID_BYTES), secrets.token_bytes(KEY_BYTES)
        bound = self._bound(uid, kind)
        row = (uid, kind, _encrypt(key, self._key, bound), _encrypt(content, key, bound))
        number = self._database.execute(
            "INSERT INTO record (uid, kind, key, content) VALUES (?, ?, ?, ?)", row
        ).lastrowid
        assert number is not None  # SQLite gives every new row a number
        self.name(number, kind, names)
        return number

    def name(self, number: int, kind: Kind, names: Iterable[str]) -> None:
        """Let the record be found under further names."""
        rows = [(self._hash(kind, name), number) for name in names]
        self._database.executemany("INSERT INTO name (hash, record) VALUES (?, ?)", rows)

    def unname(self, kind: Kind, name: str) -> None:
        """Let no record be found under this name; what has none is left as it is."""
        self._database.execute("DELETE FROM name WHERE hash = ?", (self._hash(kind, name),))

    def replace(self, number: int, content: bytes) -> None:
        """Put new content in a record, under the same key; raise `KeyError` if there is none."""
        row = self._row(number)
        if row is None:
            raise KeyError(number)
        uid, kind, wrapped, _ = row
        bound = self._bound(uid, kind)
        sealed = _encrypt(content, self._decrypt(wrapped, self._key, bound), bound)
        self._database.execute("UPDATE record SET content = ? WHERE number = ?", (sealed, number))

    def find(self, kind: Kind, name: str) -> tuple[int, bytes] | None:
        """Return number and content of the record of that name, None where there is none."""
        found = self._database.execute(
            "SELECT record FROM name WHERE hash = ?", (self._hash(kind, name),)
        ).fetchone()
        return None if found is None else (found[0], self.read(found[0]))

    def read(self, number: int) -> bytes:
        """Return the content of a record; raise `KeyError`, `VaultDamaged`."""
        row = self._row(number)
        if row is None:
            raise KeyError(number)
        uid, kind, wrapped, content = row
        bound = self._bound(uid, kind)
        return self._decrypt(content, self._decrypt(wrapped, self._key, bound), bound)

    def all(self, kind: Kind, *, after: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield number and content of every record of a kind above `after`, oldest first."""
        numbers = self._database.execute(
            "SELECT number FROM record WHERE kind = ? AND number > ? ORDER BY number", (kind, after)
        ).fetchall()
        for (number,) in numbers:
            yield number, self.read(number)

    def erase(self, number: int) -> None:
        """Destroy a record, its key and its names; SQLite overwrites the pages they were on."""
        self._database.execute("DELETE FROM record WHERE number = ?", (number,))

    def _open(self, unlock: bytes | Passphrase) -> None:
        with self._waiting():
            for pragma in ("foreign_keys = ON", "secure_delete = ON", "synchronous = FULL"):
                self._database.execute(f"PRAGMA {pragma}")
            if not self._database.execute("PRAGMA schema_version").fetchone()[0]:
                self._create(unlock)
            application = self._database.execute("PRAGMA application_id").fetchone()[0]
            version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if application != APPLICATION_ID:
            raise NotReadable(f"{self._path} is no vault")
        if version != SCHEMA_VERSION:
            raise NotReadable(
                f"{self._path} is a vault of version {version}, this program reads version "
                f"{SCHEMA_VERSION}",
                hint="use the version of depoli that wrote it, or a newer one",
            )
        row = self._database.execute("SELECT id, salt, opened FROM vault").fetchone()
        if row is None:
            raise VaultDamaged(f"{self._path} has lost its heading")
        identity, salt, opened = row
        self._id: bytes = identity
        self._key, self._index_key = _keys(unlock, salt)
        try:
            self._decrypt(opened, self._key, self._id)
        except VaultDamaged:
            what = "passphrase" if isinstance(unlock, Passphrase) else "key file"
            raise WrongKey(
                f"this {what} does not open {self._path}",
                hint=f"each vault has its own {what}; without it nobody can read the vault",
            ) from None

    def _create(self, unlock: bytes | Passphrase) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        if not self._database.execute("PRAGMA schema_version").fetchone()[0]:
            identity, salt = secrets.token_bytes(_UID_BYTES), secrets.token_bytes(_UID_BYTES)
            for statement in filter(str.strip, _SCHEMA.split(";")):
                self._database.execute(statement)
            opened = _encrypt(_CHECK, _keys(unlock, salt)[0], identity)
            self._database.execute("INSERT INTO vault VALUES (?, ?, ?)", (identity, salt, opened))
            self._database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._database.execute("COMMIT")

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise NotReadable(f"{self._path}: {error}") from None
            raise VaultLocked(
                f"another command is writing to {self._path}", hint="wait until it has finished"
            ) from None
        except sqlite3.DatabaseError:
            raise NotReadable(
                f"{self._path} is no vault, or is damaged", hint="put back its backup"
            ) from None

    def _row(self, number: int) -> tuple[bytes, int, bytes, bytes] | None:
        found: tuple[bytes, int, bytes, bytes] | None = self._database.execute(
            "SELECT uid, kind, key, content FROM record WHERE number = ?", (number,)
        ).fetchone()
        return found

    def _decrypt(self, sealed: bytes, key: bytes, bound: bytes) -> bytes:
        try:
            plain: bytes = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
                sealed[_NONCE:], bound, sealed[:_NONCE], key
            )
        except (CryptoError, ValueError, TypeError):
            raise VaultDamaged(
                f"a record of {self._path} was changed by something else than this program",
                hint="put back a backup of the vault",
            ) from None
        return plain

    def _bound(self, uid: bytes, kind: int) -> bytes:
        return self._id + uid + bytes((kind,))

    def _hash(self, kind: Kind, name: str) -> bytes:
        return _blake2b(bytes((kind,)) + name.encode(), key=self._index_key)


def _keys(unlock: bytes | Passphrase, salt: bytes) -> tuple[bytes, bytes]:
    """Return the key that wraps records' keys and the one that hashes names."""
    master = unlock.derive(salt) if isinstance(unlock, Passphrase) else unlock
    assert len(master) == KEY_BYTES  # who reads key files has looked
    wrap, index = (
        _blake2b(b"", key=master, salt=salt, person=person.ljust(16, b"\x00"))
        for person in (b"vault wrap", b"vault index")
    )
    return wrap, index


def _blake2b(data: bytes, *, key: bytes, salt: bytes = b"", person: bytes = b"") -> bytes:
    return blake2b(data, digest_size=KEY_BYTES, key=key, salt=salt, person=person).digest()


def _encrypt(plain: bytes, key: bytes, bound: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE)
    return nonce + sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(plain, bound, nonce, key)


def _create_empty(path: Path) -> None:
    """Make an empty file that only its owner reads, before SQLite opens it."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
