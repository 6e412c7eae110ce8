"""Showing an SD-JWT to one recipient, for one purpose, until a moment (RFC 9901, 4.3).

A second JWT, signed by who shows it, names to whom and for what, and the hash of exactly what is
shown. Whoever is shown it can show it to nobody else.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from contracts.errors import BadDocument
from contracts.sd_jwt import (
    ALGORITHMS,
    MAX_BYTES,
    SdJwt,
    encode_base64url,
    encode_part,
    parse_part,
    verify_jws,
)
from ledger.encoding import U63_MAX
from ledger.keys import Signer, algorithm_of

_TYPE: Final = "kb+jwt"
_HEADER: Final = ("alg", "typ")
_PAYLOAD: Final = ("aud", "exp", "iat", "nonce", "sd_hash")


@dataclass(frozen=True, slots=True)
class Binding:
    """To whom something is shown, and for what; times in unix seconds."""

    audience: str
    nonce: str  # what it is shown for: it serves for nothing else
    issued: int
    expires: int


@dataclass(frozen=True, slots=True)
class Presentation:
    """A document that is shown, and by whose signature; that is not yet verified."""

    shown: str  # the SD-JWT, as `documents.parse` takes it
    binding: Binding
    algorithm: str
    _signed: str
    _signature: str

    def verify(self, public: bytes) -> None:
        """Raise `BadDocument` unless this key signed that it is shown so."""
        if self.algorithm != ALGORITHMS[algorithm_of(public)]:
            raise BadDocument("its showing is not signed by the algorithm that it names")
        verify_jws(self._signed, self._signature, public)


def present(document: SdJwt, binding: Binding, key: Signer) -> str:
    """Return the document with the fields that it discloses, bound and signed."""
    shown = str(document)
    header = {"alg": ALGORITHMS[key.algorithm], "typ": _TYPE}
    payload = {
        "aud": binding.audience,
        "exp": binding.expires,
        "iat": binding.issued,
        "nonce": binding.nonce,
        "sd_hash": _hash(shown),
    }
    signed = f"{encode_part(header)}.{encode_part(payload)}"
    return f"{shown}{signed}.{encode_base64url(key.sign(signed.encode('ascii')))}"


def parse_presentation(text: str) -> Presentation:
    """Return what is shown, whose signatures are not yet verified; raise `BadDocument`."""
    if len(text) > MAX_BYTES or not text.isascii():
        raise BadDocument(f"it is longer than {MAX_BYTES}, or not ASCII")
    shown, tilde, last = text.rpartition("~")
    parts = last.split(".")
    if not tilde or len(parts) != 3:  # noqa: PLR2004 - RFC 7515, 3.1
        raise BadDocument("it is not shown to anybody: a key binding JWT must end it")
    header = parse_part(parts[0], _HEADER, "the header of its showing")
    payload = parse_part(parts[1], _PAYLOAD, "its showing")
    if header["typ"] != _TYPE or header["alg"] not in tuple(ALGORITHMS.values()):
        raise BadDocument("its showing is no key binding JWT of ours")
    issued, expires = _time(payload["iat"]), _time(payload["exp"])
    audience, nonce = payload["aud"], payload["nonce"]
    if not isinstance(audience, str) or not isinstance(nonce, str):
        raise BadDocument("aud and nonce must be text")
    if payload["sd_hash"] != _hash(f"{shown}~"):
        raise BadDocument("something else is shown than was signed")
    binding = Binding(audience, nonce, issued, expires)
    return Presentation(f"{shown}~", binding, header["alg"], ".".join(parts[:2]), parts[2])


def _hash(shown: str) -> str:
    return encode_base64url(sha256(shown.encode("ascii")).digest())


def _time(value: object) -> int:
    if type(value) is int and 0 <= value <= U63_MAX:
        return value
    raise BadDocument("iat and exp must be seconds")
