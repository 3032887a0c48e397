"""An update, held side by side."""

from __future__ import annotations

import numpy as np
import pytest

from comparisons.ports.judging.judged import RTOL, difference_of
from comparisons.ports.judging.updates import update_difference


def updated(moved, other, kept=1.0):
    start = np.ones(3)
    return update_difference(
        (start, start), (moved, other), difference_of(moved, other), "float64", kept
    )


def test_it_is_held_against_the_change():
    found = updated(np.full(3, 1.01), np.full(3, 1.01001))
    assert found.needed == pytest.approx(1e-5 / 0.01001)
    assert found.values == (1.01, 1.01001)


def test_an_average_is_held_against_what_is_new_in_it():
    """A variance of 0.01 that a running one of 1 moves towards: the change is nearly all decay, and
    hides a factor of 48 / 47 in what is new."""
    rate, variance = 0.1, 0.01
    biased, unbiased = (
        (1 - rate) * np.ones(3) + rate * variance * factor for factor in (1, 48 / 47)
    )
    assert updated(biased, unbiased).needed == pytest.approx(1 / 47 * variance, rel=0.02)
    assert updated(biased, unbiased, 1 - rate).needed == pytest.approx(1 / 48)


def test_it_is_never_held_against_more_than_the_change():
    """A running variance that is where it should be."""
    moved, other = np.full(3, 1 + 1e-6), np.full(3, 1 + 2e-6)
    assert updated(moved, other, 0.9).needed == pytest.approx(updated(moved, other).needed)


def test_rounding_of_what_is_moved_is_no_difference():
    moved = np.nextafter(np.ones(3), 2)
    assert updated(moved, np.ones(3)).needed <= RTOL["float64"]
