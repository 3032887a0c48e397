"""Differences in units of the last place."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from stand_ins.probes import changed, compared

from comparisons.stages.compare import StageAgreement
from pyvae.model.stages import Quantity

pytestmark = pytest.mark.slow


def agreement_of(max_abs, largest):
    quantity = Quantity("forward/total", "forward", ("total",))
    return StageAgreement(1, quantity, (), largest, max_abs, max_abs, 1e-11)


@given_settings(max_examples=100)
@given(st.floats(0, 1e300, exclude_min=True), st.integers(0, 10**6))
def test_ulps_count_the_steps_of_the_largest_magnitude(largest, steps):
    assert agreement_of(steps * math.ulp(largest), largest).ulps("float64") == steps


@given_settings(max_examples=100)
@given(st.floats(0, float(np.float32(1e30)), width=32, exclude_min=True), st.integers(0, 10**6))
def test_ulps_count_the_steps_in_single_precision(largest, steps):
    one = float(np.nextafter(np.float32(largest), np.float32(np.inf))) - largest
    assert agreement_of(steps * one, largest).ulps("float32") == steps


@pytest.mark.parametrize("power", [-1074, -1022, -3, 0, 3, 1000])
def test_ulps_shrink_below_a_power_of_two(power):
    """Below it the numbers lie twice as close, where they have all their digits."""
    largest = 2.0**power
    below = math.nextafter(largest, 0.0)
    assert agreement_of(math.ulp(largest), largest).ulps("float64") == 1
    if below > 0:
        assert agreement_of(math.ulp(below), below).ulps("float64") == 1


def test_ulps_are_those_of_the_numbers_compared(probe):
    key = "forward/total"
    value = float(probe[key])
    other = value
    for _ in range(5):
        other = math.nextafter(other, math.inf)
    found = compared(changed(probe, key, (), other), probe)[key]
    assert found.ulps("float64") == 5
    assert replace(found, problem="nan against 1").ulps("float64") is math.nan
