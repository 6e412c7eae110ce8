"""Who votes: quorums that meet in an honest one, and leaders in turn."""

import math

import msgspec
import pytest

from ledger.encoding import decode, encode
from ledger.errors import Malformed, Mismatch
from ledger.validators import MAX_VALIDATORS, Validator, ValidatorSet, faulty, quorum
from tests.ledger.examples import key, validators


@pytest.mark.parametrize("n", range(1, 200))
def test_two_quorums_meet_in_an_honest_one_and_the_honest_are_a_quorum(n: int) -> None:
    f, q = faulty(n), quorum(n)
    assert 3 * f < n <= 3 * f + 3
    assert q == math.ceil(2 * n / 3)
    assert 2 * q - n >= f + 1
    assert q <= n - f


def test_four_need_three_and_six_need_four() -> None:
    assert [quorum(n) for n in (1, 2, 3, 4, 5, 6, 7)] == [1, 2, 2, 3, 4, 4, 5]
    assert validators(1, 2, 3, 4).quorum == 3


@pytest.mark.parametrize("field", ["member", "consensus_key", "checkpoint_key", "node_key"])
def test_no_two_validators_share_a_member_or_a_key(field: str) -> None:
    one, two = validators(1, 2).members
    twin = msgspec.structs.replace(two, **{field: getattr(one, field)})
    with pytest.raises(ValueError, match=f"two validators share a {field}"):
        ValidatorSet((one, twin))
    encoded = encode([[list(msgspec.structs.astuple(v)) for v in (one, twin)]])
    with pytest.raises(Malformed, match=f"two validators share a {field}"):
        decode(encoded, ValidatorSet)


def test_a_set_has_one_member_at_least_and_a_hundred_at_most() -> None:
    for count in (0, MAX_VALIDATORS + 1):
        many = [
            [bytes(14) + n.to_bytes(2), *[bytes((k,)) * 30 + n.to_bytes(2) for k in range(3)]]
            for n in range(count)
        ]
        with pytest.raises(Malformed):
            decode(encode([many]), ValidatorSet)
    assert len(validators(*range(MAX_VALIDATORS))) == MAX_VALIDATORS


def test_a_validator_is_found_by_its_consensus_key() -> None:
    some = validators(5, 3, 9)
    assert [some.index_of(key(number).public) for number in (5, 3, 9, 4)] == [0, 1, 2, None]
    assert some.index_of(key(1005).public) is None


def test_the_hash_names_members_keys_and_order() -> None:
    assert validators(1, 2).hash != validators(2, 1).hash
    validators(1, 2).verify_hash(validators(1, 2).hash)
    with pytest.raises(Mismatch, match="validators: expected"):
        validators(1, 2).verify_hash(validators(1, 3).hash)


def test_the_hash_is_pinned() -> None:
    lone = ValidatorSet((Validator(bytes(16), bytes(32), b"\x01" * 32, b"\x02" * 32),))
    assert lone.hash.hex() == "4e17001a616b4494bd9a669b39b14f2d82122499f685946a13eabde5f69a89d3"
