"""SD-JWT (RFC 9901), the part of it that our documents use: flat, signed as transactions are.

A signed JWT (RFC 7515, 7519) holds the digests of salted fields; each field travels beside it as a
disclosure, so that its holder chooses which to show. It may name the Ed25519 key of its holder, who
then signs each showing (contracts.key_binding). Nothing is disclosed of array elements or in depth:
what has any of it is refused.
"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, Final

from contracts import strict_json
from contracts.commitment import document_commitment
from contracts.errors import BadDocument
from ledger.errors import BadSignature
from ledger.hashing import Hash
from ledger.keys import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Algorithm, Signer, algorithm_of
from ledger.keys import verify as verify_signature

# RFC 8037, 3.1; RFC 7518, 3.4: r and s, 32 bytes each, of which we take the low s only.
ALGORITHMS: Final = {Algorithm.ED25519: "EdDSA", Algorithm.P256: "ES256"}
HASH: Final = "sha-256"
DIGEST_TEXT: Final = 43  # base64url of 32 bytes
MAX_BYTES: Final = 64 << 10
MAX_DISCLOSURES: Final = 64
MAX_DISCLOSURE_BYTES: Final = 4 << 10
_HEADER: Final = ("alg", "kid", "typ")
_PAYLOAD: Final = ("_sd", "_sd_alg")
_BOUND: Final = (*_PAYLOAD, "cnf")  # RFC 7800, 3.1
_JWK: Final = ("crv", "kty", "x")  # RFC 8037, 2
_RESERVED: Final = frozenset(("_sd", "...", "_sd_alg"))  # RFC 9901, 4.2.1


@dataclass(frozen=True)
class Disclosure:
    """One field with its salt, and the text that its digest is taken over."""

    text: str  # base64url of the JSON array [salt, name, value]
    salt: str
    name: str
    value: Any  # what JSON holds, without floats

    @cached_property
    def digest(self) -> str:
        """The digest that the signed JWT holds (RFC 9901, 4.2.3)."""
        return encode_base64url(sha256(self.text.encode("ascii")).digest())


@dataclass(frozen=True)
class SdJwt:
    """A signed JWT and those of its fields that are disclosed with it."""

    jwt: str  # header.payload.signature
    algorithm: str
    key_id: str  # hexadecimal, as the issuer wrote it
    type: str
    digests: tuple[str, ...]
    disclosures: tuple[Disclosure, ...]
    holder: bytes | None = None  # Ed25519 key of who may show it; None: whoever has it

    def __str__(self) -> str:
        """Return the compact serialisation (RFC 9901, 4)."""
        return "~".join((self.jwt, *(disclosure.text for disclosure in self.disclosures), ""))

    @cached_property
    def commitment(self) -> Hash:
        """What stands for it on the chain."""
        return document_commitment(self.jwt.encode("ascii"))

    def verify(self, public: bytes) -> None:
        """Raise `BadDocument` unless it is signed under this key, by the algorithm it names."""
        if self.algorithm != ALGORITHMS[algorithm_of(public)]:
            raise BadDocument(f"it is not signed by the algorithm that it names, {self.algorithm}")
        signed, _, signature = self.jwt.rpartition(".")
        verify_jws(signed, signature, public)


def encode_base64url(data: bytes) -> str:
    """Return base64url without padding (RFC 7515, 2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode_base64url(text: str) -> bytes:
    """Return the bytes of which `text` is the one base64url encoding, or raise `BadDocument`."""
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise BadDocument("a part is not base64url") from None
    if encode_base64url(data) != text:  # stray characters are skipped and stray bits dropped
        raise BadDocument("a part is not base64url as it must be written")
    return data


def make_disclosure(salt: bytes, name: str, value: object) -> Disclosure:
    """Return the disclosure of a field. The salt is of 32 bytes that were drawn for it alone."""
    text = encode_base64url(salt)
    array = strict_json.compact([text, name, value])
    return Disclosure(encode_base64url(array.encode("ascii")), text, name, value)


def parse_disclosure(text: str) -> Disclosure:
    """Return a disclosure of a field, or raise `BadDocument`. JSON is free, as the RFC has it."""
    if len(text) > MAX_DISCLOSURE_BYTES:
        raise BadDocument(f"a disclosure is longer than {MAX_DISCLOSURE_BYTES}")
    found = strict_json.parse(decode_base64url(text), BadDocument, limit=MAX_DISCLOSURE_BYTES)
    match found:
        case [str(salt), str(name), value] if name not in _RESERVED:
            return Disclosure(text, salt, name, value)
        case _:
            raise BadDocument("a disclosure is not [salt, name, value]")


def issue(
    disclosures: Iterable[Disclosure],
    type_: str,
    key_id: bytes,
    key: Signer,
    *,
    holder: bytes | None = None,
) -> SdJwt:
    """Return the signed JWT over these fields, all disclosed; with `holder`, bound to that key.

    Digests of fresh salts are as good as random: sorted, they tell nothing of the fields' order.
    """
    fields = tuple(disclosures)
    digests = tuple(sorted(disclosure.digest for disclosure in fields))
    algorithm = ALGORITHMS[key.algorithm]
    header = {"alg": algorithm, "kid": key_id.hex(), "typ": type_}
    payload: dict[str, Any] = {"_sd": list(digests), "_sd_alg": HASH}
    if holder is not None:
        payload["cnf"] = {"jwk": _jwk(holder)}
    signed = ".".join(map(encode_part, (header, payload)))
    signature = encode_base64url(key.sign(signed.encode("ascii")))
    return SdJwt(f"{signed}.{signature}", algorithm, key_id.hex(), type_, digests, fields, holder)


def parse(text: str) -> SdJwt:
    """Return what the compact serialisation `text` holds, its signature not yet verified.

    Every disclosure is of a digest that the JWT holds, no two of one name. Raises `BadDocument`.
    """
    if len(text) > MAX_BYTES or not text.isascii():
        raise BadDocument(f"it is longer than {MAX_BYTES}, or not ASCII")
    jwt, *texts = text.split("~")
    if not texts or texts.pop() or len(texts) > MAX_DISCLOSURES:
        raise BadDocument("it is no signed JWT followed by a tilde and disclosures")
    parts = jwt.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - RFC 7515, 3.1
        raise BadDocument("a signed JWT has three parts")
    header = parse_part(parts[0], _HEADER, "the header")
    payload = _payload(parts[1])
    if header["alg"] not in tuple(ALGORITHMS.values()) or payload["_sd_alg"] != HASH:
        allowed = " or ".join(ALGORITHMS.values())
        raise BadDocument(f"it must be signed with {allowed} and hashed with {HASH}")
    if not isinstance(header["kid"], str) or not isinstance(header["typ"], str):
        raise BadDocument("kid and typ of the header must be text")
    if len(decode_base64url(parts[2])) != SIGNATURE_BYTES:
        raise BadDocument(f"its signature has not {SIGNATURE_BYTES} bytes")
    digests = _digests(payload["_sd"])
    disclosures = tuple(map(parse_disclosure, texts))
    names = [disclosure.name for disclosure in disclosures]
    if len(set(names)) != len(names):
        raise BadDocument("a field is disclosed twice")
    for disclosure in disclosures:
        if disclosure.digest not in digests:
            raise BadDocument(f"the field {disclosure.name[:64]!r} is not the one that was signed")
    holder = None if "cnf" not in payload else _holder(payload["cnf"])
    return SdJwt(jwt, header["alg"], header["kid"], header["typ"], digests, disclosures, holder)


def verify_jws(signed: str, signature: str, public: bytes) -> None:
    """Raise `BadDocument` unless `signature`, in base64url, is of the text `signed`."""
    data = decode_base64url(signature)
    try:
        verify_signature(public, signed.encode("ascii"), data, what="the document")
    except BadSignature:
        raise BadDocument("its signature does not verify") from None


def parse_part(part: str, names: tuple[str, ...], what: str) -> dict[str, Any]:
    """Return the object of these fields that a part of a JWT encodes, or raise `BadDocument`."""
    found = strict_json.parse(decode_base64url(part), BadDocument, limit=MAX_BYTES)
    return strict_json.require_fields(found, names, BadDocument, what)


def encode_part(value: object) -> str:
    """Return a part of a JWT."""
    return encode_base64url(strict_json.compact(value).encode("ascii"))


def _payload(part: str) -> dict[str, Any]:
    found = strict_json.parse(decode_base64url(part), BadDocument, limit=MAX_BYTES)
    names = _BOUND if isinstance(found, dict) and "cnf" in found else _PAYLOAD
    return strict_json.require_fields(found, names, BadDocument, "the payload")


def _jwk(holder: bytes) -> dict[str, str]:
    return {"crv": "Ed25519", "kty": "OKP", "x": encode_base64url(holder)}


def _holder(value: object) -> bytes:
    """Return the key of a holder, or raise `BadDocument`."""
    confirmation = strict_json.require_fields(value, ("jwk",), BadDocument, "cnf")
    jwk = strict_json.require_fields(confirmation["jwk"], _JWK, BadDocument, "the holder's key")
    key = decode_base64url(jwk["x"]) if isinstance(jwk["x"], str) and jwk["x"].isascii() else b""
    if len(key) != PUBLIC_KEY_BYTES or jwk != _jwk(key):
        raise BadDocument("the holder's key is no Ed25519 key")
    return key


def _digests(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_DISCLOSURES:
        raise BadDocument(f"_sd must be a list of at most {MAX_DISCLOSURES} digests")
    for item in value:
        if not isinstance(item, str) or len(item) != DIGEST_TEXT:
            raise BadDocument("_sd holds something else than digests")
        decode_base64url(item)
    if value != sorted(set(value)):
        raise BadDocument("the digests of _sd must ascend")
    return tuple(value)
