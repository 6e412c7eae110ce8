"""TLS 1.3 between nodes, both sides authenticated, pinned to keys registered on the chain.

A node's certificate is a pure function of its registered Ed25519 key: every node can build every
peer's certificate and trusts exactly those, so there is nothing to distribute, to renew or to
expire. Its issuer's key is public and proves nothing; the handshake proves that the peer holds the
private key (RFC 8446, 4.4.3), and both sides compare the key in the certificate with the registry.
"""

import contextlib
import datetime as dt
import os
import ssl
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

_ISSUER: Final = Ed25519PrivateKey.from_private_bytes(b"depoli: a key that anyone knows!")
_FROM: Final = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
_UNTIL: Final = dt.datetime(2124, 1, 1, tzinfo=dt.UTC)


def certificate(node_key: bytes) -> bytes:
    """Return the one DER certificate of the node with this registered Ed25519 key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node_key.hex())])
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "depoli")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(Ed25519PublicKey.from_public_bytes(node_key))
        .serial_number(int.from_bytes(node_key[:16]) | 1)
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
        .sign(_ISSUER, None)
        .public_bytes(Encoding.DER)
    )


def context(*, server: bool, seed: bytes, trusted: Iterable[bytes]) -> ssl.SSLContext:
    """Return a context for the node with this key `seed` that talks to the `trusted` keys only."""
    protocol = ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT
    made = ssl.SSLContext(protocol)
    made.check_hostname = False  # names are keys here
    made.verify_mode = ssl.CERT_REQUIRED
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a leaf that we trust needs no issuer
    if server:
        made.num_tickets = 0  # no resumption: every connection proves its key
    certificates = b"".join(certificate(key) for key in trusted)
    if certificates:  # a network of one has no peers
        made.load_verify_locations(cadata=certificates)
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    chain = ssl.DER_cert_to_PEM_cert(certificate(public)).encode()
    secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with _unlinked_file(chain + secret) as path:
        made.load_cert_chain(path)
    return made


def peer_key(transport_ssl: ssl.SSLObject) -> bytes:
    """Return the raw key in the certificate that the peer has shown and proved."""
    der = transport_ssl.getpeercert(binary_form=True)
    assert der is not None  # CERT_REQUIRED
    public = x509.load_der_x509_certificate(der).public_key()
    assert isinstance(public, Ed25519PublicKey)  # only such certificates are trusted
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw)


@contextlib.contextmanager
def _unlinked_file(content: bytes) -> Iterator[str]:
    """Yield the path of a file that no other user reads and that is gone afterwards.

    In memory where the system can; `ssl` takes a private key from nothing but a path.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("node-key", os.MFD_CLOEXEC)
        path = f"/proc/self/fd/{descriptor}"
    else:
        descriptor, path = tempfile.mkstemp()  # mode 0600
    try:
        os.write(descriptor, content)
        yield path
    finally:
        os.close(descriptor)
        if not path.startswith("/proc/"):
            Path(path).unlink()
