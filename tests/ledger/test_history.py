"""A history: all entries that concern a member, and each way of holding one back, which fails."""

import json
from collections.abc import Callable
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding import encode
from ledger.entry import Entry, Outcome
from ledger.errors import BadProof, BadSignature, LedgerError, Malformed, Mismatch, NoQuorum
from ledger.heads import Head, Heads, first
from ledger.history import FORMAT, History, Standing, parse, parse_json, to_json
from ledger.receipt import Change, Voters
from ledger.validators import EVERYONE, MemberId, ValidatorSet
from tests.ledger.examples import CHAIN, certificate, header, spoiled, validators, values

MEMBER: Final = MemberId(b"\x01" * 16)
OTHER: Final = MemberId(b"\x02" * 16)
FIRST: Final = validators(1, 2, 3, 4)  # from genesis to block 3
SECOND: Final = validators(1, 2, 3, 5)  # blocks 4 to 8
THIRD: Final = validators(1, 2, 3)  # from block 9 on
GENESIS: Final = Voters(0, FIRST)

ENTRIES: Final = tuple(
    Entry(4 + n, 0, 1_800_000_000 + n, MEMBER, bytes((n,)) * 32, 0, b"call", Outcome(n % 2))
    for n in range(5)
)


def _head(entries: tuple[Entry, ...]) -> Head | None:
    head: Head | None = None
    for entry in entries:
        head = first(entry.leaf()) if head is None else head.extend(entry.leaf())
    return head


def _change(height: int, old: ValidatorSet, new: ValidatorSet) -> Change:
    at = header(height, validators_hash=old.hash, next_validators_hash=new.hash)
    return Change(at, certificate(at), new)


CHANGES: Final = (_change(3, FIRST, SECOND), _change(8, SECOND, THIRD))


def _standing(height: int, count: int, voting: ValidatorSet) -> Standing:
    """Return the proof that the first `count` entries concern the member at this height."""
    heads = Heads({OTHER: Head(7, bytes(32))})
    head = _head(ENTRIES[:count])
    if head is not None:
        heads = heads.updated({MEMBER: head})
    at = header(height, heads_root=heads.root, validators_hash=voting.hash)
    return Standing(at, certificate(at), heads.prove(MEMBER))


WHOLE: Final = History(MEMBER, None, _standing(9, 5, THIRD), ENTRIES, CHANGES)
LATER: Final = History(
    MEMBER, _standing(5, 2, SECOND), _standing(9, 5, THIRD), ENTRIES[2:], CHANGES
)


def _refused(history: History, error: type[LedgerError], reason: str) -> None:
    with pytest.raises(error, match=reason):
        history.verify(CHAIN, GENESIS)


def _with(history: History, **changed: object) -> History:
    return msgspec.structs.replace(history, **changed)


def test_all_entries_from_the_beginning_and_between_two_heights_verify() -> None:
    assert WHOLE.verify(CHAIN, GENESIS) == Voters(8, THIRD)
    assert LATER.verify(CHAIN, GENESIS) == Voters(8, THIRD)


def test_one_goes_on_from_validators_that_are_trusted_already() -> None:
    trusted = Voters(3, SECOND)
    for history in (WHOLE, LATER):
        assert _with(history, changes=CHANGES[1:]).verify(CHAIN, trusted) == Voters(8, THIRD)
        with pytest.raises(Mismatch, match="validators of the header"):
            history.verify(CHAIN, trusted)  # a change that is below what is trusted
    with pytest.raises(Mismatch, match="height of the header: expected above 5"):
        _with(LATER, changes=()).verify(CHAIN, Voters(5, SECOND))


def test_that_nothing_concerned_a_member_is_shown_by_no_entries() -> None:
    nothing = _standing(9, 0, THIRD)
    none = History(MEMBER, None, nothing, (), CHANGES)
    none.verify(CHAIN, GENESIS)
    since = _with(none, start=_standing(3, 0, FIRST))
    since.verify(CHAIN, GENESIS)
    _refused(_with(none, entries=ENTRIES[:1]), Mismatch, "number of entries: expected 0, found 1")
    _refused(_with(since, start=_standing(3, 2, FIRST)), Mismatch, "number of entries: expected -2")
    quiet = _with(since, start=_standing(3, 1, FIRST), end=_standing(9, 1, THIRD))
    quiet.verify(CHAIN, GENESIS)


def test_a_start_between_the_announcement_and_the_change_verifies() -> None:
    """The block that announces other validators is signed by those before them."""
    for height, voting in ((3, FIRST), (4, SECOND), (8, SECOND)):
        _with(LATER, start=_standing(height, 2, voting)).verify(CHAIN, GENESIS)


