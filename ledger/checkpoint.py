"""Checkpoints of the log as C2SP signed notes, which ordinary transparency-log tools can follow.

c2sp.org/signed-note and c2sp.org/tlog-checkpoint. The text of ours is four lines: the origin
`depoli/<chain id in hex>`, the size of the log, its root in base64, and the extension
`block <height> <header hash in hex>`. Every validator signs under the origin as key name.
"""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from ledger.block import Header
from ledger.encoding import U63_MAX
from ledger.errors import BadSignature, Malformed
from ledger.hashing import HASH_BYTES, Hash
from ledger.keys import (
    PUBLIC_KEY_BYTES,
    Algorithm,
    PublicKey,
    SigningKey,
    parse_public_key,
    verify,
)

MAX_NOTE_BYTES: Final = 64 << 10  # a hundred validators and as many witnesses, with room
MAX_SIGNATURES: Final = 256
KEY_ID_BYTES: Final = 4

_ED25519: Final = b"\x01"  # signature type of the note format
_DASH: Final = "— "
_CHAIN_PREFIX: Final = "depoli/"


@dataclass(frozen=True, slots=True)
class NoteKey:
    """An Ed25519 key that verifies notes, and the name it goes by."""

    name: str
    public: PublicKey

    @property
    def id(self) -> bytes:
        """The four bytes that stand before its signatures; not collision-resistant."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:KEY_ID_BYTES]

    def encode(self) -> str:
        """Return the verifier key as Go's note package and its kin write it."""
        return f"{self.name}+{self.id.hex()}+{b64encode(_ED25519 + self.public).decode()}"


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line, of whatever algorithm."""

    name: str
    key_id: bytes
    signature: bytes

    def encode(self) -> str:
        """Return the line."""
        return f"{_DASH}{self.name} {b64encode(self.key_id + self.signature).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text that ends with a newline, and who signed it."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def encode(self) -> bytes:
        """Return the note."""
        return "".join((self.text, "\n", *(line.encode() for line in self.signatures))).encode()

    def verify(self, key: NoteKey) -> None:
        """Raise `BadSignature` unless `key` signed this text; other keys' lines do not count."""
        found = [
            line.signature
            for line in self.signatures
            if line.name == key.name and line.key_id == key.id
        ]
        if not found:
            raise BadSignature(f"a note that {key.name} did not sign with this key")
        for signature in found:
            verify(key.public, self.text.encode(), signature, what=f"note by {key.name}")

    def verify_any(self, keys: Iterable[NoteKey]) -> None:
        """Raise `BadSignature` unless one of `keys` signed this text."""
        for key in keys:
            with suppress(BadSignature):
                self.verify(key)
                return
        raise BadSignature("a note that none of the known keys signed")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The log after a block."""

    chain_id: bytes
    size: int
    root: Hash
    height: int
    header_hash: Hash

    @classmethod
    def of(cls, header: Header) -> "Checkpoint":
        """Return the checkpoint of a block, which must be committed and durable."""
        return cls(
            header.chain_id, header.log_size, Hash(header.log_root), header.height, header.hash
        )

    def encode(self) -> str:
        """Return the text that is signed."""
        return (
            f"{origin(self.chain_id)}\n{self.size}\n{b64encode(self.root).decode()}\n"
            f"block {self.height} {self.header_hash.hex()}\n"
        )

    def sign(self, key: SigningKey) -> NoteSignature:
        """Return the signature line of a validator's checkpoint key."""
        return sign(self.encode(), origin(self.chain_id), key)


def origin(chain_id: bytes) -> str:
    """Return the name of the log, which is also the key name of those who sign it."""
    return _CHAIN_PREFIX + chain_id.hex()


def sign(text: str, name: str, key: SigningKey) -> NoteSignature:
    """Return the signature line of `key` under `name` over `text`, which ends with a newline."""
    assert text.endswith("\n")
    return NoteSignature(name, NoteKey(name, key.public).id, key.sign(text.encode()))


