"""A hash of one kind of thing is none of another."""

from hashlib import sha256
from itertools import permutations

from ledger.hashing import HASH_BYTES, NO_HASH, Domain, hash_of


def test_no_prefix_begins_another_and_each_ends_at_its_only_nul() -> None:
    prefixes = [domain.value for domain in Domain]
    assert len(set(prefixes)) == len(Domain)
    assert not any(one.startswith(other) for one, other in permutations(prefixes, 2))
    assert all(prefix.index(b"\x00") == len(prefix) - 1 for prefix in prefixes)


def test_a_hash_is_sha256_of_the_prefix_and_the_parts() -> None:
    expected = sha256(b"depoli/header/1\x00one two").digest()
    assert hash_of(Domain.HEADER, b"one", b" ", b"two") == expected
    assert expected.hex() == "646f4efdcf189e51fe72b6ba29dbc6059363567f8b3f76b3b77b2b62f409813c"


def test_what_stands_for_no_hash_is_zeros() -> None:
    assert bytes(HASH_BYTES) == NO_HASH
