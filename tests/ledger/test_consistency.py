"""A consistency proof: what was in the log is in it still, and nothing in the proof may differ."""

import json
from typing import Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.consistency import FORMAT, Certified, Consistency, parse_json, to_json
from ledger.encoding import decode, encode
from ledger.errors import BadProof, LedgerError, Malformed, Mismatch, NoQuorum
from ledger.hashing import Hash
from ledger.merkle import consistency_proof, leaf_hash, node_hash, root_at
from ledger.receipt import Change, Voters
from ledger.validators import ValidatorSet
from tests.ledger.examples import CHAIN, certificate, header, spoiled, validators, values

FIRST: Final = validators(1, 2, 3, 4)  # from genesis to block 3
SECOND: Final = validators(1, 2, 3, 5)  # blocks 4 to 8; its fourth key is number 5
THIRD: Final = validators(1, 2, 3)  # from block 9 on
BEGINNING: Final = Voters(0, FIRST)


def _node_at(level: int, index: int) -> Hash:
    """Return nodes of the log of a chain that takes one entry with each block."""
    if level == 0:
        return leaf_hash(bytes((index,)))
    return node_hash(_node_at(level - 1, 2 * index), _node_at(level - 1, 2 * index + 1))


def _certified(height: int, voters: ValidatorSet, after: ValidatorSet | None = None) -> Certified:
    said: dict[str, object] = {
        "log_size": height,
        "log_root": root_at(height, _node_at),
        "validators_hash": voters.hash,
        "next_validators_hash": (after or voters).hash,
    }
    at = header(height, **said)
    return Certified(at, certificate(at))


def _change(height: int, old: ValidatorSet, new: ValidatorSet) -> Change:
    at = _certified(height, old, new)
    return Change(at.header, at.certificate, new)


CHANGES: Final = (_change(3, FIRST, SECOND), _change(8, SECOND, THIRD))
VOTING: Final = {2: FIRST, 3: FIRST, 5: SECOND, 8: SECOND, 9: THIRD, 13: THIRD}


def _proof(first: int, second: int) -> Consistency:
    def at(height: int) -> Certified:
        turn = next((each for each in CHANGES if each.header.height == height), None)
        if turn is not None:
            return Certified(turn.header, turn.certificate)
        return _certified(height, VOTING[height])

    proof = consistency_proof(first, second, _node_at)
    changes = tuple(each for each in CHANGES if each.header.height < second)
    return Consistency(at(first), at(second), proof, changes)


TRUE: Final = _proof(5, 13)


@pytest.mark.parametrize("second", VOTING)
@pytest.mark.parametrize("first", VOTING)
def test_any_two_headers_are_proved_in_their_order(first: int, second: int) -> None:
    if first < second:
        assert _proof(first, second).verify(CHAIN, BEGINNING).validators == VOTING[second]
        return
    turned = _proof(second, first) if second < first else TRUE
    turned = msgspec.structs.replace(turned, first=turned.second, second=turned.first)
    with pytest.raises(Mismatch, match="height of the second: expected above"):
        turned.verify(CHAIN, BEGINNING)


def test_a_header_does_not_follow_itself() -> None:
    again = msgspec.structs.replace(TRUE, first=TRUE.second, proof=())
    with pytest.raises(Mismatch, match="height of the second: expected above 13, found 13"):
        again.verify(CHAIN, BEGINNING)


def test_who_trusts_a_later_header_needs_the_changes_since_only() -> None:
    known = Voters(CHANGES[0].header.height, SECOND)
    since = msgspec.structs.replace(TRUE, changes=CHANGES[1:])
    assert since.verify(CHAIN, known) == Voters(8, THIRD)
    with pytest.raises(Mismatch, match="validators of the header"):
        since.verify(CHAIN, BEGINNING)


def test_a_log_that_is_no_continuation_is_refused() -> None:
    at = header(
        13,
        log_size=13,
        log_root=root_at(12, _node_at),
        validators_hash=THIRD.hash,
        next_validators_hash=THIRD.hash,
    )
    other = msgspec.structs.replace(TRUE, second=Certified(at, certificate(at)))
    with pytest.raises(BadProof, match="other roots"):
        other.verify(CHAIN, BEGINNING)
    with pytest.raises(BadProof, match="too short"):
        msgspec.structs.replace(TRUE, proof=TRUE.proof[:-1]).verify(CHAIN, BEGINNING)


@pytest.mark.parametrize("name", ["first", "second"])
def test_both_headers_were_committed_by_a_quorum_of_their_height(name: str) -> None:
    true = getattr(TRUE, name)
    few = Certified(true.header, certificate(true.header, (1,)))
    with pytest.raises(NoQuorum):
        msgspec.structs.replace(TRUE, **{name: few}).verify(CHAIN, BEGINNING)
    with pytest.raises(Mismatch, match="chain id of the header"):
        TRUE.verify(bytes(32), BEGINNING)
    for changes in ((), CHANGES[:1], CHANGES[1:], CHANGES[::-1]):
        with pytest.raises(LedgerError):
            msgspec.structs.replace(TRUE, changes=changes).verify(CHAIN, BEGINNING)


def test_no_bit_of_it_may_differ() -> None:
    encoded = encode(TRUE)
    for place in range(len(encoded)):
        near = bytearray(encoded)
        near[place] ^= 1 << place % 8
        with pytest.raises(LedgerError):
            decode(bytes(near), Consistency).verify(CHAIN, BEGINNING)


@given(data=st.data())
def test_json_near_it_is_refused_or_says_the_same(data: st.DataObject) -> None:
    near = data.draw(spoiled(to_json(TRUE).encode())).decode(errors="surrogateescape")
    try:
        found = parse_json(near)
        found.verify(CHAIN, BEGINNING)
    except LedgerError:
        return
    assert found == TRUE


@settings(max_examples=max(10, settings().max_examples // 4))
@given(found=values(Consistency))
def test_any_is_read_back_and_none_of_chance_verifies(found: Consistency) -> None:
    assert parse_json(to_json(found)) == found
    with pytest.raises(LedgerError):
        found.verify(CHAIN, BEGINNING)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ("[]", f"not an object with format {FORMAT}"),
        ('{"format": 1}', f"not an object with format {FORMAT}"),
        ('{"format": "depoli/consistency/2"}', "something else, or of another version"),
        ('{"format": "depoli/receipt/1"}', "of the format 'depoli/receipt/1'"),
        (json.dumps({"format": FORMAT}), "fields missing"),
    ],
)
def test_what_is_none_is_refused(text: str, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        parse_json(text)
