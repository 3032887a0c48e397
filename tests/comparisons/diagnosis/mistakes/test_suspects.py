"""Numbers in the words of a mistake."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comparisons.diagnosis.mistakes.suspects import two_numbers


@pytest.mark.parametrize(
    ("found", "right", "digits", "words"),
    [
        (1.001e-8, 1e-8, 3, "1.001e-08 where it is 1e-08"),
        (1e-7, 1e-8, 3, "1e-07 where it is 1e-08"),
        (0.8999999, 0.9, 6, "0.8999999 where it is 0.9"),
        (0.00100123456, 0.001, 6, "0.00100123 where it is 0.001"),
        (2.0, 2.0, 6, "2 where it is 2"),
    ],
)
def test_numbers_show_as_many_digits_as_tell_them_apart(found, right, digits, words):
    assert two_numbers(found, right, digits) == words


numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(numbers, numbers)
def test_two_numbers_look_alike_only_if_they_are_equal(found, right):
    one, other = two_numbers(found, right, 3).split(" where it is ")
    assert (float(one) == float(other)) == (found == right)
