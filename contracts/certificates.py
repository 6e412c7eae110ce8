"""Certificates: an organisation's key, which a certificate vouches for, signs for a ledger key.

Consensus parses no certificate: it has the hash of one and the key that is said to be in it, and
verifies that this key signed. Whether the certificate is genuine, in force and of that organisation
is for people to check, off the chain, before they rely on it. RSA signatures are PKCS #1 v1.5 with
SHA-256 (RFC 8017, 8.2.2), compared as integers, so that there is one encoding and no parser.
"""

from hashlib import sha256
from typing import Annotated, Final

import msgspec

from contracts import registry
from contracts.calls.registry import CertificateBind
from contracts.context import NOBODY_ELSE, Concerned, Context
from contracts.errors import Refusal, Refused
from contracts.life import Rule, Rules
from contracts.state import Reader
from ledger import keys
from ledger.encoding import U63_MAX, Struct, decode, encode
from ledger.errors import BadSignature
from ledger.keys import P256_KEY_BYTES, Role, algorithm_of
from ledger.validators import Bytes32

_BINDING: Final = b"C"  # + member + key id -> Binding
_EXPONENT: Final = 65_537
_DIGEST_INFO: Final = bytes.fromhex("3031300d060960864801650304020105000420")  # SHA-256, RFC 8017


class Binding(Struct):
    """The certificate that vouches for a key of a member: the last one, where there were more."""

    certificate: Bytes32  # SHA-256 of its DER
    public: Annotated[bytes, msgspec.Meta(min_length=33, max_length=512)]  # P-256, or a modulus
    height: Annotated[int, msgspec.Meta(ge=1, le=U63_MAX)]  # of the block that bound it


def signed_bytes(chain_id: bytes, member: bytes, certificate: bytes, public: bytes) -> bytes:
    """Return what the key in a certificate signs for the ledger key `public` of a member."""
    head = b"depoli/sign/certificate/1\x00" + chain_id + member + certificate
    return head + bytes((algorithm_of(public),)) + public


def bind(context: Context, call: CertificateBind) -> Concerned:
    """Bind a transaction key of the sender to a certificate, or raise `Refused`."""
    held = registry.key(context.state, context.sender, call.key_id)
    if held is None or held.role is not Role.TRANSACTION or not held.is_in_force(context.height):
        raise Refused(Refusal.KEY_NOT_BINDABLE)
    message = signed_bytes(context.chain_id, context.sender, call.certificate, held.public)
    if not is_signed(call.public, message, call.signature):
        raise Refused(Refusal.CERTIFICATE_NOT_PROVED)
    made = Binding(call.certificate, call.public, context.height)
    context.state.put(_BINDING + context.sender + call.key_id, encode(made))
    return NOBODY_ELSE


def binding(state: Reader, member: bytes, key_id: bytes) -> Binding | None:
    """Return the certificate that a key of a member is bound to, None if it is to none."""
    found = state.get(_BINDING + member + key_id)
    return None if found is None else decode(found, Binding)


def pairs_of(state: Reader, member: bytes) -> list[tuple[bytes, bytes]]:
    """Return all that the state says of the certificates of a member, as it stands there."""
    return state.scan(_BINDING + member, registry.MAX_KEYS)


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether the key of a certificate signed: P-256 in 33 bytes, or an RSA modulus."""
    if len(public) != P256_KEY_BYTES:
        return _is_signed_rsa(public, message, signature)
    try:
        keys.verify(public, message, signature, what="it")
    except BadSignature:
        return False
    return True


def _is_signed_rsa(modulus: bytes, message: bytes, signature: bytes) -> bool:
    n, s, size = int.from_bytes(modulus), int.from_bytes(signature), len(modulus)
    digest = _DIGEST_INFO + sha256(message).digest()
    padded = b"\x00\x01" + b"\xff" * (size - len(digest) - 3) + b"\x00" + digest
    return len(signature) == size and s < n and pow(s, _EXPONENT, n) == int.from_bytes(padded)


def _concerned(_state: Reader, _call: CertificateBind, _made: bytes) -> Concerned:
    return NOBODY_ELSE


RULES: Final[Rules] = {CertificateBind: Rule(bind, _concerned)}
