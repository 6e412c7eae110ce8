"""Checkpoints: notes that other people's tools read, and their tools' notes read by us."""

import json
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.checkpoint import (
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    Checkpoint,
    Note,
    NoteKey,
    NoteSignature,
    origin,
    parse_checkpoint,
    parse_note,
    parse_verifier_key,
    sign,
)
from ledger.errors import BadKey, BadSignature, LedgerError, Malformed
from ledger.hashing import Hash
from ledger.keys import SigningKey
from tests.ledger.examples import CHAIN, header, key

VECTORS: Final[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "signed_notes.json").read_text(encoding="utf-8")
)
PUBLISHED: Final[dict[str, str]] = VECTORS["published_key"]
HEADER: Final = header(7, log_size=300, log_root=b"\x05" * 32)
CHECKPOINT: Final = Checkpoint.of(HEADER)
SIGNED: Final = Note(CHECKPOINT.encode(), (CHECKPOINT.sign(key(1)), CHECKPOINT.sign(key(2))))


def _note_key(number: int, name: str = origin(CHAIN)) -> NoteKey:
    return NoteKey(name, key(number).public)


def test_the_published_note_verifies_and_its_key_signs_the_same_bytes() -> None:
    verifier = parse_verifier_key(PUBLISHED["verifier_key"])
    assert verifier.encode() == PUBLISHED["verifier_key"]
    note = parse_note(PUBLISHED["note"].encode())
    note.verify(verifier)
    signing_key = SigningKey(bytes.fromhex(PUBLISHED["seed"]))
    assert sign(note.text, verifier.name, signing_key) == note.signatures[0]
    assert note.encode() == PUBLISHED["note"].encode()


@pytest.mark.parametrize("text", VECTORS["well_formed"], ids=["signed-note", "tlog-checkpoint"])
def test_the_notes_of_the_specifications_are_read(text: str) -> None:
    note = parse_note(text.encode())
    assert note.encode() == text.encode()
    assert len(note.signatures[0].signature) == 64
    with pytest.raises(BadSignature):
        note.verify(_note_key(1, note.signatures[0].name))


def test_a_checkpoint_is_four_lines() -> None:
    assert CHECKPOINT.encode() == (
        "depoli/000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
        "300\n"
        "BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU=\n"
        f"block 7 {HEADER.hash.hex()}\n"
    )
    assert parse_checkpoint(CHECKPOINT.encode()) == CHECKPOINT


@given(
    chain=st.binary(min_size=32, max_size=32),
    size=st.integers(0, 2**63 - 1),
    root=st.binary(min_size=32, max_size=32),
    height=st.integers(0, 2**63 - 1),
)
def test_every_checkpoint_is_read_back(chain: bytes, size: int, root: bytes, height: int) -> None:
    checkpoint = Checkpoint(chain, size, Hash(root), height, Hash(root[::-1]))
    assert parse_checkpoint(checkpoint.encode()) == checkpoint


def test_all_who_signed_verify_and_nobody_else() -> None:
    note = parse_note(SIGNED.encode())
    assert note == SIGNED
    note.verify(_note_key(1))
    note.verify(_note_key(2))
    for stranger in (_note_key(3), _note_key(1, "another.example/log")):
        with pytest.raises(BadSignature, match="did not sign with this key"):
            note.verify(stranger)


def test_another_text_is_not_what_was_signed() -> None:
    later = replace(CHECKPOINT, size=301).encode()
    with pytest.raises(BadSignature, match="note by depoli/"):
        Note(later, SIGNED.signatures).verify(_note_key(1))


def test_a_key_that_signs_twice_must_be_right_twice() -> None:
    good = SIGNED.signatures[0]
    spoiled = replace(good, signature=bytes(64))
    with pytest.raises(BadSignature):
        Note(SIGNED.text, (good, spoiled)).verify(_note_key(1))


def test_lines_of_keys_that_are_not_asked_for_do_not_matter() -> None:
    other = NoteSignature("witness.example", b"\x01\x02\x03\x04", b"whatever it is")
    note = parse_note(Note(SIGNED.text, (other, *SIGNED.signatures)).encode())
    note.verify(_note_key(2))


LINE: Final = SIGNED.signatures[0].encode()


