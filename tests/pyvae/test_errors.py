from __future__ import annotations

import doctest

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvae import errors
from pyvae.errors import UserError, choose, printable

modest = hypothesis.settings(max_examples=60)
OPTIONS = ("float32", "float64", "bfloat16")


@modest
@given(st.text(), st.text(), st.text())
def test_a_message_is_one_line_whatever_it_is_made_of(given_, expected, remedy):
    message = str(UserError(given_, remedy, expected=expected))
    assert len(message.splitlines()) <= 1


@pytest.mark.parametrize(
    ("remedy", "expected", "message"),
    [
        ("", "", "--steps x"),
        ("", "a number", "--steps x: expected a number"),
        (" \n", "", "--steps x"),
        ("use another", "", "--steps x. Use another."),
        ("use another", "a number", "--steps x: expected a number. Use another."),
        ("did you mean 'y'?", "", "--steps x. Did you mean 'y'?"),
        ("run: pip install y==1", "", "--steps x. Run: pip install y==1"),
    ],
)
def test_a_message_says_what_is_wrong_and_what_to_do(remedy, expected, message):
    assert str(UserError("--steps x", remedy, expected=expected)) == message


@pytest.mark.parametrize("name", OPTIONS)
def test_choose_gives_back_a_known_name(name):
    assert choose("dtype", name, iter(OPTIONS)) == name


@modest
@given(st.sampled_from(OPTIONS), st.data())
def test_choose_suggests_the_name_that_a_slip_of_one_letter_meant(name, data):
    at = data.draw(st.integers(0, len(name) - 3))
    with pytest.raises(UserError, match=f"Did you mean '{name}'") as caught:
        choose("dtype", name[:at] + name[at + 1 :], OPTIONS)
    assert all(option in str(caught.value) for option in OPTIONS)


def test_choose_suggests_nothing_where_nothing_is_near():
    with pytest.raises(UserError, match="unknown dtype 'quux'") as caught:
        choose("dtype", "quux", OPTIONS)
    assert "Did you mean" not in str(caught.value)


def test_examples_run():
    result = doctest.testmod(errors)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("\x00\x07\x7f\x9b\u2028\u202e\u2066\ud800", r"\x00\x07\x7f\x9b\u2028\u202e\u2066\ud800"),
        ("a\r\n\tb", "a b"),
        ("ü “é” 日本 – ± \\x1b", "ü “é” 日本 – ± \\x1b"),
    ],
)
def test_control_characters_are_written_out(text, shown):
    assert printable(text) == shown
    capital = shown[0].upper() + shown[1:]
    assert str(UserError(text, text, expected=text)) == f"{shown}: expected {shown}. {capital}."


def test_an_error_is_no_longer_than_can_be_read():
    error = str(UserError("a" * 10**6 + "b", expected="c"))
    assert len(error) < 4100
    assert error.startswith("aaa")
    assert error.endswith("ab: expected c")
