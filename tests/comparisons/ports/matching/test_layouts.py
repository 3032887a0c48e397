"""A parameter that is stored another way is found, and brought back bit by bit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comparisons.ports.matching.layouts import SAME_LAYOUT, Layout, find_layout

shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4)


def numbers(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@given(shapes, st.randoms(use_true_random=False))
def test_axes_in_any_order(shape, chance):
    a = numbers(shape)
    order = list(range(a.ndim))
    chance.shuffle(order)
    stored = a.transpose(order)
    layout = find_layout(a, stored)
    assert layout is not None
    assert np.array_equal(layout.apply(stored, a.shape), a)


@pytest.mark.parametrize("count", [3, 4])
@pytest.mark.parametrize("turned", [False, True])
def test_gates_in_any_order(count, turned):
    a = numbers((count * 5, 7))
    for order in itertools.permutations(range(count)):
        stored = np.concatenate([np.split(a, count)[block] for block in order])
        stored = stored.T if turned else stored
        layout = find_layout(a, stored)
        assert layout is not None
        assert np.array_equal(layout.apply(stored, a.shape), a)
        assert bool(layout.blocks) == (order != tuple(range(count)))
        # what belongs to it, as a gradient, is brought back in the same way
        assert np.array_equal(layout.apply(2 * stored, a.shape), 2 * a)


@given(shapes)
def test_the_same_is_the_same(shape):
    assert find_layout(numbers(shape), numbers(shape)) == SAME_LAYOUT


@given(shapes, st.integers(1, 100))
def test_other_numbers_have_no_layout(shape, seed):
    assert find_layout(numbers(shape), numbers(shape, seed)) is None


def test_another_shape():
    a = numbers((2, 12))
    layout = find_layout(a.reshape(-1), a)
    assert layout == Layout(reshaped=True)
    assert np.array_equal(layout.apply(a, (24,)), a.reshape(-1))


def test_rounding_to_another_type_is_no_other_layout():
    a = numbers((4, 6)).astype(np.float64) * np.pi
    assert find_layout(a, a.astype(np.float32)) == SAME_LAYOUT
    assert find_layout(a, a.astype(np.float32).T) == Layout((1, 0))


def test_what_is_not_finite_is_compared_as_it_is():
    a = numbers((3, 3))
    a[0, 1] = np.nan
    assert find_layout(a, a.copy()) == SAME_LAYOUT
    assert find_layout(a, a.T) is None


def test_numbers_of_another_shape_stay():
    """An optimiser's counter beside a kernel that is transposed."""
    layout = find_layout(numbers((4, 6)), numbers((4, 6)).T)
    assert layout.apply(np.array(3.0), ()) == 3


def test_it_is_said_in_words():
    words = "transposed, with its blocks of rows (gates) in the order (0, 1, 3, 2)"
    assert str(Layout((1, 0), (0, 1, 3, 2))) == words
    assert str(Layout((3, 2, 0, 1))) == "axes in the order (3, 2, 0, 1)"
