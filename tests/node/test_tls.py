"""TLS between nodes: a certificate follows from a key, and nobody but the trusted gets through."""

import ssl
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from ledger.keys import Role
from node import tls
from tests.chainmaker import key_of
from tests.node.cluster import seed_of


def public(label: str) -> bytes:
    return key_of(label, Role.TLS).public


def context(label: str, trusted: Sequence[str], *, server: bool) -> ssl.SSLContext:
    keys = [public(each) for each in trusted]
    return tls.context(server=server, seed=seed_of(label, Role.TLS), trusted=keys)


def handshake(
    client: ssl.SSLContext, server: ssl.SSLContext
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Shake hands in memory, until both sides are content or one raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_side=False),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    done = [False, False]
    for _ in range(10):
        for number, side in enumerate(sides):
            try:
                side.do_handshake()
                done[number] = True
            except ssl.SSLWantReadError:
                pass
        if all(done):
            sides[0].write(b"x")  # a client learns of its refusal only when it reads
            assert sides[1].read(1) == b"x"
            return sides[0], sides[1]
    raise AssertionError


def test_a_certificate_follows_from_the_key_alone() -> None:
    made = tls.certificate(public("federation"))
    assert made == tls.certificate(public("federation"))
    assert made != tls.certificate(public("operator"))
    assert x509.load_der_x509_certificate(made).not_valid_after_utc.year > 2100


def test_both_sides_learn_the_key_of_the_other() -> None:
    client, server = handshake(
        context("federation", ["operator", "insurer-a"], server=False),
        context("operator", ["federation", "insurer-a"], server=True),
    )
    assert client.version() == server.version() == "TLSv1.3"
    assert tls.peer_key(client) == public("operator")
    assert tls.peer_key(server) == public("federation")


def test_a_server_refuses_a_stranger() -> None:
    with pytest.raises(ssl.SSLError):
        handshake(
            context("stranger", ["operator"], server=False),
            context("operator", ["federation"], server=True),
        )


def test_a_client_refuses_a_stranger() -> None:
    with pytest.raises(ssl.SSLError):
        handshake(
            context("federation", ["operator"], server=False),
            context("stranger", ["federation"], server=True),
        )


@pytest.mark.parametrize("issuer", ["depoli", "insurer-a"])
def test_a_certificate_that_was_made_for_another_key_does_not_help(issuer: str) -> None:
    """The common issuer's key is public, and every peer has one that the others trust."""
    own = Ed25519PrivateKey.from_private_bytes(seed_of("stranger", Role.TLS))
    signer, name = tls._ISSUER, issuer
    if issuer != "depoli":
        signer = Ed25519PrivateKey.from_private_bytes(seed_of(issuer, Role.TLS))
        name = public(issuer).hex()
    forged = (
        x509.CertificateBuilder()
        .subject_name(named(public("federation").hex()))
        .issuer_name(named(name))
        .public_key(own.public_key())
        .serial_number(1)
        .not_valid_before(tls._FROM)
        .not_valid_after(tls._UNTIL)
        .sign(signer, None)
    )
    thief = context("stranger", ["operator"], server=False)
    secret = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with tls._unlinked_file(forged.public_bytes(Encoding.PEM) + secret) as path:
        thief.load_cert_chain(path)
    with pytest.raises(ssl.SSLError):
        handshake(thief, context("operator", ["federation", "insurer-a"], server=True))


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def test_no_older_protocol_is_spoken() -> None:
    old = context("federation", ["operator"], server=False)
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        handshake(old, context("operator", ["federation"], server=True))


def test_a_node_without_peers_trusts_nobody() -> None:
    with pytest.raises(ssl.SSLError):
        handshake(
            context("federation", ["operator"], server=False),
            context("operator", [], server=True),
        )
