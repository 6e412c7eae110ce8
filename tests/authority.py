"""A certification authority to try certificates with: anchors, what is between, leaves, lists."""

import datetime as dt
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from ledger.keys import P256_ORDER

NOW: Final = dt.datetime(2026, 11, 26, tzinfo=dt.UTC)
DAY: Final = dt.timedelta(days=1)
Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def private(name: str) -> ec.EllipticCurvePrivateKey:
    """Return a P-256 key that follows from a name."""
    secret = int.from_bytes(sha256(name.encode()).digest()) % (P256_ORDER - 1) + 1
    return ec.derive_private_key(secret, ec.SECP256R1())


def pem(key: Private) -> bytes:
    """Return a private key as people keep it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass(frozen=True)
class Authority:
    """Who issues certificates."""

    name: x509.Name
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def issue(
        self,
        name: str,
        key: Private,
        *,
        serial: int = 7,
        days: tuple[int, int] = (-10, 300),
        usage: str | None = "digital_signature",
        depth: int | None = None,
        is_ca: bool = False,
        odd: x509.ExtensionType | None = None,
    ) -> x509.Certificate:
        """Return a certificate of an organisation, of an authority where `is_ca`."""
        return _issued(
            self.name, self.key, name, key, serial, days, usage, depth, is_ca=is_ca, odd=odd
        )

    def below(self, name: str, *, depth: int | None = None, is_ca: bool = True) -> "Authority":
        """Return an authority to which this one gave a certificate."""
        key = private(name)
        made = self.issue(name, key, usage="key_cert_sign", depth=depth, is_ca=is_ca)
        return Authority(made.subject, key, made)

    def revoking(
        self, *serials: int, days: tuple[int, int] = (-1, 7), key: Private | None = None
    ) -> x509.CertificateRevocationList:
        """Return the list of what was revoked yesterday."""
        made = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.name)
            .last_update(NOW + days[0] * DAY)
            .next_update(NOW + days[1] * DAY)
        )
        for serial in serials:
            entry = x509.RevokedCertificateBuilder().serial_number(serial)
            made = made.add_revoked_certificate(entry.revocation_date(NOW - DAY).build())
        return made.sign(key or self.key, hashes.SHA256())


def anchor(name: str = "Autorité racine") -> Authority:
    """Return an authority that trusts itself."""
    key, subject = private(name), _subject(name)
    made = _issued(subject, key, name, key, 1, (-100, 3_000), "key_cert_sign", None, is_ca=True)
    return Authority(subject, key, made)


def text(*certificates: x509.Certificate | x509.CertificateRevocationList) -> bytes:
    """Return a file of these, in PEM."""
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)


def _subject(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "FR"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, name),
            x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, "NTRFR-123456789"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Cachet de {name}"),
        ]
    )


def _issued(
    issuer: x509.Name,
    signer: ec.EllipticCurvePrivateKey,
    name: str,
    key: Private,
    serial: int,
    days: tuple[int, int],
    usage: str | None,
    depth: int | None,
    *,
    is_ca: bool,
    odd: x509.ExtensionType | None = None,
) -> x509.Certificate:
    made = (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(_subject(name))
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(NOW + days[0] * DAY)
        .not_valid_after(NOW + days[1] * DAY)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=depth), critical=True)
    )
    if usage is not None:
        uses = dict.fromkeys(
            (
                "digital_signature",
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "key_cert_sign",
                "crl_sign",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        made = made.add_extension(x509.KeyUsage(**(uses | {usage: True})), critical=True)
    if odd is not None:
        made = made.add_extension(odd, critical=True)
    return made.sign(signer, hashes.SHA256())
