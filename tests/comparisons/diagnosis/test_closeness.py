"""When two tensors are the same, and when a value explains what another one differs by."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from comparisons.diagnosis.closeness import distance, explains, same

seeds = st.integers(0, 2**63 - 1)
shapes = hnp.array_shapes(min_dims=1, max_dims=4, min_side=2, max_side=4)


def random(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


numbers = st.floats(-1e100, 1e100)
pairs = hnp.array_shapes(max_dims=3, max_side=4).flatmap(
    lambda shape: st.tuples(
        hnp.arrays(np.float64, shape, elements=numbers),
        hnp.arrays(np.float64, shape, elements=numbers),
    )
)


@given_settings(max_examples=80)
@given(pairs)
def test_a_distance_is_the_largest_difference(pair):
    a, b = (torch.from_numpy(x) for x in pair)
    assert distance(a, b) == np.abs(pair[0] - pair[1]).max()
    assert distance(a, b) == distance(b, a)
    assert distance(a, a) == 0
    assert distance(a.flatten(), b) == distance(a, b)


@given_settings(max_examples=80)
@given(pairs, st.sampled_from([math.nan, math.inf, -math.inf]), st.integers(0, 10**6))
def test_what_is_not_finite_on_both_sides_alike_adds_no_distance(pair, bad, place):
    a, b = (torch.from_numpy(x.copy()) for x in pair)
    place %= a.numel()
    a.view(-1)[place] = bad
    assert distance(a, b) == distance(b, a) == math.inf
    assert not same(a, b, 1e3)
    b.view(-1)[place] = bad
    rest = np.delete(np.abs(pair[0] - pair[1]).flatten(), place)
    assert distance(a, b) == (rest.max() if rest.size else 0)
    assert same(a, a.clone(), 0.0)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([math.nan, 1.0], [1.0, math.nan]),
        ([math.nan, 1.0], [math.inf, 1.0]),
        ([math.inf, 1.0], [-math.inf, 1.0]),
        ([1.0, 2.0], [1.0, 2.0, 3.0]),
        ([1.0], [1.0, 1.0]),
    ],
)
def test_there_is_no_distance_between_what_differs_in_kind(a, b):
    a, b = (torch.tensor(x, dtype=torch.float64) for x in (a, b))
    assert distance(a, b) == distance(b, a) == math.inf
    assert not same(a, b, 1e3)


@given_settings(max_examples=50)
@given(seeds, shapes, st.floats(-12, -1), st.integers(-200, 200))
def test_same_is_relative_to_the_largest_magnitude(seed, shape, power, size):
    b = random(seed, *shape) * 10.0**size
    rtol = 10.0**power
    largest = float(b.abs().max())
    smallest = int(b.abs().argmin())  # an element's own size does not decide
    for share, expected in ((0.99, True), (1.01, False)):
        a = b.clone()
        a.view(-1)[smallest] += share * rtol * largest
        assert same(a, b, rtol) is expected


@given_settings(max_examples=50)
@given(seeds, shapes, st.floats(-8, -1), st.floats(-5, -1))
def test_a_value_explains_a_difference_but_for_a_thousandth_of_it(seed, shape, power, left):
    """And up to rounding: where the difference itself is small, little of it may be left."""
    right = random(seed, *shape)
    size = 10.0**power * float(right.abs().max())
    found = right.clone()
    found.view(-1)[0] += size
    value = found.clone()
    value.view(-1)[0] -= 10.0**left * size
    assert explains(found, found, right, 1e-9)
    assert not explains(right, found, right, 1.0)
    assert explains(value, found, right, 1.0) == (left <= -3) or abs(left + 3) < 1e-6
    assert not explains(value, found, right, 1e-12) or 10.0**left * size < 1e-11 * size / 10**power
