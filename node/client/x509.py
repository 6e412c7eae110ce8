"""Certificates of organisations, as people check them: chain, time, revocation, use, name.

The chain holds the hash of a certificate and its key; that the certificate is genuine is checked
here, by each member for itself, against the anchors that it trusts.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtensionOID, NameOID

from contracts.calls.registry import RSA_BYTES
from ledger.keys import P256_HIGHEST_S, P256_ORDER, SIGNATURE_BYTES
from node.client.errors import NotReadable, NotVerified

MAX_BYTES: Final = 1 << 20  # of a file: a list of revoked certificates may be long
MAX_DEPTH: Final = 6
_EXPONENT: Final = 65_537
_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_UNDERSTOOD: Final = (  # what may be critical
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.CERTIFICATE_POLICIES,
)


@dataclass(frozen=True, slots=True)
class Vouched:
    """What a certificate that was found good says."""

    organisation: str  # as its subject has it
    identifier: str | None  # of the organisation, such as VATFR-… (OID 2.5.4.97)
    common_name: str | None
    issuer: str
    not_before: dt.datetime
    not_after: dt.datetime
    anchor: str


def parse_certificates(data: bytes, name: str) -> list[x509.Certificate]:
    """Return the certificates in a file, PEM or DER, the first one first; raise `NotReadable`."""
    try:
        if b"-----BEGIN" in data:
            return x509.load_pem_x509_certificates(data)
        return [x509.load_der_x509_certificate(data)]
    except ValueError:
        raise NotReadable(f"{name} holds no certificate, in PEM or DER") from None


def parse_revocations(data: bytes, name: str) -> x509.CertificateRevocationList:
    """Return the list of revoked certificates in a file, PEM or DER; raise `NotReadable`."""
    try:
        if b"-----BEGIN" in data:
            return x509.load_pem_x509_crl(data)
        return x509.load_der_x509_crl(data)
    except ValueError:
        raise NotReadable(f"{name} holds no list of revoked certificates, in PEM or DER") from None


def fingerprint(certificate: x509.Certificate) -> bytes:
    """Return SHA-256 of its DER, as the chain holds it."""
    return sha256(certificate.public_bytes(Encoding.DER)).digest()


def key_in(certificate: x509.Certificate) -> bytes:
    """Return its key as the chain holds it: P-256, or an RSA modulus; raise `NotVerified`."""
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    if isinstance(key, rsa.RSAPublicKey):
        numbers, size = key.public_numbers(), key.key_size // 8
        if numbers.e == _EXPONENT and key.key_size % 8 == 0 and size in RSA_BYTES:
            return numbers.n.to_bytes(size)
    raise NotVerified(
        "key",
        f"that of {_shown(certificate)} is neither P-256 nor RSA of 2048, 3072 or 4096 bits",
        hint="the issuer makes another certificate, for such a key",
    )


def sign(pem: bytes, name: str, message: bytes) -> bytes:
    """Return the signature by the private key in a PEM file; raise `NotReadable`."""
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError):  # what it holds is not repeated
        raise NotReadable(f"{name} holds no private key without a passphrase, in PEM") from None
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return plain(key.sign(message, ec.ECDSA(hashes.SHA256())), name)
    raise NotReadable(f"{name} holds a key that is neither RSA nor P-256")


def plain(signature: bytes, name: str) -> bytes:
    """Return a P-256 signature as the chain holds it, with the lower s; DER is what tools write."""
    try:
        if len(signature) == SIGNATURE_BYTES:
            half = SIGNATURE_BYTES // 2
            r, s = (int.from_bytes(part) for part in (signature[:half], signature[half:]))
            encode_dss_signature(r, s)
        else:
            r, s = decode_dss_signature(signature)
        lower = P256_ORDER - s if P256_HIGHEST_S < s < P256_ORDER else s
        return r.to_bytes(32) + lower.to_bytes(32)
    except (ValueError, OverflowError):
        raise NotReadable(f"{name} holds no signature of P-256") from None


def verify(
    certificate: x509.Certificate,
    *,
    others: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    revocations: Sequence[x509.CertificateRevocationList],
    at: dt.datetime,
) -> Vouched:
    """Return what a certificate says, after checking that it was good at a time.

    `others` may stand between it and an anchor. Each certificate but the anchor must be looked up
    in a list of its issuer, where one is given for that issuer; for the first one it must be, if
    any list is given. Raises `NotVerified` naming the false fact.
    """
    _require_use(certificate)
    held, below = certificate, 0
    while True:
        _require_time(held, at)
        _require_understood(held)
        issuer = _issuer(held, [*anchors, *others])
        _require_not_revoked(held, issuer, revocations, at, must=below == 0 and bool(revocations))
        if issuer in anchors:
            _require_issuer(issuer, at, below)
            break
        _require_issuer(issuer, at, below)
        held, below = issuer, below + 1
        if below == MAX_DEPTH:
            raise NotVerified("chain", f"no anchor within {MAX_DEPTH} certificates")
    return Vouched(
        _name(certificate.subject, NameOID.ORGANIZATION_NAME) or "(no organisation named)",
        _name(certificate.subject, NameOID.ORGANIZATION_IDENTIFIER),
        _name(certificate.subject, NameOID.COMMON_NAME),
        certificate.issuer.rfc4514_string(),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        issuer.subject.rfc4514_string(),
    )


def _issuer(held: x509.Certificate, known: Sequence[x509.Certificate]) -> x509.Certificate:
    if not isinstance(held.signature_hash_algorithm, _HASHES):
        raise NotVerified("signature", f"{_shown(held)} is signed over no SHA-2 hash")
    for each in known:
        if each.subject == held.issuer and each != held:
            try:
                held.verify_directly_issued_by(each)
            except (ValueError, TypeError, InvalidSignature):
                continue
            return each
    raise NotVerified(
        "chain",
        f"nobody who is known issued {_shown(held)}",
        hint="give the certificates between it and an anchor in its file, behind it",
    )


def _require_time(held: x509.Certificate, at: dt.datetime) -> None:
    if not held.not_valid_before_utc <= at <= held.not_valid_after_utc:
        raise NotVerified(
            "validity",
            f"{_shown(held)} is valid from {held.not_valid_before_utc:%Y-%m-%d}"
            f" to {held.not_valid_after_utc:%Y-%m-%d}, not at {at:%Y-%m-%d}",
        )


def _require_understood(held: x509.Certificate) -> None:
    for extension in held.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise NotVerified(
                "extension", f"{_shown(held)} has a critical one that is not understood here"
            )


def _require_use(certificate: x509.Certificate) -> None:
    """Require that the key may sign, where the certificate says for what it is."""
    usage = _key_usage(certificate)
    if usage is not None and not (usage.digital_signature or usage.content_commitment):
        raise NotVerified("key usage", f"the key of {_shown(certificate)} is not for signatures")


def _require_issuer(issuer: x509.Certificate, at: dt.datetime, below: int) -> None:
    _require_time(issuer, at)
    try:
        basic = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        basic = x509.BasicConstraints(ca=False, path_length=None)
    usage = _key_usage(issuer)
    if not basic.ca or (usage is not None and not usage.key_cert_sign):
        raise NotVerified("chain", f"{_shown(issuer)} may not issue certificates")
    if basic.path_length is not None and basic.path_length < below:
        raise NotVerified("chain", f"{_shown(issuer)} allows fewer certificates beneath it")


def _require_not_revoked(
    held: x509.Certificate,
    issuer: x509.Certificate,
    revocations: Sequence[x509.CertificateRevocationList],
    at: dt.datetime,
    *,
    must: bool,
) -> None:
    mine = [each for each in revocations if each.issuer == issuer.subject]
    key = issuer.public_key()
    for each in mine:
        if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
            raise NotVerified("revocation", "the list is signed by a key of another kind")
        if not each.is_signature_valid(key):
            raise NotVerified("revocation", f"the list of {_shown(issuer)} is not signed by it")
        if not each.last_update_utc <= at or (
            each.next_update_utc is not None and at > each.next_update_utc
        ):
            raise NotVerified("revocation", f"the list of {_shown(issuer)} is not of that time")
        entry = each.get_revoked_certificate_by_serial_number(held.serial_number)
        if entry is not None and entry.revocation_date_utc <= at:
            raise NotVerified(
                "revocation", f"{_shown(held)} was revoked on {entry.revocation_date_utc:%Y-%m-%d}"
            )
    if must and not mine:
        raise NotVerified("revocation", f"no list is given of {_shown(issuer)}, who issued it")


def _key_usage(certificate: x509.Certificate) -> x509.KeyUsage | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None


def _name(name: x509.Name, oid: x509.ObjectIdentifier) -> str | None:
    found = name.get_attributes_for_oid(oid)
    return str(found[0].value) if found else None


def _shown(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()[:120] or "a certificate without a name"
