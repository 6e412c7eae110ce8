"""A receipt: what an outsider believes, and each thing that he must not."""

import json
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding import encode
from ledger.entry import Entry, Outcome
from ledger.errors import BadProof, BadSignature, LedgerError, Malformed, Mismatch, NoQuorum
from ledger.hashing import Hash
from ledger.merkle import Frontier, inclusion_proof
from ledger.receipt import FORMAT, Change, Receipt, parse, parse_json, to_json
from ledger.validators import ValidatorSet
from tests.ledger.examples import CHAIN, certificate, header, spoiled, validators, values

FIRST: Final = validators(1, 2, 3, 4)  # from genesis to block 3
SECOND: Final = validators(1, 2, 3, 5)  # blocks 4 to 8; its fourth key is number 5
THIRD: Final = validators(1, 2, 3)  # from block 9 on

ENTRIES: Final = [
    Entry(5, n, 1_800_000_005, b"\x01" * 16, bytes((n,)) * 32, n, b"call", Outcome(0))
    for n in range(6)
]


def _log() -> tuple[Hash, tuple[Hash, ...]]:
    """Return the root of a log of 8, the entries from number 1 on, and the proof of number 3."""
    nodes: dict[tuple[int, int], Hash] = {}
    leaves = [Hash(b"\x07" * 32), *(entry.leaf() for entry in ENTRIES), Hash(b"\x08" * 32)]
    frontier = Frontier().append(leaves, lambda lv, ix, h: nodes.update({(lv, ix): h}))
    return frontier.root, inclusion_proof(3, 8, lambda level, index: nodes[level, index])


ROOT, PROOF = _log()


def _change(height: int, old: ValidatorSet, new: ValidatorSet) -> Change:
    at = header(height, validators_hash=old.hash, next_validators_hash=new.hash)
    return Change(at, certificate(at), new)


def _receipt(height: int, voting: ValidatorSet, *changes: Change) -> Receipt:
    at = header(
        height,
        log_size=8,
        log_root=ROOT,
        validators_hash=voting.hash,
        next_validators_hash=voting.hash,
    )
    return Receipt(ENTRIES[2], 3, PROOF, at, certificate(at), changes)


CHANGES: Final = (_change(3, FIRST, SECOND), _change(8, SECOND, THIRD))
EARLY: Final = _receipt(5, FIRST)
LATE: Final = _receipt(9, THIRD, *CHANGES)


def _refused(receipt: Receipt, error: type[LedgerError], reason: str) -> None:
    with pytest.raises(error, match=reason):
        receipt.verify(CHAIN, FIRST)


def test_a_receipt_of_the_entrys_block_or_of_a_later_one_verifies() -> None:
    EARLY.verify(CHAIN, FIRST)
    _receipt(900, FIRST).verify(CHAIN, FIRST)


def test_validators_are_followed_from_genesis() -> None:
    LATE.verify(CHAIN, FIRST)
    _receipt(6, SECOND, CHANGES[0]).verify(CHAIN, FIRST)


def test_another_chain_or_another_genesis_is_not_believed() -> None:
    with pytest.raises(Mismatch, match="chain id of the header"):
        EARLY.verify(bytes(32), FIRST)
    with pytest.raises(Mismatch, match="validators of the header"):
        EARLY.verify(CHAIN, SECOND)


