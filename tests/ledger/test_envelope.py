"""Envelopes and mailboxes: one encoding, one signature, and every byte of them is signed."""

from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import envelope, mailbox
from ledger.encoding import encode
from ledger.envelope import MAX_CONTENT_BYTES, MAX_ENVELOPE_BYTES, Envelope
from ledger.errors import BadSignature, LedgerError, Malformed, Mismatch
from ledger.keys import P256SigningKey, Signer
from ledger.mailbox import MAX_MAILBOX_BYTES, Mailbox
from tests.ledger.examples import key

CHAIN: Final = b"\x01" * 32
LETTER: Final = envelope.Unsigned(
    1, CHAIN, b"\x02" * 16, b"\x03" * 8, b"\x04" * 16, b"\x05" * 16, 1_800_000_000, b"sealed"
)
BOX: Final = mailbox.Unsigned(1, CHAIN, b"\x02" * 16, b"\x03" * 8, b"\x06" * 32, 1_800_000_000)
SENT: Final = envelope.sign(LETTER, key(1))
PLACED: Final = mailbox.sign(BOX, key(1))


@pytest.mark.parametrize("signer", [key(1), P256SigningKey(b"\x07" * 32)])
def test_what_is_signed_is_read_back_and_verifies(signer: Signer) -> None:
    sent = envelope.parse(envelope.sign(LETTER, signer).raw)
    assert sent.body == LETTER
    sent.verify(CHAIN, signer.public)
    placed = mailbox.parse(mailbox.sign(BOX, signer).raw)
    assert placed.body == BOX
    placed.verify(CHAIN, signer.public)


def test_the_bytes_are_those_of_the_format() -> None:
    """Recomputed with another hand: the prefix, the array, the lengths."""
    fields = [b"\xc4\x20" + CHAIN, b"\xc4\x10" + b"\x02" * 16, b"\xc4\x08" + b"\x03" * 8]
    letter = [b"\xc4\x10" + b"\x04" * 16, b"\xc4\x10" + b"\x05" * 16]
    time = (1_800_000_000).to_bytes(4)
    unsigned = b"\x98\x01" + b"".join(fields) + letter[0] + letter[1] + b"\xce" + time
    assert encode(LETTER) == unsigned + b"\xc4\x06sealed"
    box = b"\x96\x01" + b"".join(fields) + b"\xc4\x20" + b"\x06" * 32 + b"\xce" + time
    assert encode(BOX) == box
    assert SENT.id.hex() == "8d182a5654a8aea9c51bf8e0c2a5925f24505114d582989f5b45cfa8c1e327b3"
    assert PLACED.hash.hex() == "9813d50352da8f76f6c68d4938f7a2b5512a49242ff2d8669105a6b90a163b72"
    assert SENT.signature == key(1).sign(b"depoli/sign/envelope/1\0" + SENT.id)
    assert PLACED.signature == key(1).sign(b"depoli/sign/mailbox/1\0" + PLACED.hash)


def test_of_another_chain_or_key_it_is_refused() -> None:
    for signed in (SENT, PLACED):
        with pytest.raises(Mismatch, match=r"chain id of the (envelope|mailbox)"):
            signed.verify(b"\x09" * 32, key(1).public)
        with pytest.raises(BadSignature, match=r"envelope|mailbox"):
            signed.verify(CHAIN, key(2).public)


def test_no_signature_of_one_kind_is_one_of_another() -> None:
    assert envelope.signing_bytes(SENT.id) != mailbox.signing_bytes(SENT.id)
    with pytest.raises(BadSignature):
        Envelope(SENT.raw, encode(BOX), LETTER, PLACED.signature).verify(CHAIN, key(1).public)


@given(st.data())
def test_whoever_changes_a_byte_is_found_out(data: st.DataObject) -> None:
    for raw, parse in ((SENT.raw, envelope.parse), (PLACED.raw, mailbox.parse)):
        place = data.draw(st.integers(0, len(raw) - 1))
        flipped = bytearray(raw)
        flipped[place] ^= 1 << data.draw(st.integers(0, 7))
        with pytest.raises(LedgerError):
            parse(bytes(flipped)).verify(CHAIN, key(1).public)


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused_with_an_error_of_this_package(raw: bytes) -> None:
    for parse in (envelope.parse, mailbox.parse):
        with pytest.raises(LedgerError):
            parse(raw).verify(CHAIN, key(1).public)


@given(
    st.binary(min_size=1, max_size=300),
    st.binary(min_size=16, max_size=16),
    st.integers(0, (1 << 63) - 1),
)
def test_every_letter_has_one_encoding(content: bytes, nonce: bytes, expires: int) -> None:
    body = msgspec.structs.replace(LETTER, content=content, nonce=nonce, expires=expires)
    sent = envelope.sign(body, key(1))
    again = envelope.parse(sent.raw)
    assert again.raw == sent.raw
    assert again.id == sent.id
    assert (sent.raw == SENT.raw) == (body == LETTER)


def test_the_largest_content_fits_and_one_byte_more_does_not() -> None:
    largest = msgspec.structs.replace(
        LETTER, content=bytes(MAX_CONTENT_BYTES), expires=(1 << 63) - 1
    )
    assert envelope.parse(envelope.sign(largest, key(1)).raw).body == largest
    beyond = msgspec.structs.replace(LETTER, content=bytes(MAX_CONTENT_BYTES + 1))
    with pytest.raises(Malformed):
        envelope.parse(envelope.sign(beyond, key(1)).raw)
    with pytest.raises(Malformed, match=f"at most {MAX_ENVELOPE_BYTES}"):
        envelope.parse(bytes(MAX_ENVELOPE_BYTES + 1))
    with pytest.raises(Malformed, match=f"at most {MAX_MAILBOX_BYTES}"):
        mailbox.parse(bytes(MAX_MAILBOX_BYTES + 1))


def test_an_empty_letter_is_none() -> None:
    empty = envelope.sign(msgspec.structs.replace(LETTER, content=b""), key(1))
    with pytest.raises(Malformed):
        envelope.parse(empty.raw)


def test_a_mailbox_of_the_greatest_numbers_fits() -> None:
    latest = mailbox.sign(msgspec.structs.replace(BOX, issued=(1 << 63) - 1), key(1))
    assert isinstance(mailbox.parse(latest.raw), Mailbox)