def parse_note(data: bytes) -> Note:
    """Return the note in `data`, no signature of it verified, or raise `Malformed`."""
    if len(data) > MAX_NOTE_BYTES:
        raise Malformed("note", f"{len(data)} bytes, at most {MAX_NOTE_BYTES}")
    try:
        whole = data.decode()
    except UnicodeDecodeError:
        raise Malformed("note", "not UTF-8") from None
    if any(character < " " and character != "\n" for character in whole):
        raise Malformed("note", "a control character")
    text, blank, lines = whole.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise Malformed("note", "no blank line with signatures and a final newline behind it")
    found = lines[:-1].split("\n")
    if len(found) > MAX_SIGNATURES:
        raise Malformed("note", f"{len(found)} signatures, at most {MAX_SIGNATURES}")
    return Note(text + "\n", tuple(_parse_line(line) for line in found))


def parse_checkpoint(text: str) -> Checkpoint:
    """Return the checkpoint whose text this is, or raise `Malformed`."""
    match text.split("\n"):
        case [name, size, root, extension, ""]:
            pass
        case _:
            raise Malformed("checkpoint", "not four lines")
    word, _, rest = extension.partition(" ")
    height, _, header_hash = rest.partition(" ")
    if not name.startswith(_CHAIN_PREFIX) or word != "block":
        raise Malformed("checkpoint", "not of a depoli chain")
    checkpoint = Checkpoint(
        _hash_in_hex(name.removeprefix(_CHAIN_PREFIX)),
        parse_number(size),
        Hash(parse_base64(root, "checkpoint")),
        parse_number(height),
        Hash(_hash_in_hex(header_hash)),
    )
    if len(checkpoint.root) != HASH_BYTES or checkpoint.encode() != text:
        raise Malformed("checkpoint", "not the canonical text")
    return checkpoint


def parse_verifier_key(text: str) -> NoteKey:
    """Return the key that `NoteKey.encode` wrote, or raise `Malformed` or `BadKey`."""
    name, _, rest = text.partition("+")
    id_, _, encoded = rest.partition("+")
    data = parse_base64(encoded, "verifier key")
    if data[:1] != _ED25519 or len(data) != 1 + PUBLIC_KEY_BYTES or not is_name(name):
        raise Malformed("verifier key", "not a name and an Ed25519 key")
    key = NoteKey(name, parse_public_key(Algorithm.ED25519, data[1:]))
    if key.id.hex() != id_:
        raise Malformed("verifier key", "its id is not that of its name and key")
    return key


def _parse_line(line: str) -> NoteSignature:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space or not is_name(name):
        raise Malformed("note", "a signature line without dash, name and signature")
    data = parse_base64(encoded, "note")
    if len(data) <= KEY_ID_BYTES:
        raise Malformed("note", "a signature line without a signature")
    return NoteSignature(name, data[:KEY_ID_BYTES], data[KEY_ID_BYTES:])


def is_name(name: str) -> bool:
    """Return whether a key may go by this name in notes."""
    return name != "" and "+" not in name and not any(character.isspace() for character in name)


def parse_base64(text: str, kind: str) -> bytes:
    """Return the bytes that a text is, in the one base64 of theirs, or raise `Malformed`."""
    try:
        data = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed(kind, "not base64") from None
    if b64encode(data).decode() != text:  # bits that decoding drops
        raise Malformed(kind, "not canonical base64")
    return data


def _hash_in_hex(text: str) -> bytes:
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if len(data) != HASH_BYTES:
        raise Malformed("checkpoint", "not a hash in hex")
    return data


def parse_number(text: str, kind: str = "checkpoint") -> int:
    """Return the number that a text is, written as it is in checkpoints, or raise `Malformed`."""
    digits = text.isascii() and text.isdigit() and len(text) <= len(str(U63_MAX))
    if not digits or int(text) > U63_MAX:
        raise Malformed(kind, "not a number within 63 bits")
    return int(text)
