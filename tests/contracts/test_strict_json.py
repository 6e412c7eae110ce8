"""Strict JSON: what two readers could read differently is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import strict_json
from contracts.errors import BadDocument

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=10,
)


def parse(text: str | bytes, limit: int = 10_000) -> object:
    return strict_json.parse(text, BadDocument, limit=limit)


@given(values)
def test_what_is_written_is_read(value: object) -> None:
    assert parse(strict_json.compact(value)) == value
    assert parse(strict_json.indented(value).encode()) == value


@given(st.binary(max_size=60) | st.text('{}[]",:0123456789.eE-+ntf\\u', max_size=60))
def test_any_text_is_read_or_refused(text: str | bytes) -> None:
    try:
        value = parse(text)
    except BadDocument:
        return
    assert json.loads(text) == value


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 1}',
        '{"a": {"b": 1, "b": 2}}',
        "1.0",
        "1e2",
        "-0.0",
        "NaN",
        "-Infinity",
        "1" * 19,
        "[" * 100_000,
        '"\\ud800"',
        '"\ud800"',
        '{"\\udfff": 1}',
        b"\xff",
        "\ufeff1",
        "",
        "1 2",
        "'a'",
        "[1,]",
        '{"a": 1 /* one */}',
    ],
    ids=lambda text: ascii(text)[:24],
)
def test_what_is_not_strict_is_refused(text: str | bytes) -> None:
    with pytest.raises(BadDocument):
        parse(text, limit=1_000_000)


def test_a_long_text_is_refused_before_it_is_read() -> None:
    assert parse("[" + " " * 8 + "]", limit=10) == []
    with pytest.raises(BadDocument, match="longer than 10"):
        parse("[" + " " * 9 + "]", limit=10)


@pytest.mark.parametrize("value", [[], 1, None, {}, {"a": 1}, {"a": 1, "b": 2, "c": 3}])
def test_an_object_has_its_fields_and_no_others(value: object) -> None:
    with pytest.raises(BadDocument):
        strict_json.require_fields(value, ("a", "b"), BadDocument, "it")
    good = {"a": 1, "b": 2}
    assert strict_json.require_fields(good, ("a", "b"), BadDocument, "it") == good
