"""Rounding, limits and usual functions are told from what they leave."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st

from comparisons.diagnosis.relations import relation
from comparisons.diagnosis.relations.limits import FUNCTIONS, functions, limited, rounded
from comparisons.diagnosis.relations.two_values import TwoValues

seeds = st.integers(0, 2**63 - 1)


def random(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).uniform(0.1, 3, size=shape))


def two(a, b, rtol=1e-9):
    return TwoValues(("this", "that"), a, b, rtol)


@pytest.mark.parametrize("words", FUNCTIONS)
@given_settings(max_examples=10)
@given(seed=seeds)
def test_a_usual_function_is_told_both_ways(words, seed):
    x = random(seed, 4, 6)
    x[0] *= 1 if "log" in words or "sqrt" in words or words == "1/x" else -1
    y = FUNCTIONS[words](x)
    for one, other in ((x, y), (y, x)):  # a function and its inverse are told alike
        (found,) = functions(two(one, other))
        made, function = re.fullmatch("(this|that) is (.*), where x is th..", found).groups()
        given, result = (one, other) if made == "that" else (other, one)
        torch.testing.assert_close(FUNCTIONS[function](given), result)


@given_settings(max_examples=20)
@given(seeds, st.sampled_from([0, 1]))
def test_a_softmax_is_told_and_its_temperature(seed, axis):
    x = random(seed, 4, 6)
    p = torch.softmax(x, axis)
    assert functions(two(x, p)) == [f"that is the softmax of this along axis {axis}"]
    log = torch.log_softmax(x, axis)
    assert functions(two(x, log)) == [f"that is the log-softmax of this along axis {axis}"]
    (words,) = functions(two(torch.softmax(x, 1), torch.softmax(x / 0.7, 1)))
    assert words == "that is the softmax of this's logits divided by 0.7: another temperature"


@pytest.mark.parametrize("digits", [1, 4, 7])
def test_numbers_that_went_through_a_text_file_are_told(digits):
    x = random(1, 30, 20)
    (words,) = rounded(two(x, (x * 10**digits).round() / 10**digits))
    assert words == f"that is this rounded to {digits} {'decimal' if digits == 1 else 'decimals'}"
    shown = [[float(f"{one:.5g}") for one in row] for row in (10 * x).exp().tolist()]
    (words,) = rounded(two((10 * x).exp(), torch.tensor(shown, dtype=torch.float64)))
    assert words == "that is this rounded to 5 digits"


def test_limits_on_both_sides_are_told():
    x = random(1, 30, 20)
    assert limited(two(x, x.clamp(1, 2))) == ["that is this held between 1 and 2"]
    assert limited(two(x, x.clamp(min=1))) == ["that is this held at 1 or more"]


@pytest.mark.slow
@given_settings(max_examples=100)
@given(seeds, st.floats(-9, -1))
def test_noise_is_none_of_it(seed, power):
    x = random(seed, 20, 20)
    noise = torch.from_numpy(np.random.default_rng(seed + 1).normal(size=(20, 20)))
    assert relation(("this", "that"), x, x + 10**power * noise, {}, 1e-12) == []
