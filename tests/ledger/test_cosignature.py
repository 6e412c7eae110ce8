"""Cosignatures: the message of the specification, and nothing that a witness did not say."""

from base64 import b64decode
from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.checkpoint import Checkpoint, Note, parse_note
from ledger.cosignature import Cosigner, cosign, parse_cosigner
from ledger.encoding import U63_MAX
from ledger.errors import BadSignature, LedgerError
from ledger.keys import PublicKey, verify
from tests.ledger.examples import header, key

TEXT: Final = Checkpoint.of(header(7, log_size=300, log_root=b"\x05" * 32)).encode()
NAME: Final = "witness.example/w1"
TIME: Final = 1_679_315_147
COSIGNER: Final = Cosigner(NAME, key(9).public)
LINE: Final = cosign(TEXT, NAME, key(9), time=TIME)
NOTE: Final = Note(TEXT, (LINE,))


def test_the_key_of_a_public_witness_has_the_id_that_it_publishes() -> None:
    published = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"
    name, id_, encoded = published.split("+", 2)
    cosigner = Cosigner(name, PublicKey(b64decode(encoded)[1:]))
    assert cosigner.encode() == published
    assert cosigner.id.hex() == id_
    assert parse_cosigner(published) == cosigner


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "a b+" + COSIGNER.encode().partition("+")[2],
        COSIGNER.encode().replace("+B", "+A"),
        COSIGNER.encode().replace("w1", "w2"),
        COSIGNER.encode() + "=",
        COSIGNER.encode()[:-4],
    ],
)
def test_what_is_no_key_of_a_witness_is_refused(text: str) -> None:
    with pytest.raises(LedgerError):
        parse_cosigner(text)


def test_it_signs_the_message_of_the_specification() -> None:
    said = f"cosignature/v1\ntime 1679315147\n{TEXT}".encode()
    time, signature = LINE.signature[:8], LINE.signature[8:]
    assert int.from_bytes(time) == TIME
    verify(key(9).public, said, signature, what="the message")


def test_a_cosigned_checkpoint_tells_when() -> None:
    note = parse_note(NOTE.encode())
    assert COSIGNER.verify(note) == TIME
    later = cosign(TEXT, NAME, key(9), time=TIME + 5)
    assert COSIGNER.verify(Note(TEXT, (later, LINE))) == TIME + 5


@given(time=st.integers(1, U63_MAX))
def test_every_time_is_read_back(time: int) -> None:
    assert COSIGNER.verify(Note(TEXT, (cosign(TEXT, NAME, key(9), time=time),))) == time


def test_another_witness_or_another_name_did_not_cosign_it() -> None:
    for other in (Cosigner(NAME, key(8).public), Cosigner("witness.example/w2", key(9).public)):
        with pytest.raises(BadSignature, match="did not cosign"):
            other.verify(NOTE)
    with pytest.raises(BadSignature, match="did not cosign"):
        COSIGNER.verify(Note(TEXT, (replace(LINE, key_id=b"\0\0\0\0"),)))


@pytest.mark.parametrize(
    "signature",
    [
        pytest.param((TIME + 1).to_bytes(8) + LINE.signature[8:], id="another time"),
        pytest.param(bytes(8) + LINE.signature[8:], id="no time"),
        pytest.param((1 << 63).to_bytes(8) + LINE.signature[8:], id="a time beyond all"),
        pytest.param(LINE.signature[:8], id="no signature"),
        pytest.param(LINE.signature[8:], id="a plain signature"),
        pytest.param(LINE.signature + b"\0", id="too long"),
        pytest.param(b"\x01", id="a byte"),
    ],
)
def test_what_it_did_not_sign_is_refused(signature: bytes) -> None:
    with pytest.raises(BadSignature):
        COSIGNER.verify(Note(TEXT, (replace(LINE, signature=signature),)))
    with pytest.raises(BadSignature):  # even beside a good one
        COSIGNER.verify(Note(TEXT, (LINE, replace(LINE, signature=signature))))


def test_another_text_was_not_cosigned() -> None:
    with pytest.raises(BadSignature):
        COSIGNER.verify(Note(TEXT.replace("\n300\n", "\n301\n"), (LINE,)))