@pytest.mark.parametrize(
    "change",
    [
        {"sender": bytes(16)},
        {"transaction": b"\x09" * 32},
        {"position": 9},
        {"index": 9},
        {"call": b"another"},
        {"outcome": Outcome(1)},
        {"height": 4},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_entry_that_differs_anywhere_is_not_in_the_log(change: dict[str, object]) -> None:
    other = msgspec.structs.replace(ENTRIES[2], **change)
    _refused(msgspec.structs.replace(EARLY, entry=other), BadProof, "another root")


def test_an_entry_of_another_time_or_a_later_height_is_refused() -> None:
    for change, reason in (
        ({"time": 1}, "time of the entry: expected 1800000005, found 1"),
        ({"height": 6}, "height of the entry: expected up to 5, found 6"),
    ):
        other = msgspec.structs.replace(ENTRIES[2], **change)
        _refused(msgspec.structs.replace(EARLY, entry=other), Mismatch, reason)


def test_an_entry_is_proved_at_its_number_only() -> None:
    for number in (0, 2, 4, 7):
        moved = msgspec.structs.replace(EARLY, log_index=number)
        _refused(moved, BadProof, "another root")
    _refused(msgspec.structs.replace(EARLY, log_index=8), BadProof, "index 8 outside a tree of 8")
    _refused(msgspec.structs.replace(EARLY, proof=PROOF[:-1]), BadProof, "too short")


def test_a_header_that_differs_anywhere_is_not_the_one_that_was_committed() -> None:
    for name in ("time", "log_root", "log_size", "heads_root", "state_digest", "parent"):
        old = getattr(EARLY.header, name)
        new = old + 1 if isinstance(old, int) else bytes(32) if any(old) else b"\x01" * 32
        other = msgspec.structs.replace(EARLY.header, **{name: new})
        _refused(msgspec.structs.replace(EARLY, header=other), Mismatch, "block of the certificate")


def test_a_certificate_is_of_this_block_and_of_a_quorum() -> None:
    for other, error, reason in (
        (certificate(header(5)), Mismatch, "block of the certificate"),
        (certificate(header(6)), Mismatch, "height of the certificate"),
        (certificate(EARLY.header, (1, 2)), NoQuorum, "2 signatures where a quorum needs 3"),
        (msgspec.structs.replace(EARLY.certificate, round=1), BadSignature, "validator 0"),
    ):
        _refused(msgspec.structs.replace(EARLY, certificate=other), error, reason)


def test_a_change_that_is_left_out_invented_or_out_of_order_is_refused() -> None:
    one, two = CHANGES
    later_set = "validators of the header"
    for changes, error, reason in (
        ((), Mismatch, later_set),
        ((one,), Mismatch, later_set),
        ((two,), Mismatch, later_set),
        ((two, one), Mismatch, later_set),
        ((one, one, two), Mismatch, later_set),
        ((one, msgspec.structs.replace(two, validators=SECOND)), Mismatch, "^validators: "),
        ((one, _change(3, SECOND, THIRD)), Mismatch, "height of the header: expected above 3"),
        ((one, _change(9, SECOND, THIRD)), Mismatch, "height of the header: expected above 9"),
        (
            (msgspec.structs.replace(one, certificate=certificate(one.header, (1, 2))), two),
            NoQuorum,
            "2 signatures",
        ),
    ):
        _refused(msgspec.structs.replace(LATE, changes=changes), error, reason)


def test_validators_do_not_name_themselves() -> None:
    """Who is not in the set of genesis cannot put himself there with his own signatures."""
    usurpers = validators(1, 5, 6, 7)
    at = header(3, validators_hash=FIRST.hash, next_validators_hash=usurpers.hash)
    forged = Change(at, certificate(at, (1, 5, 6)), usurpers)
    with pytest.raises(BadSignature, match="validator 4 of 4"):
        _receipt(9, usurpers, forged).verify(CHAIN, FIRST)


@pytest.mark.parametrize("receipt", [EARLY, LATE], ids=["without changes", "with changes"])
def test_a_receipt_is_read_back_from_both_forms(receipt: Receipt) -> None:
    assert parse(encode(receipt)) == receipt
    assert parse_json(to_json(receipt)) == receipt
    assert json.loads(to_json(receipt))["format"] == FORMAT
    parse_json(to_json(receipt)).verify(CHAIN, FIRST)


@given(receipt=values(Receipt))
def test_any_receipt_is_read_back_and_none_of_chance_verifies(receipt: Receipt) -> None:
    assert parse_json(to_json(receipt)) == receipt
    assert parse(encode(receipt)) == receipt
    with pytest.raises(LedgerError):
        receipt.verify(CHAIN, FIRST)


@given(data=st.data())
def test_no_byte_of_a_receipt_may_differ(data: st.DataObject) -> None:
    encoded = encode(LATE)
    near = data.draw(spoiled(encoded))
    if near != encoded:
        with pytest.raises(LedgerError):
            parse(near).verify(CHAIN, FIRST)


def test_no_bit_of_a_receipt_may_differ() -> None:
    encoded = encode(LATE)
    for place in range(len(encoded)):
        near = bytearray(encoded)
        near[place] ^= 1 << place % 8
        with pytest.raises(LedgerError):
            parse(bytes(near)).verify(CHAIN, FIRST)


@given(data=st.data())
def test_json_near_a_receipt_is_refused_or_says_the_same(data: st.DataObject) -> None:
    near = data.draw(spoiled(to_json(EARLY).encode())).decode(errors="surrogateescape")
    try:
        receipt = parse_json(near)
        receipt.verify(CHAIN, FIRST)
    except LedgerError:
        return
    assert receipt == EARLY


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": "depoli/receipt/2"}', f'{{"format": "{FORMAT}"}}', '"' + FORMAT],
)
def test_what_is_no_receipt_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match=r"^malformed receipt: "):
        parse_json(text)
