"""Which parameter is which, by their order."""

from __future__ import annotations

import pytest

from pyvae.recording.given.in_order import in_order, in_words, pairs_in_words
from pyvae.trace.program import ProgramParameter


def listed(*shapes, start="a", kind="parameter"):
    return [ProgramParameter(f"{start}{at}", shape, kind) for at, shape in enumerate(shapes)]


def test_the_same_shapes_in_the_same_order():
    assert in_order(listed((2, 3), (2,)), listed((2, 3), (2,), start="b")) == {
        "a0": "b0", "a1": "b1",
    }  # fmt: skip
    mine = [*listed((2,)), *listed((2,), start="m", kind="buffer")]
    theirs = [*listed((2,), start="n", kind="buffer"), *listed((2,), start="b")]
    assert in_order(mine, theirs) == {"a0": "b0", "m0": "n0"}
    assert in_order(listed(()), listed((1, 1), start="b")) == {"a0": "b0"}


@pytest.mark.parametrize("theirs", [[(3, 2), (2,)], [(2, 3)], [(2, 3), (2,), (2,)], [(2,), (2, 3)]])
def test_others_are_no_order(theirs):
    assert in_order(listed((2, 3), (2,)), listed(*theirs, start="b")) is None


def test_the_first_few_are_listed():
    many = listed(*[(2, 3)] * 8, ())
    words = "a0 2x3, a1 2x3, a2 2x3, a3 2x3, a4 2x3, a5 2x3 and 3 more"
    assert in_words(many) == words
    assert in_words(many[-1:]) == "a8"
    assert pairs_in_words({"a": "b", "c": "d"}) == "a = b, c = d"
