"""One value, one encoding; and what a decoder does with anything else."""

import tracemalloc

import msgpack
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.block import Body, CommittedBlock, Header
from ledger.encoding import U63_MAX, Struct, decode, encode
from ledger.entry import Outcome
from ledger.errors import Malformed
from tests.ledger.examples import encoded_types, spoiled, values

# Each of the many types gets a share of what the profile gives to a property.
share = settings(max_examples=max(10, settings().max_examples // 4))
every_type = pytest.mark.parametrize(
    "type_", encoded_types(), ids=lambda type_: f"{type_.__module__}.{type_.__name__}"
)


def test_all_encoded_types_are_tried() -> None:
    names = {type_.__name__ for type_ in encoded_types()}
    assert {"Header", "CommittedBlock", "Unsigned", "Entry", "HeadProof", "Receipt"} <= names


@every_type
@share
@given(data=st.data())
def test_what_was_encoded_is_decoded_and_nothing_near_it_but_canonically(
    type_: type[Struct], data: st.DataObject
) -> None:
    value = data.draw(values(type_))
    encoded = encode(value)
    assert decode(encoded, type_) == value
    assert msgpack.packb(_lists(value), use_bin_type=True) == encoded  # another library agrees
    near = data.draw(spoiled(encoded))
    try:
        found = decode(near, type_)
    except Malformed:
        return
    assert encode(found) == near


@every_type
@share
@given(junk=st.binary(max_size=200))
def test_any_bytes_are_refused_or_are_the_encoding(type_: type[Struct], junk: bytes) -> None:
    try:
        found = decode(junk, type_)
    except Malformed:
        return
    assert encode(found) == junk


def _lists(value: object) -> object:
    if isinstance(value, Struct):
        return [_lists(item) for item in msgspec.structs.astuple(value)]
    return [_lists(item) for item in value] if isinstance(value, tuple) else value


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x92\xcc\x01\x90", id="a longer integer than needed"),
        pytest.param(b"\x92\x01\xdc\x00\x00", id="a longer array than needed"),
        pytest.param(b"\xdc\x00\x02\x01\x90", id="a struct in a longer array"),
        pytest.param(b"\x92\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00\x90", id="a float"),
        pytest.param(b"\x92\xc3\x90", id="a bool for an integer"),
        pytest.param(b"\x92\xc0\x90", id="nil for an integer"),
        pytest.param(b"\x92\xff\x90", id="a negative integer"),
        pytest.param(b"\x92\xce\x00\x01\x00\x00\x90", id="an integer out of bounds"),
        pytest.param(b"\x92\x01\x95\x01\x01\x01\x01\x01", id="too many items"),
        pytest.param(b"\x82\xa4code\x01\xa8evidence\x90", id="a map"),
        pytest.param(b"\x92\xd4\x01\x00\x90", id="an extension"),
        pytest.param(b"\x91\x01", id="a field too few, though it has a default"),
        pytest.param(b"\x93\x01\x90\x90", id="a field too many"),
        pytest.param(b"\x92\x01\x90\x00", id="a byte behind the end"),
        pytest.param(b"\x92\x01", id="a byte short of the end"),
    ],
)
def test_a_second_encoding_is_refused(data: bytes) -> None:
    assert encode(Outcome(1)) == b"\x92\x01\x90"
    with pytest.raises(Malformed):
        decode(data, Outcome)


def test_text_for_bytes_is_refused() -> None:
    assert decode(b"\x93\xc0\x90\x91\xc4\x01a", Body) == Body(None, (), (b"a",))
    with pytest.raises(Malformed):
        decode(b"\x93\xc0\x90\x91\xa1a", Body)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x91" * 3_000_000, id="nested without end"),
        pytest.param(b"\x93\x92\x90\x93\xc0\x90\xdd\xff\xff\xff\xff", id="four billion items"),
        pytest.param(b"\x93\xc0\x90\x91\xc6\xff\xff\xff\xff", id="four billion bytes"),
    ],
)
@pytest.mark.parametrize("type_", [Body, CommittedBlock, Header])
def test_hostile_lengths_and_depths_cost_nothing(type_: type[Struct], data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(Malformed):
            decode(data, type_)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_the_error_names_the_kind() -> None:
    with pytest.raises(Malformed, match=r"^malformed outcome: "):
        decode(b"\xc0", Outcome)
    with pytest.raises(Malformed, match=r"^malformed verdict: ") as refused:
        decode(b"\xc0", Outcome, kind="verdict")
    assert refused.value.kind == "verdict"
    with pytest.raises(Malformed, match=r"^malformed tuple"):
        decode(b"\xc0", tuple[int, ...])


def test_integers_go_up_to_63_bits() -> None:
    top = Outcome(0, (U63_MAX,))
    assert decode(encode(top), Outcome) == top
    with pytest.raises(Malformed):
        decode(encode(Outcome(0, (U63_MAX + 1,))), Outcome)
