"""Cosignatures of witnesses (c2sp.org/tlog-cosignature, v1): who saw a checkpoint, and when.

By it a witness says that at that time this was the largest tree that it had seen of the log, and
that it continues every smaller one that it cosigned.
"""

from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from ledger.checkpoint import KEY_ID_BYTES, Note, NoteSignature, is_name, parse_base64
from ledger.encoding import U63_MAX
from ledger.errors import BadSignature, Malformed
from ledger.keys import Algorithm, PublicKey, SigningKey, parse_public_key, verify

_TYPE: Final = b"\x04"  # of Ed25519 cosignatures in the note format
_TIME_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Cosigner:
    """A witness: its name, such as `witness.example/w1`, and its Ed25519 key."""

    name: str
    public: PublicKey

    @property
    def id(self) -> bytes:
        """The four bytes that stand before its cosignatures; not collision-resistant."""
        return sha256(self.name.encode() + b"\n" + _TYPE + self.public).digest()[:KEY_ID_BYTES]

    def encode(self) -> str:
        """Return the verifier key as tools that follow logs take it."""
        return f"{self.name}+{self.id.hex()}+{b64encode(_TYPE + self.public).decode()}"

    def verify(self, note: Note) -> int:
        """Return when this witness cosigned the note, unix seconds; raise `BadSignature`."""
        times = [
            self._verify(note.text, line.signature)
            for line in note.signatures
            if line.name == self.name and line.key_id == self.id
        ]
        if not times:
            raise BadSignature(f"a note that {self.name} did not cosign with this key")
        return max(times)

    def _verify(self, text: str, signature: bytes) -> int:
        time = int.from_bytes(signature[:_TIME_BYTES])
        if not 0 < time <= U63_MAX:  # 0 makes no statement of when
            raise BadSignature(f"cosignature by {self.name}")
        what = f"cosignature by {self.name}"
        verify(self.public, _message(text, time), signature[_TIME_BYTES:], what=what)
        return time


def parse_cosigner(text: str) -> Cosigner:
    """Return the witness whose verifier key `Cosigner.encode` wrote, or raise `LedgerError`."""
    name, _, rest = text.partition("+")
    data = parse_base64(rest.partition("+")[2], "verifier key")
    if data[:1] != _TYPE or not is_name(name):
        raise Malformed("verifier key", "not a name and a key of Ed25519 cosignatures")
    cosigner = Cosigner(name, parse_public_key(Algorithm.ED25519, data[1:]))
    if cosigner.encode() != text:
        raise Malformed("verifier key", "its id is not that of its name and key")
    return cosigner


def cosign(text: str, name: str, key: SigningKey, *, time: int) -> NoteSignature:
    """Return the line by which a witness cosigns the text of a checkpoint at `time`.

    What it says must be durable where it is said from: sign after that.
    """
    assert text.endswith("\n")
    assert 0 < time <= U63_MAX
    signature = time.to_bytes(_TIME_BYTES) + key.sign(_message(text, time))
    return NoteSignature(name, Cosigner(name, key.public).id, signature)


def _message(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()
