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


@given(content=pairs.filter(bool), other=st.binary(max_size=4), data=st.data())
def test_every_change_of_a_single_key_changes_the_hash(
    content: list[tuple[bytes, bytes]], other: bytes, data: st.DataObject
) -> None:
    before = StateDigest().updated([], content)
    key, value = data.draw(st.sampled_from(content))
    without = before.updated([(key, value)], [])
    changed = {without.hash, before.hash}
    flipped = value[:-1] + bytes([value[-1] ^ 1]) if value else b"?"
    changed |= {without.updated([], [(key, new)]).hash for new in (value + b"!", flipped)}
    changed |= {before.updated([], [(other + b"12345", b"")]).hash}  # no key is as long
    assert len(changed) == 5
    assert without.updated([], [(key, value)]).hash == before.hash


# Made with what is written from docs/format.md alone, `state_digest` of scripts/recheck.py.
VECTORS: dict[str, list[tuple[bytes, bytes]]] = {
    "90ee03d086ecff32e03a0dd3f35a289afb6a9eaa6f1fe3f98ef1d6ee56e2a013": [(b"", b"")],
    "f9f9cef437a5a1434581d8823f62bdd0052c0bea1f92c7828c6c78877802a5bc": [(b"a", b"1")],
    "6bf5fa28fc51dc703826a0dca505c51edf451b7a0d32eaa6ebfbd91de2c0650f": [
        (b"a", b"1"),
        (b"b", b"2"),
    ],
    "dce6229c0ee440534acc359be023ef870cd7a00fd77244c6b145a86c0e6d3524": [
        (bytes(range(256)), bytes(1000))
    ],
    "53fa4eb7fabc9ae7a735457ced1eb571288179b5a4c9c4a5749699bd159d8514": [
        (n.to_bytes(2), n.to_bytes(3)) for n in range(300)
    ],
    "fddfe27adf088f16bb30038a52b9f26d0fa825c452aa092b164f9b8626957a5b": [(b"key", b"value")] * 70,
}


@pytest.mark.parametrize("digest_", VECTORS)
def test_what_another_program_makes_is_what_this_one_makes(digest_: str) -> None:
    assert StateDigest().updated([], VECTORS[digest_]).hash.hex() == digest_


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