@pytest.mark.parametrize("history", [WHOLE, LATER], ids=["from the beginning", "between"])
@given(data=st.data())
def test_a_withheld_altered_reordered_or_added_entry_is_refused(
    history: History, data: st.DataObject
) -> None:
    entries = list(history.entries)
    at = data.draw(st.integers(0, len(entries) - 1))

    def withhold() -> None:
        del entries[at]

    def add() -> None:
        entries.insert(at, data.draw(st.sampled_from([*ENTRIES, data.draw(values(Entry))])))

    def alter() -> None:
        entries[at] = data.draw(
            values(Entry).filter(lambda other: other != entries[at])
            | st.sampled_from([each for each in ENTRIES if each != entries[at]])
        )

    def reorder() -> None:
        to = data.draw(st.integers(0, len(entries) - 1).filter(lambda to: to != at))
        entries[at], entries[to] = entries[to], entries[at]

    spoil: Callable[[], None] = data.draw(st.sampled_from([withhold, add, alter, reorder]))
    spoil()
    with pytest.raises(Mismatch, match=r"number of entries|head after the entries"):
        _with(history, entries=tuple(entries)).verify(CHAIN, GENESIS)


def test_an_older_end_or_another_members_proof_proves_nothing() -> None:
    _refused(_with(WHOLE, entries=ENTRIES[:4]), Mismatch, "number of entries: expected 5, found 4")
    older = _standing(9, 4, THIRD)
    claimed = _with(WHOLE, end=msgspec.structs.replace(WHOLE.end, proof=older.proof))
    _refused(claimed, BadProof, "another root")
    _refused(_with(WHOLE, member=EVERYONE), BadProof, "not on the member's path")
    swapped = _with(LATER, start=LATER.end, end=LATER.start)
    _refused(swapped, Mismatch, "height of the end: expected above 9, found 5")
    _refused(_with(LATER, start=LATER.end, entries=()), Mismatch, "above 9, found 9")


def test_both_headers_are_those_that_a_quorum_signed() -> None:
    for name in ("start", "end"):
        standing: Standing = getattr(LATER, name)
        at = standing.header
        for other, error, reason in (
            (certificate(at, (1,)), NoQuorum, "1 signatures"),
            (certificate(header(at.height)), Mismatch, "block of the certificate"),
            (msgspec.structs.replace(standing.certificate, round=1), BadSignature, "validator 0"),
        ):
            forged = msgspec.structs.replace(standing, certificate=other)
            _refused(_with(LATER, **{name: forged}), error, reason)
    with pytest.raises(Mismatch, match="chain id"):
        LATER.verify(bytes(32), GENESIS)


def test_a_change_that_is_left_out_invented_or_out_of_order_is_refused() -> None:
    one, two = CHANGES
    for history in (WHOLE, LATER):
        for changes in ((), (one,), (two,), (two, one), (one, one, two), (one, two, two)):
            with pytest.raises(LedgerError):
                _with(history, changes=changes).verify(CHAIN, GENESIS)


@pytest.mark.parametrize("history", [WHOLE, LATER], ids=["from the beginning", "between"])
def test_a_history_is_read_back_from_both_forms(history: History) -> None:
    assert parse(encode(history)) == history
    assert parse_json(to_json(history)) == history
    assert json.loads(to_json(history))["format"] == FORMAT
    parse_json(to_json(history)).verify(CHAIN, GENESIS)


@given(history=values(History))
def test_any_history_is_read_back_and_none_of_chance_verifies(history: History) -> None:
    assert parse_json(to_json(history)) == history
    assert parse(encode(history)) == history
    with pytest.raises(LedgerError):
        history.verify(CHAIN, GENESIS)


@given(data=st.data())
def test_no_byte_of_a_history_may_differ(data: st.DataObject) -> None:
    encoded = encode(LATER)
    near = data.draw(spoiled(encoded))
    if near != encoded:
        with pytest.raises(LedgerError):
            parse(near).verify(CHAIN, GENESIS)


def test_no_bit_of_a_history_may_differ() -> None:
    encoded = encode(LATER)
    for place in range(0, len(encoded), 3):
        near = bytearray(encoded)
        near[place] ^= 1 << place % 8
        with pytest.raises(LedgerError):
            parse(bytes(near)).verify(CHAIN, GENESIS)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "depoli/receipt/1"}', "1"])
def test_what_is_no_history_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match=r"^malformed history: "):
        parse_json(text)
