"""The search for secrets: whatever stands around one, and however it is written, it is found."""

import base64
import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from scripts.needles import Needles, Secret, short_values, unwrapped, writings

SECRET = Secret("it", bytes(range(100, 132)))
around = st.binary(max_size=40)


@given(before=around, after=around, way=st.integers(0, 11))
def test_it_is_found_wherever_it_stands(before: bytes, after: bytes, way: int) -> None:
    ways = dict(writings(SECRET.value))
    name = list(ways)[way % len(ways)]
    data = before + ways[name] + after
    found = [(each.written, each.offset) for each in Needles([SECRET]).search(data)]
    assert (name, len(before)) in found


@given(before=around, after=around)
def test_it_is_found_in_the_base64_of_what_it_stands_in(before: bytes, after: bytes) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert list(Needles([SECRET]).search(b"x" + encode(before + SECRET.value + after)))


@given(st.binary(max_size=5_000))
def test_what_is_not_there_is_not_found(data: bytes) -> None:
    assert not list(Needles([SECRET]).search(data.replace(SECRET.value[:8], b"")))


def test_it_is_found_at_the_end_of_a_long_piece_and_behind_zeros() -> None:
    for start in ((1 << 20) - 40, (1 << 20) - 4, (3 << 20) + 5):
        data = bytes(start) + SECRET.value
        assert [each.offset for each in Needles([SECRET]).search(data)] == [start]


def test_base64_inside_base64_is_unwrapped() -> None:
    inner = base64.urlsafe_b64encode(b"in a document: " + SECRET.value)
    outer = base64.b64encode(b"{" + inner + b"}")
    assert not list(Needles([SECRET]).search(outer))
    assert any(list(Needles([SECRET]).search(piece)) for piece in unwrapped(outer, 2))


def test_short_values_are_those_of_fields_at_any_depth() -> None:
    value = {"a": ["VU2", 7], "b": {"c": -4.25}}
    for data in (json.dumps(value).encode(), msgspec.msgpack.encode(value)):
        assert {"a", "VU2", 7, "b", "c", -4.25} <= short_values(data)
    inside = msgspec.msgpack.encode([msgspec.msgpack.encode(["VU2"])])
    assert "VU2" in short_values(inside)
    assert "VU2" in short_values(b'HTTP/1.1 200 OK\r\nA: b\r\n\r\n["VU2"]')
    event = b'id: 7\ndata: {"a": ["VU2"]}\n\n'
    assert {"a", "VU2"} <= short_values(event)
    assert "VU2" in short_values(b"%x\r\n%s\r\n" % (len(event), event))
    assert short_values(b"\xff\x00 VU2") == set()
