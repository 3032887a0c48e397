from __future__ import annotations

import doctest

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvae import errors
from pyvae.errors import UserError, choose

modest = hypothesis.settings(max_examples=60, deadline=None)
OPTIONS = ("float32", "float64", "bfloat16")


@modest
@given(st.text(), st.text(), st.text())
def test_a_message_is_one_line_whatever_it_is_made_of(given_, expected, remedy):
    message = str(UserError(given_, expected, remedy))
    assert len(message.splitlines()) <= 1


@pytest.mark.parametrize("expected", ["", "a number"])
@pytest.mark.parametrize("remedy", ["", "use another"])
def test_a_message_says_what_was_given_expected_and_what_to_do(expected, remedy):
    parts = str(UserError("--steps x", expected, remedy)).split("; ")
    wanted = ["--steps x", f"expected {expected}" if expected else "", remedy]
    assert parts == [part for part in wanted if part]


@pytest.mark.parametrize("name", OPTIONS)
def test_choose_gives_back_a_known_name(name):
    assert choose("dtype", name, iter(OPTIONS)) == name


@modest
@given(st.sampled_from(OPTIONS), st.data())
def test_choose_suggests_the_name_that_a_slip_of_one_letter_meant(name, data):
    at = data.draw(st.integers(0, len(name) - 3))
    with pytest.raises(UserError, match=f"did you mean '{name}'") as caught:
        choose("dtype", name[:at] + name[at + 1 :], OPTIONS)
    assert all(option in str(caught.value) for option in OPTIONS)


def test_choose_suggests_nothing_where_nothing_is_near():
    with pytest.raises(UserError, match="unknown dtype 'quux'") as caught:
        choose("dtype", "quux", OPTIONS)
    assert "did you mean" not in str(caught.value)


def test_examples_run():
    result = doctest.testmod(errors)
    assert result.attempted > 0
    assert result.failed == 0
