"""Certificates of organisations: each fact that can be false is named."""

import datetime as dt
from typing import Any

import pytest
from cryptography import x509 as lib
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from contracts import certificates
from ledger.keys import P256_ORDER
from node.client import x509
from node.client.errors import NotReadable, NotVerified
from tests.authority import DAY, NOW, Authority, anchor, pem, private, text

ROOT = anchor()
MIDDLE = ROOT.below("Autorité de cachets")
KEY = private("optician")
LEAF = MIDDLE.issue("Optique Durand", KEY)


def judge(
    leaf: lib.Certificate = LEAF,
    *,
    others: tuple[Authority, ...] = (MIDDLE,),
    anchors: tuple[Authority, ...] = (ROOT,),
    lists: tuple[lib.CertificateRevocationList, ...] = (),
    at: dt.datetime = NOW,
) -> x509.Vouched:
    return x509.verify(
        leaf,
        others=[each.certificate for each in others],
        anchors=[each.certificate for each in anchors],
        revocations=lists,
        at=at,
    )


def test_a_good_certificate_says_whose_it_is() -> None:
    found = judge()
    assert (found.organisation, found.identifier) == ("Optique Durand", "NTRFR-123456789")
    assert found.common_name == "Cachet de Optique Durand"
    assert "Autorité de cachets" in found.issuer
    assert "Autorité racine" in found.anchor
    assert judge(ROOT.issue("direct", KEY), others=()).organisation == "direct"
    assert judge(lists=(MIDDLE.revoking(8), ROOT.revoking())).organisation == "Optique Durand"
    assert judge(MIDDLE.issue("free", KEY, usage=None)).organisation == "free"
    assert judge(MIDDLE.issue("committed", KEY, usage="content_commitment")).common_name


FALSE: list[tuple[str, dict[str, Any], str]] = [
    ("chain", {"others": ()}, "nobody who is known issued"),
    ("chain", {"anchors": (anchor("another"),)}, "nobody who is known issued"),
    ("validity", {"at": NOW + 400 * DAY}, "valid from"),
    ("validity", {"at": NOW - 20 * DAY}, "valid from"),
    ("key usage", {"leaf": MIDDLE.issue("x", KEY, usage="key_agreement")}, "not for signatures"),
    (
        "chain",
        {"leaf": ROOT.below("no authority", is_ca=False).issue("x", KEY),
         "others": (ROOT.below("no authority", is_ca=False),)},
        "may not issue",
    ),
    (
        "chain",
        {
            "leaf": ROOT.below("a", depth=0).below("b").issue("x", KEY),
            "others": (ROOT.below("a", depth=0), ROOT.below("a", depth=0).below("b")),
        },
        "allows fewer",
    ),
    ("revocation", {"lists": (MIDDLE.revoking(7),)}, "was revoked on 2026-11-25"),
    ("revocation", {"lists": (MIDDLE.revoking(8), ROOT.revoking(7))}, "Autorité de cachets"),
    ("revocation", {"lists": (ROOT.revoking(),)}, "no list is given of"),
    ("revocation", {"lists": (MIDDLE.revoking(key=KEY),)}, "is not signed by it"),
    ("revocation", {"lists": (MIDDLE.revoking(days=(-9, -2)),)}, "is not of that time"),
    ("revocation", {"lists": (MIDDLE.revoking(days=(1, 2)),)}, "is not of that time"),
    (
        "extension",
        {"leaf": MIDDLE.issue("x", KEY, odd=lib.InhibitAnyPolicy(0))},
        "not understood",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("fact", "how", "said"), FALSE, ids=range(len(FALSE)))
def test_a_false_fact_is_named(fact: str, how: dict[str, Any], said: str) -> None:
    with pytest.raises(NotVerified, match=said) as caught:
        judge(**how)
    assert caught.value.fact == fact


def test_a_certificate_that_was_revoked_later_was_good_before() -> None:
    at = NOW - 2 * DAY
    assert judge(lists=(MIDDLE.revoking(7, days=(-5, 7)),), at=at).organisation
    with pytest.raises(NotVerified):
        judge(lists=(MIDDLE.revoking(7, days=(-5, 7)),))


def test_a_chain_that_is_too_long_is_refused() -> None:
    chain = [ROOT]
    for number in range(x509.MAX_DEPTH):
        chain.append(chain[-1].below(f"step {number}"))
    leaf = chain[-1].issue("x", KEY)
    with pytest.raises(NotVerified, match="no anchor within"):
        judge(leaf, others=tuple(chain[1:]))


def test_a_changed_certificate_is_not_issued_by_its_issuer() -> None:
    der = bytearray(LEAF.public_bytes(Encoding.DER))
    der[-1] ^= 1
    forged = lib.load_der_x509_certificate(bytes(der))
    with pytest.raises(NotVerified, match="nobody who is known issued"):
        judge(forged)


def test_keys_are_read_as_the_chain_holds_them() -> None:
    assert x509.key_in(LEAF)[1:] == KEY.public_key().public_numbers().x.to_bytes(32)
    long = rsa.generate_private_key(65_537, 2_048)
    assert len(x509.key_in(MIDDLE.issue("x", long))) == 256
    for other in (
        rsa.generate_private_key(65_537, 1_024),  # noqa: S505 - it is refused
        rsa.generate_private_key(3, 2_048),
        ec.generate_private_key(ec.SECP384R1()),
    ):
        with pytest.raises(NotVerified) as caught:
            x509.key_in(MIDDLE.issue("x", other))
        assert caught.value.fact == "key"


def test_a_signature_by_either_kind_of_key_binds() -> None:
    for key in (KEY, rsa.generate_private_key(65_537, 2_048)):
        public = x509.key_in(MIDDLE.issue("x", key))
        assert certificates.is_signed(public, b"m", x509.sign(pem(key), "k.pem", b"m"))


def test_a_signature_in_der_is_taken_with_the_lower_s() -> None:
    public = x509.key_in(LEAF)
    der = KEY.sign(b"m", ec.ECDSA(hashes.SHA256()))
    found = x509.plain(der, "it")
    assert certificates.is_signed(public, b"m", found)
    r, s = int.from_bytes(found[:32]), int.from_bytes(found[32:])
    high = r.to_bytes(32) + (P256_ORDER - s).to_bytes(32)
    for other in (high, found, encode_dss_signature(r, P256_ORDER - s)):
        assert x509.plain(other, "it") == found
    for wrong in (b"", b"x" * 70, encode_dss_signature(r, 2**300)):
        with pytest.raises(NotReadable):
            x509.plain(wrong, "it")


def test_what_is_no_key_is_not_repeated() -> None:
    odd = ed25519.Ed25519PrivateKey.generate()
    formats = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for wrong in (b"", b"-----BEGIN SECRET-----", odd.private_bytes(*formats)):
        with pytest.raises(NotReadable) as caught:
            x509.sign(wrong, "k.pem", b"m")
        assert "SECRET" not in str(caught.value)


@given(st.binary(max_size=200))
def test_any_file_is_read_or_refused(data: bytes) -> None:
    for read in (x509.parse_certificates, x509.parse_revocations):
        for each in (data, b"-----BEGIN CERTIFICATE-----\n" + data):
            with pytest.raises(NotReadable):
                read(each, "it")
    assert x509.parse_certificates(text(LEAF, MIDDLE.certificate), "it")[0] == LEAF
    assert x509.parse_certificates(LEAF.public_bytes(Encoding.DER), "it") == [LEAF]
    listed = MIDDLE.revoking(7)
    for data_ in (text(listed), listed.public_bytes(Encoding.DER)):
        assert x509.parse_revocations(data_, "it") == listed
