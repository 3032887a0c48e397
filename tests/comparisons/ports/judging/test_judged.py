"""How far two arrays differ, and what makes them incomparable."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from comparisons.agreement.tolerances import STAGE_RULES
from comparisons.ports.judging.judged import difference_of, precision_of, tolerance
from comparisons.ports.side import RecordedStep, Side
from pyvae.trace.program import ProgramStage, ProgramStep, ProgramTrace

numbers = arrays(np.float64, (3, 4), elements=st.floats(-1e6, 1e6, allow_subnormal=False))


@given(numbers, numbers)
def test_the_largest_difference_and_where_it_is(a, b):
    found = difference_of(a, b)
    assert found.equal == np.array_equal(a, b)
    if not found.equal:
        assert found.max_abs == np.abs(a - b).max()
        assert abs(a[found.index] - b[found.index]) == found.max_abs
        assert found.values == (a[found.index], b[found.index])
        largest = max(np.abs(a).max(), np.abs(b).max())
        tiny = np.finfo(np.float64).tiny  # below it a quotient has fewer digits
        assert math.isclose(found.needed * largest, found.max_abs, abs_tol=tiny)


@given(numbers)
def test_the_type_alone_makes_no_difference(a):
    single = a.astype(np.float32)
    assert difference_of(single, single.astype(np.float64)).equal
    whole = np.round(a).astype(np.int64)
    assert difference_of(whole, whole.astype(np.int32)).equal


def test_one_unit_in_the_last_place():
    a = np.array([1.0, 2.0], np.float32)
    found = difference_of(a, np.nextafter(a, np.float32(3)))
    assert found.ulp == 1
    assert not found.equal


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ([1.0, np.nan], [1.0, 2.0], "nan against 2"),
        ([1.0, np.nan], [1.0, np.nan], "NaN on both sides"),
        ([1.0, np.inf], [1.0, -np.inf], "inf against -inf"),
        ([1.0, 2.0], [1.0, 2.0, 3.0], r"shape (2,) against (3,)"),
    ],
)
def test_what_can_never_agree(a, b, words):
    found = difference_of(np.array(a), np.array(b))
    assert found.problem == words
    assert not found.equal
    assert found.needed == math.inf


def test_numbers_that_are_missing():
    """Where NaN may stand for them, it agrees in the same places, if there are other numbers."""
    a, b = np.array([1.0, np.nan, 2.0]), np.array([np.nan, 1.0, 2.0])
    assert difference_of(a, a.copy(), missing=True).equal
    assert difference_of(a, a + 1, missing=True).max_abs == 1
    assert difference_of(a, b, missing=True).problem == "1 against nan"
    assert difference_of(a * np.nan, b * np.nan, missing=True).problem == "NaN on both sides"


def test_equal_infinities_are_those_of_a_mask():
    a, b = np.array([-np.inf, 1.0]), np.array([-np.inf, 1.5])
    assert difference_of(a, a).equal
    assert difference_of(a, b).max_abs == 0.5


def test_a_number_may_have_a_dimension():
    assert difference_of(np.array(2.0), np.array([2.0])).equal
    assert difference_of(np.array([3]), np.array(3)).equal


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        (("float64", "float64"), "float64"),
        (("float32", "float64"), "float32"),
        (("float64", "float16"), "float16"),
    ],
)
def test_the_coarsest_type_decides(types, expected):
    """Of what was computed: images that come in float32 say nothing."""
    stages = (ProgramStage("input", "input"), ProgramStage("fc", "linear", ("input",)))
    steps = [
        RecordedStep(
            Side("side", ProgramTrace("any")), ProgramStep(1), stages,
            {
                "forward/input": np.zeros(2, np.float16),
                "forward/fc": np.zeros(2, kind),
                "state/fc.weight.step": np.zeros((), np.float32),
            },
        )
        for kind in types
    ]  # fmt: skip
    assert precision_of(steps) == expected


def test_the_rule_is_that_of_stages():
    for name, rule in STAGE_RULES.items():
        assert tolerance(name, exact=False) == rule.rtol
        assert tolerance(name, exact=True) == 0
