"""The ways to unlock a vault: a passphrase, a key file, a systemd credential, a key in a token.

Each makes the key of its own place in the keyring, the *way's key*, which wraps the vault's key
there. What a place needs besides the secret (a cost, what a token encrypted) is its `detail`; it
is read from a file, and so bounded. None of these prints itself.
"""

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Protocol

from nacl.pwhash import argon2id

from node.client.aead import KEY_BYTES, keyed_hash

SALT_BYTES: Final = 16
_COST: Final = struct.Struct(">QQ")
_OPERATIONS: Final = range(argon2id.OPSLIMIT_MIN, 64 + 1)
_MEMORY: Final = range(argon2id.MEMLIMIT_MIN, (2 << 30) + 1)  # who changed a keyring takes no more


class WayKind(IntEnum):
    """What opens a vault; the number stands in the keyring."""

    PASSPHRASE = 1
    KEY_FILE = 2
    CREDENTIAL = 3
    TOKEN = 4

    @property
    def words(self) -> str:
        """Return it as a person calls it."""
        return ("passphrase", "key file", "credential", "token")[self - 1]


class BadWay(Exception):
    """A place of the keyring says something that no program of ours wrote there."""


class Unlock(Protocol):
    """A secret in somebody's hands, or something that uses one."""

    @property
    def kind(self) -> WayKind:
        """What it is."""

    def enrol(self) -> bytes:
        """Return the detail of a new place in a keyring."""

    def derive(self, salt: bytes, detail: bytes) -> bytes:
        """Return the way's key of a place; raise `BadWay`. Not ours shows when it opens nothing."""


@dataclass(frozen=True, slots=True)
class Passphrase:
    """A passphrase, by Argon2id (RFC 9106). It never prints itself."""

    text: str = field(repr=False)
    kind: WayKind = WayKind.PASSPHRASE

    def enrol(self) -> bytes:
        """Return libsodium's moderate cost, which stays that of the place."""
        return _COST.pack(argon2id.OPSLIMIT_MODERATE, argon2id.MEMLIMIT_MODERATE)

    def derive(self, salt: bytes, detail: bytes) -> bytes:
        """Return the way's key, at the cost that the place names; raise `BadWay`."""
        try:
            operations, memory = _COST.unpack(detail)
        except struct.error:
            raise BadWay from None
        if operations not in _OPERATIONS or memory not in _MEMORY:
            raise BadWay
        key: bytes = argon2id.kdf(KEY_BYTES, self.text.encode(), salt, operations, memory)
        return key


@dataclass(frozen=True, slots=True)
class Key:
    """32 secret bytes, from a key file or from a credential. They never print themselves."""

    secret: bytes = field(repr=False)
    kind: WayKind = WayKind.KEY_FILE

    def __post_init__(self) -> None:
        """Refuse what is no key: who reads key files has looked."""
        assert len(self.secret) == KEY_BYTES

    def enrol(self) -> bytes:
        """Return nothing: the key is all that is needed."""
        return b""

    def derive(self, salt: bytes, detail: bytes) -> bytes:
        """Return the way's key."""
        del detail
        return keyed_hash(b"", key=self.secret, salt=salt, person=b"vault way")