@pytest.mark.parametrize(
    "note",
    [
        pytest.param("", id="nothing"),
        pytest.param("text\n", id="no signatures"),
        pytest.param("text\n\n", id="no signature line"),
        pytest.param("text\n" + LINE, id="no blank line"),
        pytest.param("text\n\n" + LINE.rstrip("\n"), id="no final newline"),
        pytest.param("text\n\n" + LINE + "\n", id="a blank line at the end"),
        pytest.param("te\txt\n\n" + LINE, id="a control character"),
        pytest.param("text\r\n\n" + LINE, id="a carriage return"),
        pytest.param("text\n\n" + LINE.replace("— ", "- "), id="a hyphen for the dash"),
        pytest.param("text\n\n" + LINE.replace("— ", "—"), id="no space behind the dash"),
        pytest.param("text\n\n— name\n", id="a name only"),
        pytest.param("text\n\n—  AAAAAAA=\n", id="no name"),
        pytest.param("text\n\n— a+b AAAAAAA=\n", id="a plus in the name"),
        pytest.param("text\n\n— a\u00a0b AAAAAAA=\n", id="another space in the name"),
        pytest.param("text\n\n— name AAAAAAA\n", id="no padding"),
        pytest.param("text\n\n— name AAAAAAB=\n", id="bits behind the end"),
        pytest.param("text\n\n— name AAAA AAA=\n", id="a space in the base64"),
        pytest.param("text\n\n— name AAA-AAA=\n", id="another alphabet"),
        pytest.param("text\n\n— name ÀAAAAAA=\n", id="a letter beyond ASCII"),
        pytest.param("text\n\n— name AAAAAA==\n", id="a key id and no signature"),
        pytest.param("text\n\n" + LINE * (MAX_SIGNATURES + 1), id="too many"),
        pytest.param("t" * MAX_NOTE_BYTES + "\n\n" + LINE, id="too long"),
    ],
)
def test_what_is_no_note_is_refused(note: str) -> None:
    with pytest.raises(Malformed, match=r"^malformed note: "):
        parse_note(note.encode())


def test_as_many_signatures_as_there_may_be_validators_and_witnesses_fit() -> None:
    lines = tuple(CHECKPOINT.sign(key(number)) for number in range(MAX_SIGNATURES))
    note = Note(SIGNED.text, lines)
    assert parse_note(note.encode()) == note


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(Malformed, match="not UTF-8"):
        parse_note(b"\xff\n\n" + LINE.encode())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("depoli/", "other/"),
        ("depoli/00", "depoli/"),
        ("depoli/000102030405060708090a", "depoli/000102030405060708090A"),
        ("depoli/0", "depoli/ "),
        ("\n300\n", "\n0300\n"),
        ("\n300\n", "\n+300\n"),
        ("\n300\n", "\n-300\n"),
        ("\n300\n", "\n\u0663\n"),
        ("\n300\n", "\n9223372036854775808\n"),
        ("\n300\n", "\n" + "9" * 6000 + "\n"),
        ("\n300\n", "\n\n"),
        ("BQU=", "BQV="),
        ("BQUFBQU=", "BQU="),
        ("block ", "blocks "),
        ("block 7 ", "block 07 "),
        ("block 7 ", "block  7 "),
        ("block 7 ", "block 7"),
        ("block 7 ", "block 7 00"),
        ("block", "extra\nblock"),
    ],
)
def test_a_checkpoint_has_one_text(old: str, new: str) -> None:
    text = CHECKPOINT.encode()
    assert old in text
    with pytest.raises(Malformed, match=r"^malformed checkpoint: "):
        parse_checkpoint(text.replace(old, new, 1))


def test_a_checkpoint_ends_with_its_fourth_line() -> None:
    text = CHECKPOINT.encode()
    for other in (text[:-1], text + "\n", text + "x\n"):
        with pytest.raises(Malformed, match="not four lines"):
            parse_checkpoint(other)


def test_a_checkpoint_of_another_kind_of_log_is_refused() -> None:
    with pytest.raises(Malformed):
        parse_checkpoint(parse_note(VECTORS["well_formed"][1].encode()).text)


def _verifier(name: str, data: bytes, id_: str = "") -> str:
    return f"{name}+{id_}+{b64encode(data).decode()}"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", Malformed),
        ("name", Malformed),
        (PUBLISHED["verifier_key"].replace("c74f20a3", "c74f20a4"), Malformed),
        (PUBLISHED["verifier_key"].replace("c74f20a3", "C74F20A3"), Malformed),
        (PUBLISHED["verifier_key"].replace("Peter", "Petra"), Malformed),
        (PUBLISHED["verifier_key"] + "=", Malformed),
        (_verifier("", b"\x01" + key(1).public), Malformed),
        (_verifier("a b", b"\x01" + key(1).public), Malformed),
        (_verifier("name", b"\x02" + key(1).public), Malformed),
        (_verifier("name", b"\x01" + key(1).public[:31]), Malformed),
        (_verifier("name", b"\x01" + bytes(32)), BadKey),
    ],
)
def test_what_is_no_verifier_key_is_refused(text: str, error: type[LedgerError]) -> None:
    with pytest.raises(error):
        parse_verifier_key(text)


@given(junk=st.binary(max_size=80))
def test_any_bytes_are_a_note_or_refused(junk: bytes) -> None:
    for data in (junk, b"text\n\n" + junk, SIGNED.text.encode() + b"\n" + junk):
        try:
            assert parse_note(data).encode() == data
        except Malformed:
            continue


@given(junk=st.text(max_size=80), at=st.integers(0, 200), length=st.integers(0, 3))
def test_any_text_is_a_checkpoint_or_refused(junk: str, at: int, length: int) -> None:
    whole = CHECKPOINT.encode()
    for text in (junk, whole[:at] + junk[:3] + whole[at + length :]):
        try:
            assert parse_checkpoint(text).encode() == text
        except Malformed:
            continue


@given(junk=st.text(max_size=80))
def test_any_text_is_a_verifier_key_or_refused(junk: str) -> None:
    for text in (junk, "name+" + junk, PUBLISHED["verifier_key"] + junk):
        try:
            assert parse_verifier_key(text).encode() == text
        except LedgerError:
            continue
