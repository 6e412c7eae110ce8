"""The keyring: each record's key wrapped by the vault's key, and that by each way to unlock.

A file of its own beside the data, attached to the same SQLite connection, so that one commit spans
both. What is here is what erasing destroys: keys, and the keyed hashes by which records are found.
`rotate` gives the vault a new key and wraps what survives anew; a way's own key stands in it too,
under the vault's, so that all ways stay without their secrets at hand. Keys never leave the object.
"""

import secrets
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

from node.client.aead import KEY_BYTES, NotOpened, decrypt, encrypt, keyed_hash
from node.client.unlocking import SALT_BYTES, BadWay, Unlock, WayKind

SCHEMA: Final = """
CREATE TABLE keyring.heading (
  id BLOB NOT NULL,
  edition INTEGER NOT NULL,
  rotated INTEGER NOT NULL,
  unswept INTEGER NOT NULL,
  names BLOB NOT NULL
);
CREATE TABLE keyring.way (
  number INTEGER PRIMARY KEY,
  kind INTEGER NOT NULL,
  label TEXT NOT NULL,
  salt BLOB NOT NULL,
  detail BLOB NOT NULL,
  vault_key BLOB NOT NULL,
  own_key BLOB NOT NULL
);
CREATE TABLE keyring.key (uid BLOB PRIMARY KEY, wrapped BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE keyring.name (
  hash BLOB PRIMARY KEY,
  uid BLOB NOT NULL REFERENCES key (uid) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX keyring.name_uid ON name (uid);
"""
MAX_WAYS: Final = 8  # each passphrase that is tried costs half a second
_KEYS: Final = frozenset({WayKind.KEY_FILE, WayKind.CREDENTIAL})  # 32 bytes, wherever they lie


class _Row(NamedTuple):
    """A way, and the heading that was read with it: nobody rotates in between."""

    number: int
    kind: int
    label: str
    salt: bytes
    detail: bytes
    vault_key: bytes
    own_key: bytes
    names: bytes
    rotated: int

    @classmethod
    def of(cls, row: tuple[Any, ...]) -> Self:
        """Return a row of the file, or raise `NotOpened` of one that no program of ours wrote."""
        types = (int, int, str, bytes, bytes, bytes, bytes, bytes, int)
        if not all(map(isinstance, row, types)):
            raise NotOpened
        made = cls(*row)
        if made.kind not in {*WayKind} or len(made.salt) != SALT_BYTES:
            raise NotOpened
        return made


class NoWay(Exception):
    """Nothing in the keyring opens by this; `known` are the kinds that would."""

    def __init__(self, known: list[WayKind]) -> None:
        super().__init__()
        self.known = known


@dataclass(frozen=True, slots=True)
class Way:
    """A place in the keyring, as people see it."""

    number: int
    kind: WayKind
    label: str
    is_ours: bool  # the one by which the vault was opened


