"""What is said of two tensors' relation is how the one was made from the other."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from comparisons.diagnosis.relations import relation, shape_relation

RTOL = 1e-9
NAMES = ("this", "that")
FACTORS = {"1/7": 1 / 7, "255/256 (of pixels)": 255 / 256, "three": 3.0, "1/784": 1 / 784}
seeds = st.integers(0, 2**63 - 1)
shapes = hnp.array_shapes(min_dims=1, max_dims=4, min_side=2, max_side=4)
orders_of_three = list(itertools.permutations(range(3)))


def random(seed, *shape):
    """Numbers of which no two are alike, nor multiples of each other."""
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def related(a, b, rtol=RTOL, input_shape=None):
    return relation(NAMES, a, b, FACTORS, rtol, input_shape)


def order_in(words):
    """The order of axes that is named."""
    return tuple(int(i) for i in re.search(r"order \(([\d, ]+)\)", words)[1].split(","))


@given_settings(max_examples=40)
@given(seeds, shapes, st.integers(-300, 300), st.floats(-0.9, 0.9))
def test_a_sign_is_named(seed, shape, power, error):
    a = random(seed, *shape) * 10.0**power
    b = -a * (1 + RTOL * error)  # within the tolerance
    assert related(a, b) == ["that has the opposite sign of this"]


@pytest.mark.parametrize("minus", ["", "-"])
@pytest.mark.parametrize("label", FACTORS)
@given_settings(max_examples=12)
@given(seeds, shapes, st.integers(-290, 290))
def test_a_factor_with_a_name_is_named_both_ways(minus, label, seed, shape, power):
    a = random(seed, *shape) * 10.0**power
    b = a * (-FACTORS[label] if minus else FACTORS[label])
    assert related(a, b) == [f"that is this times {minus}{label}"]
    assert related(b, a) == [f"this is that times {minus}{label}"]


@given_settings(max_examples=60)
@given(seeds, shapes, st.floats(1e-4, 1e4).map(lambda x: x * 1.0123457), st.booleans())
def test_a_factor_without_a_name_is_told_as_a_number(seed, shape, factor, negative):
    known = [one**power for one in (1.0, *FACTORS.values()) for power in (1, -1)]
    assume(not any(math.isclose(factor, one, rel_tol=1e-5) for one in known))
    assume(abs(factor - 1) > 1.1e-3)  # told in another way, see below
    factor = -factor if negative else factor
    a = random(seed, *shape)
    (words,) = related(a, a * factor)
    start, _, number = words.rpartition(" ")
    assert start == "that is this times"
    assert float(number) == pytest.approx(factor, rel=1e-5)


@given_settings(max_examples=12)
@given(seeds, shapes, st.floats(-8, -3), st.booleans())
def test_a_factor_near_one_is_not_told_as_one(seed, shape, power, negative):
    away, sign = 10**power, -1 if negative else 1
    a = random(seed, *shape)
    (words,) = related(a, sign * (1 + away) * a)
    number = words.removeprefix("that is this times ").removeprefix("-").strip("()")
    assert sum(float(part) for part in number.split()) - 1 == pytest.approx(away, rel=1e-4)
    assert ("times -" in words) == negative


@given_settings(max_examples=12)
@given(seeds, shapes, st.floats(-0.9, 0.9))
def test_of_what_is_equal_nothing_is_told(seed, shape, error):
    a = random(seed, *shape)
    assert related(a, a.clone()) == []
    assert related(a, a * (1 + RTOL * error)) == []
    assert related(torch.ones_like(a), torch.ones_like(a)) == []
    assert related(0 * a, 0 * a) == []


def test_no_factor_is_found_where_one_element_does_not_have_it():
    a = random(1, 5, 6)
    b = 3 * a
    b[2, 3] *= 1 + 1e-6
    assert related(a, b) == []
    assert related(a, b, rtol=1e-5) == ["that is this times three"]


def test_zero_is_no_multiple_but_zero():
    a = random(1, 3, 4)
    assert related(a, 0 * a) == ["that is zero throughout"]
    assert related(0 * a, a) == ["this is zero throughout"]


def test_small_numbers_are_not_zero():
    """Their squares would be."""
    a = random(1, 3, 4) * 1e-200
    assert related(a, a * 3) == ["that is this times three"]
    assert related(a, random(2, 3, 4) * 1e-200) == []


@given_settings(max_examples=40)
@given(st.floats(0.1, 1e6), st.sampled_from(list(FACTORS)), st.floats(1.01, 1.9))
def test_of_single_numbers_only_a_factor_with_a_name_is_told(value, label, odd):
    a = torch.tensor(value, dtype=torch.float64)
    assert related(a, a * FACTORS[label]) == [f"that is this times {label}"]
    assert related(a * FACTORS[label], a) == [f"this is that times {label}"]
    assert related(a, -a) == ["that has the opposite sign of this"]
    assert related(a, a * odd) == []
    assert related(a[None], a[None] * odd) == []


@pytest.mark.parametrize("order", [order for order in orders_of_three if order != (0, 1, 2)])
@given_settings(max_examples=10)
@given(seed=seeds)
def test_an_order_of_axes_is_named_where_the_shape_changes(order, seed):
    a = random(seed, 2, 3, 4)
    b = torch.from_numpy(np.transpose(a.numpy(), order).copy())
    shape, words = shape_relation(NAMES, a, b, RTOL)
    assert shape == f"this has shape (2, 3, 4), that has shape {tuple(b.shape)}"
    assert words.startswith("transposed:")
    assert order_in(words) == order


@pytest.mark.parametrize("order", [order for order in orders_of_three if order != (0, 1, 2)])
@given_settings(max_examples=10)
@given(seed=seeds)
def test_an_order_of_axes_is_named_where_the_shape_stays(order, seed):
    a = random(seed, 3, 3, 3)
    (words,) = related(a, torch.from_numpy(np.transpose(a.numpy(), order).copy()))
    assert words.startswith("transposed:")
    assert order_in(words) == order


@given_settings(max_examples=12)
@given(seeds, st.permutations(range(4)))
def test_the_order_that_is_named_leads_from_one_to_the_other(seed, order):
    """Where an axis has one element several orders do."""
    a = random(seed, 4, 1, 3, 1)
    b = a.permute(order)
    assume(b.shape != a.shape)
    words = shape_relation(NAMES, a, b, RTOL)[-1]
    assert torch.equal(a.permute(order_in(words)), b)


@pytest.mark.parametrize(
    "axes", [axes for n in (1, 2, 3) for axes in itertools.combinations(range(3), n)]
)
@given_settings(max_examples=10)
@given(seed=seeds)
def test_reversed_axes_are_named(axes, seed):
    a = random(seed, 2, 3, 4)
    words = ("axis " if len(axes) == 1 else "axes ") + ", ".join(str(axis) for axis in axes)
    b = torch.from_numpy(np.flip(a.numpy(), axes).copy())
    assert related(a, b) == [f"equal after reversing {words}"]


@given_settings(max_examples=12)
@given(seeds, st.sampled_from([(20,), (4, 5), (3, 2, 4), (2, 2, 2, 3, 2, 2)]))
def test_the_same_numbers_shuffled_are_the_same_numbers(seed, shape):
    a = random(seed, *shape)
    order = np.random.default_rng(seed + 1).permutation(a.numel())
    b = a.flatten()[torch.from_numpy(order)].reshape(shape)
    assert related(a, b) == ["the same numbers, in another order"]
    b.view(-1)[0] += 1e-3
    assert related(a, b) == []


@given_settings(max_examples=12)
@given(seeds, st.sampled_from([(4, 7), (3, 2, 4)]))
def test_the_same_numbers_shuffled_within_each_image_are_told_apart(seed, shape):
    a = random(seed, *shape)
    b = torch.from_numpy(np.random.default_rng(seed + 1).permuted(a.flatten(1).numpy(), axis=1))
    assert related(a, b.reshape(shape)) == ["the same numbers in each image, in another order"]


@given_settings(max_examples=12)
@given(seeds, st.integers(1, 4), st.integers(2, 6))
def test_exchanged_rows_and_columns_of_images_are_named(seed, images, side):
    a = random(seed, images, side * side)
    b = np.array([image.reshape(side, side).T.flatten() for image in a.numpy()])
    words = ["equal after exchanging rows and columns of each image"]
    assert related(a, torch.from_numpy(b)) == words


def test_what_is_no_square_image_has_no_rows_and_columns():
    a = random(1, 2, 6)
    b = a.reshape(-1, 2, 3).transpose(1, 2).reshape(2, 6)
    assert related(a, b) == ["the same columns in another order (0, 3, 1, 4, 2, 5)"]


@pytest.mark.slow
@given_settings(max_examples=40)
@given(seeds, st.permutations(range(4)))
def test_orders_of_the_axes_before_a_reshape_are_named(seed, order):
    shape = (2, 3, 4, 5)
    assume(order != [0, 1, 2, 3])
    a = random(seed, 2, 60)
    b = torch.from_numpy(np.transpose(a.numpy().reshape(shape), order).reshape(2, 60).copy())
    (words,) = related(a, b, input_shape=shape)
    assert words.startswith("the same numbers with the input's axes in the order")
    assert order_in(words) == tuple(order)
    assert "input" not in related(a, b)[0]
    assert "input" not in related(a, b, input_shape=(2, 3, 4, 6))[0]


@pytest.mark.slow
@given_settings(max_examples=40)
@given(seeds, st.sampled_from([(2,), (7,), (3, 4), (3, 9), (2, 3, 4), (2, 2, 2, 2, 2, 2)]))
def test_tensors_without_a_relation_have_none(seed, shape):
    a, b = random(seed, *shape), random(seed + 1, *shape)
    assert related(a, b, input_shape=shape) == []


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_numbers_that_are_not_finite_have_no_relation(bad, side):
    pair = [random(1, 3, 4), -random(1, 3, 4)]
    assert related(*pair) != []
    pair[side][1, 2] = bad
    assert related(*pair) == []


def test_shapes_that_differ_are_told():
    a = random(1, 2, 6)
    (words,) = shape_relation(NAMES, a, random(1, 2, 7), RTOL)
    assert words == "this has shape (2, 6), that has shape (2, 7)"
    (words,) = shape_relation(NAMES, a, random(2, 3, 4), RTOL)
    assert words == "this has shape (2, 6), that has shape (3, 4)"
    _, words = shape_relation(NAMES, a, a.reshape(3, 2, 2), RTOL)
    assert words == "the same numbers in the same order, in another shape"
