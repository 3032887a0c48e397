"""A factor is said with its name, of one number only if it has one; so is what is added."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st

from comparisons.diagnosis.relations.factors import affine, factor
from comparisons.diagnosis.relations.two_values import TwoValues

NUMBERS = {12: "batch size", 60000: "images", 784: "pixels", 64: "dimensions"}
seeds = st.integers(0, 2**63 - 1)


def random(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def scaled(a, b, numbers=NUMBERS, rtol=1e-9):
    return factor(TwoValues(("this", "that"), a, b, rtol), {"1/2": 0.5}, numbers)


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (12 / 60000, "0.0002 = 12/60000 (batch size over images)"),
        (1 / 784, "1/784 (one over pixels)"),
        (1 / 8, "1/sqrt(64) (one over the root of dimensions)"),
        (-0.1, "-0.1"),
    ],
)
@pytest.mark.parametrize("shape", [(), (4, 3)])
@given_settings(max_examples=20)
@given(seed=seeds)
def test_a_factor_that_counts_something_is_named(shape, times, words, seed):
    a = random(seed, *shape)
    assert scaled(a, a * times) == [f"that is this times {words}"]


@given_settings(max_examples=200)
@given(seeds, st.floats(1e-3, 1e3))
def test_of_one_number_another_factor_is_not_said(seed, times):
    a = random(seed)
    if math.isclose(times, float(f"{times:.2g}"), rel_tol=1e-8):
        return
    assert scaled(a, a * times, {}) == []
    constant = a.expand(3, 4)
    assert scaled(constant, constant * times, {}) == []  # nor of one number again and again


def test_two_names_are_both_said():
    a = random(1, 3, 4)
    (words,) = scaled(a, a * 12, {12: "batch size or columns", 3600: "squares", 300: "more"})
    assert (
        words
        == "that is this times 12 (batch size or columns), or 12 = 3600/300 (squares over more)"
    )


@pytest.mark.parametrize("rtol", [1e-9, 1e-4])
def test_what_is_left_over_is_no_factor(rtol):
    a = random(1, 5, 6)
    b = 3 * a
    b[2, 3] += 1e-2
    assert scaled(a, b, rtol=rtol) == []


@given_settings(max_examples=100)
@given(seeds, st.floats(-100, 100), st.floats(0.1, 10))
def test_an_affine_map_is_told(seed, shift, times):
    a = random(seed, 4, 5)
    two = TwoValues(("this", "that"), a, a * times + shift, 1e-9)
    if abs(times - 1) < 1e-2 or abs(shift) < 1e-2:
        return
    (words,) = affine(two)
    start, _, number = words.rpartition(" ")
    assert start.startswith("that is this times") or "where x is" in words
    if "where x is" not in words:
        sign = -1 if start.endswith("minus") else 1
        assert sign * float(number) == pytest.approx(shift, rel=1e-3)


@pytest.mark.parametrize("constant", [-0.05, 3.0])
def test_a_constant_side_is_no_affine_map(constant):
    """Gradients that are clipped by value may all be the same."""
    a = random(1, 6)
    same = torch.full_like(a, constant)
    for both in ((a, same), (same, a)):
        assert affine(TwoValues(("this", "that"), *both, 1e-4)) == []
