"""The state digest: a sum over a set, in whatever order it came about."""

from hashlib import sha256, shake_128

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import digest
from ledger.digest import LANES, SUM_BYTES, StateDigest
from ledger.errors import Malformed

pairs = st.lists(
    st.tuples(st.binary(max_size=4), st.binary(max_size=4)), max_size=8, unique_by=lambda p: p[0]
)


def _lanes(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + 2], "little") for at in range(0, SUM_BYTES, 2)]


def _defined(content: list[tuple[bytes, bytes]]) -> bytes:
    """Return the sum, lane by lane."""
    lanes = [0] * LANES
    for key, value in content:
        tagged = b"depoli/state/element/1\x00" + len(key).to_bytes(4) + key + value
        element = _lanes(shake_128(tagged).digest(SUM_BYTES))
        lanes = [(one + other) % 65536 for one, other in zip(lanes, element, strict=True)]
    return b"".join(lane.to_bytes(2, "little") for lane in lanes)


@given(content=pairs)
def test_the_sum_is_as_defined(content: list[tuple[bytes, bytes]]) -> None:
    assert StateDigest().updated([], content).to_bytes() == _defined(content)


@given(content=pairs, extra=pairs, data=st.data())
def test_the_order_does_not_matter_and_what_is_removed_is_gone(
    content: list[tuple[bytes, bytes]], extra: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    expected = StateDigest().updated([], content)
    grown = StateDigest().updated([], extra)
    for pair in data.draw(st.permutations(content)):
        grown = grown.updated([], [pair])
    assert grown.updated(extra, []).to_bytes() == expected.to_bytes()
    assert StateDigest().updated(extra, content + extra).hash == expected.hash


def test_every_pair_and_the_border_between_key_and_value_count() -> None:
    sums = {
        StateDigest().updated([], content).to_bytes()
        for content in (
            [],
            [(b"a", b"bc")],
            [(b"ab", b"c")],
            [(b"abc", b"")],
            [(b"", b"abc")],
            [(b"a", b"bc"), (b"ab", b"c")],
            [(b"a", b"bc"), (b"a", b"bc")],  # a multiset: twice is not once
        )
    }
    assert len(sums) == 7


def test_the_bytes_are_pinned() -> None:
    """Other programs compute the same."""
    empty, some = StateDigest(), StateDigest().updated([], [(b"key", b"value"), (b"", b"")])
    assert empty.to_bytes() == bytes(SUM_BYTES)
    assert empty.hash == sha256(b"depoli/state/digest/1\x00" + bytes(2048)).digest()
    assert some.to_bytes()[:8].hex() == "9b5a6e35d28add08"
    assert some.hash.hex() == "9cd220d12fed177bf6400d485eace65ddc23d4387db63d598a397194394d019f"


@given(data=st.binary(min_size=SUM_BYTES, max_size=SUM_BYTES))
def test_any_sum_is_read_back(data: bytes) -> None:
    assert StateDigest.parse(data).to_bytes() == data


@pytest.mark.parametrize("length", [0, SUM_BYTES - 1, SUM_BYTES + 1])
def test_a_sum_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(Malformed, match=f"{length} bytes, not 2048"):
        StateDigest.parse(bytes(length))


def test_no_lane_spills_into_the_next_however_many_terms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(digest, "_element", lambda _key, _value: b"\xff" * SUM_BYTES)
    terms = 0x1_0003  # more than a lane of 32 bits has room for
    grown = StateDigest().updated([], [(b"", b"")] * terms)
    assert _lanes(grown.to_bytes()) == [-terms % 65536] * LANES
    assert grown.updated([(b"", b"")] * terms, []).to_bytes() == bytes(SUM_BYTES)
