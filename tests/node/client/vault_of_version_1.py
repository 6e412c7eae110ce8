"""A vault as version 1 wrote it: one file, records' keys wrapped by what unlocks it."""

import secrets
import sqlite3
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Final

from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt as seal

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
PRAGMA application_id = 0xDE90110;
PRAGMA user_version = 1;
"""
_IDENTITY: Final = bytes(range(16))
_SALT: Final = bytes(range(16, 32))


def write(path: Path, master: bytes, records: Iterable[tuple[int, bytes, str]]) -> None:
    """Write a vault whose master key this is, with records of kind, content and name."""
    wrap, index = (
        blake2b(
            b"", digest_size=32, key=master, salt=_SALT, person=person.ljust(16, b"\0")
        ).digest()
        for person in (b"vault wrap", b"vault index")
    )
    database = sqlite3.connect(path)
    database.executescript(_SCHEMA)
    opened = _encrypt(b"depoli/vault/1\0", wrap, _IDENTITY)
    database.execute("INSERT INTO vault VALUES (?, ?, ?)", (_IDENTITY, _SALT, opened))
    for number, (kind, content, name) in enumerate(records, 1):
        uid, key = secrets.token_bytes(16), secrets.token_bytes(32)
        bound = _IDENTITY + uid + bytes((kind,))
        row = (number, uid, kind, _encrypt(key, wrap, bound), _encrypt(content, key, bound))
        database.execute("INSERT INTO record VALUES (?, ?, ?, ?, ?)", row)
        named = blake2b(bytes((kind,)) + name.encode(), digest_size=32, key=index).digest()
        database.execute("INSERT INTO name VALUES (?, ?)", (named, number))
    database.commit()
    database.close()


def _encrypt(plain: bytes, key: bytes, bound: bytes) -> bytes:
    nonce = secrets.token_bytes(24)
    sealed: bytes = seal(plain, bound, nonce, key)
    return nonce + sealed
