"""What a witness is shown: verified as receipts are, from genesis on."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.decided import Decided, parse_json, to_json
from ledger.encoding import decode, encode
from ledger.errors import LedgerError, Malformed, Mismatch, NoQuorum
from ledger.receipt import Change
from tests.ledger.examples import CHAIN, certificate, header, validators, values

FIRST: Final = validators(1, 2, 3, 4)
SECOND: Final = validators(1, 2, 3, 5)
TURN: Final = header(3, next_validators_hash=SECOND.hash)
CHANGE: Final = Change(TURN, certificate(TURN), SECOND)
LAST: Final = header(9, validators_hash=SECOND.hash, next_validators_hash=SECOND.hash)
DECIDED: Final = Decided(LAST, certificate(LAST), (CHANGE,))


def test_who_voted_is_told_once_all_is_verified() -> None:
    assert DECIDED.verify(CHAIN, FIRST) == SECOND
    early = header(2)
    assert Decided(early, certificate(early), ()).verify(CHAIN, FIRST) == FIRST


def test_a_block_that_no_quorum_signed_is_refused() -> None:
    with pytest.raises(NoQuorum):
        Decided(LAST, certificate(LAST, (1, 2)), (CHANGE,)).verify(CHAIN, FIRST)
    with pytest.raises(Mismatch, match="validators of the header"):
        Decided(LAST, certificate(LAST), ()).verify(CHAIN, FIRST)
    with pytest.raises(Mismatch, match="chain id"):
        DECIDED.verify(bytes(32), FIRST)


def test_no_bit_of_it_may_differ() -> None:
    encoded = encode(DECIDED)
    for place in range(len(encoded)):
        near = bytearray(encoded)
        near[place] ^= 1 << place % 8
        with pytest.raises(LedgerError):
            decode(bytes(near), Decided).verify(CHAIN, FIRST)


@given(decided=values(Decided))
def test_it_is_read_back_from_json(decided: Decided) -> None:
    assert parse_json(to_json(decided)) == decided


@pytest.mark.parametrize("text", ["", "[]", "1", "{}", '{"format": "depoli/receipt/1"}'])
def test_what_is_no_decided_block_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse_json(text)


@given(junk=st.text(max_size=30), at=st.integers(0, 2000))
def test_any_text_is_a_decided_block_or_refused(junk: str, at: int) -> None:
    text = to_json(DECIDED)
    try:
        assert parse_json(text[:at] + junk + text[at:]).header.version <= 0xFFFF
    except LedgerError:
        return
