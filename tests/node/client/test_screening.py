"""Social security numbers are found in whatever dress, and other numbers are left alone."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.client.errors import SocialSecurityNumber
from node.client.screening import holds_number, require_none

NUMBER = "180127512345642"  # the published test number
CORSICAN = "285122A00412321"  # made up, with its key


@pytest.mark.parametrize(
    "text",
    [
        NUMBER,
        NUMBER[:13],
        "1 80 12 75 123 456 42",
        "1.80.12.75.123.456/42",
        "1-80-12-75-123-456",
        f"INV{NUMBER}X",
        f"99{NUMBER}99",
        CORSICAN,
        "285122b004123",
        NUMBER.encode().hex(),
        CORSICAN.encode().hex().upper(),
        base64.b64encode(NUMBER.encode()).decode(),
        base64.urlsafe_b64encode(NUMBER[:13].encode()).decode().rstrip("="),
        "Patient/" + base64.b64encode(b"id:" + NUMBER.encode()).decode(),
    ],
)
def test_a_number_is_found(text: str) -> None:
    assert holds_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "73282932000074",  # a SIRET
        "10000000009",  # an RPPS number
        "F2025-0001",
        "ADH-327828",
        "2026-11-23T10:00:00+01:00",
        "6f9619ff-8b86-4d01-b42d-00c04fc964ff",
        "980127512345642",  # nobody's sex is 9
        "180007512345642",  # no month is 00
    ],
)
def test_another_number_is_left_alone(text: str) -> None:
    assert not holds_number(text)


@given(st.binary(min_size=32, max_size=32))
def test_secrets_and_ids_are_never_taken_for_one(data: bytes) -> None:
    assert not holds_number(data.hex()) or data.isdigit()


def test_the_field_is_named_and_the_number_is_not() -> None:
    with pytest.raises(SocialSecurityNumber) as refusal:
        require_none({"claim": {"insured": [1, int(NUMBER)]}})
    assert refusal.value.field == "claim.insured[1]"
    assert NUMBER not in f"{refusal.value} {refusal.value.hint}"


def test_a_name_that_is_a_number_is_not_repeated() -> None:
    with pytest.raises(SocialSecurityNumber) as refusal:
        require_none({NUMBER: 1})
    assert NUMBER not in str(refusal.value)
