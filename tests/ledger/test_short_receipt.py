"""The short form of a receipt says what the whole says; what differs anywhere is not believed."""

from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding import encode
from ledger.entry import Entry, Outcome
from ledger.errors import BadProof, LedgerError, Malformed, Mismatch, OtherVoters
from ledger.hashing import Hash
from ledger.merkle import EMPTY_ROOT, Frontier, inclusion_proof
from ledger.receipt import Change, Receipt
from ledger.short_receipt import (
    MAX_TEXT,
    PREFIX,
    Older,
    ShortReceipt,
    parse_text,
    shorten,
    to_text,
)
from ledger.validators import MAX_VALIDATORS, ValidatorSet
from tests.ledger.examples import CHAIN, certificate, header, spoiled, validators, values

FIRST: Final = validators(1, 2, 3, 4)  # from genesis to block 3
SECOND: Final = validators(1, 2, 3, 5)  # block 4 to 8; its fourth key is number 5
THIRD: Final = validators(1, 2, 3)  # from block 9 on
ENTRY: Final = Entry(5, 2, 1_800_000_005, b"\x01" * 16, b"\x02" * 32, 3, b"a call", Outcome(0))


def _log() -> tuple[Hash, tuple[Hash, ...]]:
    nodes: dict[tuple[int, int], Hash] = {}
    leaves = [Hash(bytes((number,)) * 32) for number in range(8)]
    leaves[3] = ENTRY.leaf()
    frontier = Frontier().append(leaves, lambda lv, ix, h: nodes.update({(lv, ix): h}))
    return frontier.root, inclusion_proof(3, 8, lambda level, index: nodes[level, index])


ROOT, PROOF = _log()


def _change(height: int, old: ValidatorSet, new: ValidatorSet) -> Change:
    at = header(height, validators_hash=old.hash, next_validators_hash=new.hash)
    return Change(at, certificate(at), new)


def _receipt(height: int, voters: ValidatorSet, *changes: Change, **said: object) -> Receipt:
    usual: dict[str, object] = {
        "log_size": 8,
        "log_root": ROOT,
        "validators_hash": voters.hash,
        "next_validators_hash": voters.hash,
        "proposer": voters.members[1].member,
        "evidence_root": EMPTY_ROOT,
    }
    at = header(height, **(usual | said))
    return Receipt(ENTRY, 3, PROOF, at, certificate(at), changes)


CHANGES: Final = (_change(3, FIRST, SECOND), _change(8, SECOND, THIRD))
OWN: Final = _receipt(5, FIRST)  # the block of the entry, which has no evidence and changes nothing
LATER: Final = _receipt(9, THIRD, *CHANGES)
TURN: Final = _receipt(
    8, SECOND, CHANGES[0], next_validators_hash=THIRD.hash, evidence_root=bytes(32)
)
RECEIPTS: Final = [(OWN, FIRST), (LATER, THIRD), (TURN, SECOND)]


@pytest.mark.parametrize(("receipt", "voters"), RECEIPTS, ids=["own", "later", "turn"])
def test_the_whole_follows_from_the_short_form(receipt: Receipt, voters: ValidatorSet) -> None:
    short = parse_text(to_text(shorten(receipt, voters)))
    found = short.expand(CHAIN, FIRST, receipt.changes)
    assert found == receipt
    found.verify(CHAIN, FIRST)


def test_the_changes_of_any_later_file_will_do() -> None:
    assert shorten(TURN, SECOND).expand(CHAIN, FIRST, CHANGES) == TURN


def test_it_is_a_third_of_the_whole_at_most() -> None:
    assert 3 * len(encode(shorten(LATER, THIRD))) < len(encode(LATER))


def test_without_the_changes_since_it_is_told_that_they_are_missing() -> None:
    short = shorten(LATER, THIRD)
    for changes in ((), CHANGES[:1]):
        with pytest.raises(OtherVoters, match="as far as their changes are known") as told:
            short.expand(CHAIN, FIRST, changes)
        assert told.value.height == 9
        assert told.value.found == THIRD.hash[:4]


def test_changes_that_were_never_signed_are_not_believed() -> None:
    usurpers = validators(5, 6, 7)
    at = header(3, validators_hash=FIRST.hash, next_validators_hash=usurpers.hash)
    forged = Change(at, certificate(at, (5, 6, 7)), usurpers)
    true = _receipt(5, usurpers)
    seals = tuple(
        msgspec.structs.replace(seal, validator=index)
        for index, seal in enumerate(certificate(true.header, (5, 6, 7)).seals)
    )
    signed = msgspec.structs.replace(true.certificate, seals=seals)
    receipt = msgspec.structs.replace(true, certificate=signed, changes=(forged,))
    found = shorten(receipt, usurpers).expand(CHAIN, FIRST, (forged,))
    assert found == receipt
    with pytest.raises(LedgerError):
        found.verify(CHAIN, FIRST)


def test_another_chain_is_told_at_once() -> None:
    with pytest.raises(Mismatch, match="beginning of the chain id: expected 00000000"):
        shorten(OWN, FIRST).expand(bytes(32), FIRST)


