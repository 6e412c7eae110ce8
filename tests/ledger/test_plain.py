"""The form of records for people: strict to read, and back to the same record."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.block import Body, Header
from ledger.encoding import Struct
from ledger.entry import Outcome
from ledger.errors import Malformed
from ledger.plain import load_json, parse_plain, plain
from ledger.receipt import Receipt
from tests.ledger.examples import certificate, header, values

TYPES = (Header, Body, Outcome, Receipt)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@pytest.mark.parametrize("type_", TYPES)
@given(data=st.data())
def test_a_record_is_read_back_from_its_json(type_: type[Struct], data: st.DataObject) -> None:
    value = data.draw(values(type_))
    text = json.dumps(plain(value))
    loaded = load_json(text, kind="it", max_length=len(text))
    assert parse_plain(loaded, type_) == value


@pytest.mark.parametrize("type_", TYPES)
@given(data=st.data())
def test_whatever_stands_in_a_field_is_refused_or_is_its_value(
    type_: type[Struct], data: st.DataObject
) -> None:
    value = plain(data.draw(values(type_)))
    value[data.draw(st.sampled_from(sorted(value)))] = data.draw(anything)
    try:
        assert plain(parse_plain(value, type_)) == value
    except Malformed:
        return


@given(value=anything)
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(Malformed, match=r"^malformed header: "):
        parse_plain(value, Header)


def test_the_form_has_names_hex_lists_and_integers() -> None:
    assert plain(Body(None, (b"\x0a\xff",), ())) == {
        "parent_commit": None,
        "evidence": ["0aff"],
        "transactions": [],
    }
    assert plain(certificate(header(1)))["round"] == 0


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], "malformed outcome: not an object"),
        ({"code": 0}, "malformed outcome: fields missing or unknown: 'evidence'"),
        (
            {"code": 0, "evidence": [], "\x1b[2J\ud800": 1},
            r"malformed outcome: fields missing or unknown: '\x1b[2J\ud800'",
        ),
        ({"code": True, "evidence": []}, "malformed outcome.code: a value of the wrong type"),
        ({"code": "0", "evidence": []}, "malformed outcome.code: a value of the wrong type"),
        ({"code": 1.0, "evidence": []}, "malformed outcome.code: a value of the wrong type"),
        ({"code": 1 << 64, "evidence": []}, "malformed outcome.code: a value of the wrong type"),
        ({"code": 1 << 16, "evidence": []}, "malformed outcome: Expected `int` <= 65535"),
        ({"code": -1, "evidence": []}, "malformed outcome: Expected `int` >= 0"),
        ({"code": 0, "evidence": "12"}, "malformed outcome.evidence: not a list"),
        ({"code": 0, "evidence": [0, None]}, "malformed outcome.evidence[1]: a value"),
    ],
)
def test_the_error_names_the_place(value: object, reason: str) -> None:
    with pytest.raises(Malformed) as refused:
        parse_plain(value, Outcome)
    assert str(refused.value).startswith(reason)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("text", ["0A", "0a ", " 0a", "0", "0x0a", "é", 10, None, ["0a"]])
def test_bytes_are_lower_case_hex(text: object) -> None:
    value = {"parent_commit": None, "evidence": [text], "transactions": []}
    with pytest.raises(Malformed, match=r"body\.evidence\[0\]: not bytes in lower-case hex"):
        parse_plain(value, Body)


def test_a_boolean_is_one() -> None:
    class Flag(Struct):
        """Of no record."""

        on: bool

    assert parse_plain({"on": True}, Flag) == Flag(on=True)
    with pytest.raises(Malformed, match=r"^malformed flag\.on: "):
        parse_plain({"on": 1}, Flag)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ('{"a": 1, "a": 1}', "a key stands twice"),
        ('{"a": {"b": 1, "c": 1, "b": 2}}', "a key stands twice"),
        ("[1.0]", "1.0 is not an integer"),
        ("[1e3]", "1e3 is not an integer"),
        ("[NaN]", "NaN is not an integer"),
        ("[-Infinity]", "-Infinity is not an integer"),
        ("[" * 40_000, "recursion"),
        ("9" * 5_000, "Exceeds the limit"),
        (" " * 50_001, "50001 characters, at most 50000"),
    ],
    ids=lambda value: value[:12],
)
def test_json_that_is_ambiguous_or_hostile_is_refused(text: str, reason: str) -> None:
    with pytest.raises(Malformed, match=r"^malformed thing: ") as refused:
        load_json(text, kind="thing", max_length=50_000)
    assert reason in str(refused.value)


@given(text=st.text(max_size=60))
def test_any_text_is_json_or_refused(text: str) -> None:
    try:
        loaded = load_json(text, kind="it", max_length=50)
    except Malformed:
        return
    assert loaded == json.loads(text)
