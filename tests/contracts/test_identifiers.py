"""Check digits: one wrong digit is noticed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.identifiers import Identifier, is_well_formed, nir_key, passes_luhn
from tests.contracts.optics_vectors import VECTORS


@pytest.mark.parametrize(("kind", "text", "is_right"), VECTORS["check_digits"])
def test_numbers_are_judged_as_the_examples_are(kind: str, text: str, *, is_right: bool) -> None:
    assert is_well_formed(Identifier[kind], text) is is_right


@given(st.text("0123456789", min_size=13, max_size=13))
def test_the_key_of_a_nir_makes_the_whole_divisible(number: str) -> None:
    assert (int(number) + nir_key(number)) % 97 == 0
    assert 1 <= nir_key(number) <= 97


@given(st.text("0123456789", min_size=1, max_size=16), st.data())
def test_one_wrong_digit_does_not_pass(digits: str, data: st.DataObject) -> None:
    (right,) = [digits + last for last in "0123456789" if passes_luhn(digits + last)]
    at = data.draw(st.integers(0, len(digits)))
    other = data.draw(st.sampled_from("0123456789").filter(lambda digit: digit != right[at]))
    assert not passes_luhn(right[:at] + other + right[at + 1 :])