def test_who_proposed_is_one_of_those_who_voted() -> None:
    strange = _receipt(5, FIRST, proposer=b"\x99" * 16)
    with pytest.raises(Mismatch, match="proposer: expected one of the validators"):
        shorten(strange, FIRST)
    short = msgspec.structs.replace(shorten(OWN, FIRST), proposer=4)
    with pytest.raises(Mismatch, match="proposer: expected below 4, found 4"):
        short.expand(CHAIN, FIRST)


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        ({"evidence_root": EMPTY_ROOT}, Malformed, "follows from the rest"),
        ({"next_validators_hash": FIRST.hash}, Malformed, "follows from the rest"),
        ({"older": Older(5, OWN.header.time)}, Malformed, "follows from the rest"),
        ({"signatures": bytes(64)}, Malformed, "3 signers, 1 signatures"),
        ({"signatures": bytes(65)}, Malformed, "65 bytes where each part has 64"),
        ({"proof": bytes(33)}, Malformed, "33 bytes where each part has 32"),
        ({"proof": bytes(32)}, BadProof, "too short"),
        ({"log_index": 8}, BadProof, "outside a tree of 8"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_one_receipt_has_one_short_form(
    change: dict[str, object], error: type[LedgerError], reason: str
) -> None:
    short = msgspec.structs.replace(shorten(OWN, FIRST), **change)
    with pytest.raises(error, match=reason):
        short.expand(CHAIN, FIRST)


@pytest.mark.parametrize(("receipt", "voters"), RECEIPTS, ids=["own", "later", "turn"])
def test_no_bit_of_it_may_differ(receipt: Receipt, voters: ValidatorSet) -> None:
    encoded = encode(shorten(receipt, voters))
    for place in range(len(encoded)):
        bit = 1 << place % 8
        near = encoded[:place] + bytes((encoded[place] ^ bit,)) + encoded[place + 1 :]
        with pytest.raises(LedgerError):
            _verify(near)


@given(data=st.data())
def test_no_byte_of_it_may_differ_and_none_be_missing(data: st.DataObject) -> None:
    encoded = encode(shorten(LATER, THIRD))
    near = data.draw(spoiled(encoded))
    if near != encoded:
        with pytest.raises(LedgerError):
            _verify(near)


@given(data=st.data())
def test_a_text_near_it_is_refused_or_says_the_same(data: st.DataObject) -> None:
    text = to_text(shorten(LATER, THIRD))
    near = data.draw(spoiled(text.encode())).decode(errors="replace")
    try:
        found = parse_text(near).expand(CHAIN, FIRST, CHANGES)
        found.verify(CHAIN, FIRST)
    except LedgerError:
        return
    assert found == LATER  # white space was put in


def _verify(encoded: bytes) -> None:
    """Verify what has this encoding, in the text that says so."""
    groups = (encoded[at : at + 7] for at in range(0, len(encoded), 7))
    lengths = (0, 3, 5, 8, 10, 13, 15, 17)
    digits = "".join(f"{int.from_bytes(each):0{lengths[len(each)]}}" for each in groups)
    parse_text(PREFIX + digits).expand(CHAIN, FIRST, CHANGES).verify(CHAIN, FIRST)


@given(short=values(ShortReceipt))
def test_any_short_form_is_read_back_and_none_of_chance_verifies(short: ShortReceipt) -> None:
    text = to_text(short)
    assert parse_text(text) == short
    assert parse_text(f"\n{text[:40]}\r\n {text[40:]} ") == short
    with pytest.raises(LedgerError):
        short.expand(CHAIN, FIRST, CHANGES).verify(CHAIN, FIRST)


def test_the_longest_fits_in_what_is_read() -> None:
    signers = tuple(range(MAX_VALIDATORS))
    longest = msgspec.structs.replace(
        shorten(OWN, FIRST),
        call=bytes(16_384),
        proof=bytes(63 * 32),
        signers=signers,
        signatures=bytes(64 * len(signers)),
    )
    text = to_text(longest)
    assert parse_text(text) == longest
    with pytest.raises(Malformed, match=f"{MAX_TEXT + 1} characters, at most"):
        parse_text(text.ljust(MAX_TEXT + 1))


@pytest.mark.parametrize(
    "text",
    [
        "",
        PREFIX,
        "DEPOLI2:123",
        PREFIX + "12a",
        PREFIX + "\u0661\u0662\u0663",
        f"{PREFIX}1\u00a02",
        "123",
        f"{PREFIX}{PREFIX}123",
    ],
)
def test_what_is_no_text_of_a_receipt_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match=r"^malformed short receipt: "):
        parse_text(text)


@pytest.mark.parametrize("digits", ["1", "12", "1234", "256", "99999999999999999", "0" * 16])
def test_digits_that_are_none_of_bytes_are_refused(digits: str) -> None:
    with pytest.raises(Malformed, match="digits are missing, or are not those of bytes"):
        parse_text(PREFIX + digits)
