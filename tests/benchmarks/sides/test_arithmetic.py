"""Medians and ratios."""

from __future__ import annotations

import pytest

from benchmarks.sides.arithmetic import Series, ratio, rounded
from benchmarks.sides.child import Turn


def test_the_step_is_the_median_of_all_steps(series):
    assert series([1, 2], [3, 100], [4]).ms == 3
    assert series([1, 2], [3, 100]).range_ms == (1, 100)
    assert series([1, 2, 9], [3, 5]).by_round == [2, 4]


def test_the_ratio_is_the_median_over_the_rounds(series):
    """A round in which the machine was ten times slower for both leaves no trace in it."""
    a, b = series([10], [100], [12]), series([20], [200], [20])
    assert ratio(a, b) == pytest.approx(0.5)
    assert ratio(b, a) == pytest.approx(2)


def test_sides_have_the_same_rounds(series):
    with pytest.raises(ValueError, match="shorter"):
        ratio(series([1], [2]), series([1]))


def test_memory_is_the_largest_peak_and_what_was_added(series):
    one = series([1], [1], [1])
    assert one.peak_mb == 203
    assert one.grown_mb == 2
    assert one.faults == 20


def test_what_nobody_tells_is_none():
    one = Series([Turn([1.0], None, None)])
    assert (one.faults, one.peak_mb, one.grown_mb) == (None, None, None)


def test_numbers_are_written_with_four_digits():
    assert rounded(123.456) == 123.5
    assert rounded(0.00123456) == 0.001235
    assert rounded(None) is None
