"""Records: framing accepts what it writes and refuses the rest with its own errors."""

import io
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import LedgerError
from node.audit.records import MAGIC, Records, frame, split_frames

payloads = st.lists(st.binary(min_size=1, max_size=300), max_size=6)


@given(payloads)
def test_what_is_framed_is_read(items: list[bytes]) -> None:
    content = b"".join(map(frame, items))
    assert list(Records(io.BytesIO(content))) == items
    assert split_frames(content) == (items, b"")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    records = Records(io.BytesIO(content))
    try:
        found = list(records)
    except LedgerError:
        return
    assert b"".join(map(frame, found)) == content


@given(payloads.filter(bool), st.data())
def test_a_flipped_bit_is_refused(items: list[bytes], data: st.DataObject) -> None:
    content = bytearray(b"".join(map(frame, items)))
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(LedgerError):
        list(Records(io.BytesIO(bytes(content))))


def test_offsets_are_where_records_begin() -> None:
    items = [b"a", b"bb", b"ccc"]
    records = Records(io.BytesIO(MAGIC + b"".join(map(frame, items))))
    records.read_magic()
    places = [records.offset, *(records.offset for _ in records)]
    assert [after - before for before, after in pairwise(places)] == [9, 10, 11]