class Keyring:
    """The keys of an open vault. Whoever writes by it has begun a transaction."""

    def __init__(self, database: sqlite3.Connection, identity: bytes) -> None:
        """Take the keyring that is attached, of the vault `identity`; `open` or `create` next."""
        self._database = database
        self._id = identity
        self._key = b""
        self._own = b""
        self._place = 0
        self._names = b""
        self.rotated = 0  # the edition in which the vault's key was made that we hold

    def create(self, unlock: Unlock, label: str, names: bytes | None = None) -> None:
        """Write a new keyring with one way; `names` is the key of names where there is one."""
        self._key, self._names = (
            secrets.token_bytes(KEY_BYTES),
            names or secrets.token_bytes(KEY_BYTES),
        )
        for statement in filter(str.strip, SCHEMA.split(";")):
            self._database.execute(statement)
        self._database.execute(
            "INSERT INTO keyring.heading VALUES (?, 0, 0, 0, ?)", (self._id, self._wrapped_names())
        )
        self._place = self.enrol(unlock, label)

    def open(self, unlock: Unlock) -> None:
        """Find the way that `unlock` opens; raise `NoWay`, or `NotOpened` of a damaged keyring."""
        rows = self._rows()
        fitting = _KEYS if unlock.kind in _KEYS else {unlock.kind}
        for row in rows:
            if row.kind not in fitting:
                continue
            try:
                own = unlock.derive(row.salt, row.detail)
                self._enter(row, own)
            except (NotOpened, BadWay):
                continue
            self._place, self._own = row.number, own
            return
        raise NoWay([WayKind(row.kind) for row in rows])

    def refresh(self) -> None:
        """Take the key that another process made meanwhile; raise `NoWay`, `NotOpened`."""
        for row in self._rows():
            if row.number == self._place:
                try:
                    self._enter(row, self._own)
                except NotOpened:  # another way took the number
                    break
                return
        raise NoWay([])

    def wrap(self, uid: bytes, key: bytes) -> None:
        """Keep the key of a record."""
        row = (uid, encrypt(key, self._key, self._bound(b"key", uid)))
        self._database.execute("INSERT INTO keyring.key VALUES (?, ?)", row)

    def unwrap(self, uid: bytes, wrapped: bytes) -> bytes:
        """Return the key of a record, or raise `NotOpened`."""
        return decrypt(wrapped, self._key, self._bound(b"key", uid))

    def hash(self, kind: int, name: str) -> bytes:
        """Return what stands for a name; the key of names outlives rotations."""
        return keyed_hash(bytes((kind,)) + name.encode(), key=self._names)

    def rotate(self, edition: int, progress: Callable[[int], None]) -> int:
        """Make a new key, wrap everything by it, and return how many records' keys that were."""
        old, self._key = self._key, secrets.token_bytes(KEY_BYTES)
        keys = self._database.execute("SELECT uid, wrapped FROM keyring.key").fetchall()
        for done, (uid, wrapped) in enumerate(keys):
            bound = self._bound(b"key", uid)
            again = encrypt(decrypt(wrapped, old, bound), self._key, bound)
            self._database.execute("UPDATE keyring.key SET wrapped = ? WHERE uid = ?", (again, uid))
            progress(done + 1)
        for row in self._rows():
            own = decrypt(row.own_key, old, self._bound_way(row))
            self._database.execute(
                "UPDATE keyring.way SET vault_key = ?, own_key = ? WHERE number = ?",
                (*self._wrapped_way(row, own), row.number),
            )
        self._database.execute(
            "UPDATE keyring.heading SET names = ?, rotated = ?, unswept = max(unswept, 1)",
            (self._wrapped_names(), edition),
        )
        self.rotated = edition
        return len(keys)

    def ways(self) -> list[Way]:
        """Return the ways to unlock, as they were enrolled; raise `NotOpened` of damaged ones."""
        return [
            Way(row.number, WayKind(row.kind), row.label, row.number == self._place)
            for row in self._rows()
        ]

    def enrol(self, unlock: Unlock, label: str) -> int:
        """Add a way to unlock, and return its number."""
        salt, detail = secrets.token_bytes(SALT_BYTES), unlock.enrol()
        own = unlock.derive(salt, detail)
        last = self._database.execute("SELECT max(number) FROM keyring.way").fetchone()[0]
        number: int = (last or 0) + 1
        row = _Row(number, int(unlock.kind), label, salt, detail, b"", b"", b"", 0)
        self._database.execute(
            "INSERT INTO keyring.way VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*row[:5], *self._wrapped_way(row, own)),
        )
        if number == 1:
            self._own = own
        return number

    def remove(self, number: int) -> None:
        """Let a way open nothing any more; whoever asks has left one."""
        self._database.execute("DELETE FROM keyring.way WHERE number = ?", (number,))

    def _enter(self, row: _Row, own: bytes) -> None:
        key = decrypt(row.vault_key, own, self._bound_way(row))
        self._names = decrypt(row.names, key, self._bound(b"names", b""))
        self._key, self.rotated = key, row.rotated

    def _rows(self) -> list[_Row]:
        rows = self._database.execute(
            "SELECT number, kind, label, salt, detail, vault_key, own_key, names, rotated"
            " FROM keyring.way, keyring.heading ORDER BY number LIMIT ?",
            (MAX_WAYS,),
        )
        return [_Row.of(row) for row in rows]

    def _wrapped_names(self) -> bytes:
        return encrypt(self._names, self._key, self._bound(b"names", b""))

    def _wrapped_way(self, row: _Row, own: bytes) -> tuple[bytes, bytes]:
        bound = self._bound_way(row)
        return encrypt(self._key, own, bound), encrypt(own, self._key, bound)

    def _bound_way(self, row: _Row) -> bytes:
        place = b"%d/%d/" % (row.number, row.kind)
        return self._bound(b"way", place + row.salt + row.detail)

    def _bound(self, what: bytes, which: bytes) -> bytes:
        return self._id + b"/" + what + b"/" + which
