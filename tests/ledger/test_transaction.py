"""A transaction: what is signed, what is named, and what is refused."""

from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding import decode, encode
from ledger.errors import BadSignature, Malformed
from ledger.hashing import Domain, hash_of
from ledger.keys import verify
from ledger.transaction import (
    MAX_CALL_BYTES,
    MAX_CALLS,
    MAX_TRANSACTION_BYTES,
    Transaction,
    Unsigned,
    created_id,
    parse,
    sign,
)
from tests.ledger.examples import CHAIN, key, spoiled, values

BODY = Unsigned(1, CHAIN, b"\x07" * 16, b"\x08" * 8, 1_800_000_000, b"\x09" * 16, (b"one", b"two"))


@given(body=values(Unsigned))
def test_what_was_signed_is_parsed_and_verifies(body: Unsigned) -> None:
    signed = sign(body, key(1))
    parsed = parse(signed.raw)
    assert parsed == signed
    assert hash(parsed) == hash(signed)
    assert (parsed.body, parsed.id, parsed.leaf) == (body, signed.id, signed.leaf)
    verify(key(1).public, parsed.signed_message, parsed.signature, what="it")
    with pytest.raises(BadSignature):
        verify(key(2).public, parsed.signed_message, parsed.signature, what="it")


def test_the_id_leaves_the_signature_out_and_the_leaf_has_it_in() -> None:
    one, two = sign(BODY, key(1)), sign(BODY, key(2))
    assert one.id == two.id == hash_of(Domain.TRANSACTION, encode(BODY))
    assert one.leaf == sha256(b"\x00" + one.raw).digest()
    assert one.leaf != two.leaf
    assert one != two
    assert one != one.raw


def test_the_bytes_are_pinned() -> None:
    signed = sign(BODY, key(1))
    assert signed.raw[:4].hex() == "92c46297"
    assert signed.raw[3 : 3 + 0x62] == encode(BODY)
    assert signed.signed_message == b"depoli/sign/transaction/1\x00" + signed.id
    assert signed.id.hex() == "a2a42027cd993602c6303cbb1d78163e2426af260e187cc43a58dc359734a0cc"


@given(data=st.data())
def test_nothing_near_a_transaction_is_another_one_but_canonically(data: st.DataObject) -> None:
    near = data.draw(spoiled(sign(BODY, key(1)).raw))
    try:
        parsed = parse(near)
    except Malformed:
        return
    assert encode([encode(parsed.body), parsed.signature]) == parsed.raw == near


@given(junk=st.binary(max_size=300))
def test_any_bytes_are_a_transaction_or_refused(junk: bytes) -> None:
    with pytest.raises(Malformed, match=r"^malformed transaction: "):
        parse(junk)


def _parsed(body: Unsigned) -> Transaction:
    return parse(sign(body, key(1)).raw)


def test_calls_are_bounded_in_number_and_in_length() -> None:
    most = msgspec.structs.replace(BODY, calls=(b"c",) * MAX_CALLS)
    longest = msgspec.structs.replace(BODY, calls=(bytes(MAX_CALL_BYTES),))
    assert [len(_parsed(body).body.calls) for body in (most, longest)] == [MAX_CALLS, 1]
    for calls in ((), (b"",), (b"c",) * (MAX_CALLS + 1), (bytes(MAX_CALL_BYTES + 1),)):
        with pytest.raises(Malformed):
            _parsed(msgspec.structs.replace(BODY, calls=calls))


def test_a_transaction_is_bounded_as_a_whole() -> None:
    full = msgspec.structs.replace(BODY, calls=(bytes(MAX_CALL_BYTES),) * 4)
    assert len(sign(full, key(1)).raw) > MAX_TRANSACTION_BYTES
    with pytest.raises(Malformed, match=f"at most {MAX_TRANSACTION_BYTES}"):
        _parsed(full)


def test_another_version_is_refused() -> None:
    with pytest.raises(Malformed):
        _parsed(msgspec.structs.replace(BODY, version=2))


def test_an_encoding_inside_that_is_not_canonical_is_refused() -> None:
    time = (1_800_000_000).to_bytes(4)
    unsigned = encode(BODY).replace(b"\xce" + time, b"\xcf" + bytes(4) + time)
    assert len(unsigned) == len(encode(BODY)) + 4
    with pytest.raises(Malformed, match="not the canonical encoding"):
        parse(encode([unsigned, bytes(64)]))


def test_each_call_of_a_transaction_creates_something_of_its_own() -> None:
    one = sign(BODY, key(1)).id
    ids = {created_id(one, position) for position in range(256)}
    assert len(ids) == 256
    assert created_id(one, 1) == sha256(b"depoli/call/1\x00" + one + b"\x00\x00\x00\x01").digest()


def test_an_unsigned_transaction_is_a_canonical_struct() -> None:
    assert decode(encode(BODY), Unsigned) == BODY
