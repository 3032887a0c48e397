"""Noise of two distributions is told, and of one distribution never said to be of two."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st

from comparisons.diagnosis.relations.noise import not_normal, other_distribution

seeds = st.integers(0, 2**32 - 1)
OTHERS = {
    "uniform in [0, 1)": lambda rng, n: rng.random(n),
    "uniform in [-1, 1)": lambda rng, n: rng.uniform(-1, 1, n),
    "Laplace": lambda rng, n: rng.laplace(size=n),
    "exponential": lambda rng, n: rng.exponential(size=n),
    "|x| of normal x": lambda rng, n: np.abs(rng.normal(size=n)),
    "-1 and 1 alone": lambda rng, n: rng.choice([-1.0, 1.0], n),
}


def told(x, y):
    return other_distribution(("this", "that"), torch.from_numpy(x), torch.from_numpy(y))


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_another_distribution_is_named(name):
    rng = np.random.default_rng(1)
    numbers = 60 if name.startswith("uniform") else 1000
    found = [told(rng.normal(size=numbers), OTHERS[name](rng, numbers)) for _ in range(10)]
    right = [words for words in found if words and name in words[0] and "normal" in words[0]]
    assert len(right) >= 8  # by chance one is not told
    assert all(not words or words in right for words in found)


@pytest.mark.slow
@given_settings(max_examples=10)
@given(seeds, st.sampled_from([40, 60, 500]))
def test_two_draws_of_one_distribution_are_of_one(seed, numbers):
    rng = np.random.default_rng(seed)
    assert told(rng.normal(size=numbers), rng.normal(size=numbers)) == []
    assert told(rng.random(numbers), rng.random(numbers)) == []
    assert told(rng.normal(size=numbers), 1.1 * rng.normal(size=numbers)) == []


@pytest.mark.parametrize("name", OTHERS)
def test_numbers_that_are_not_normal_are_told(name):
    rng = np.random.default_rng(1)
    found = not_normal(torch.from_numpy(OTHERS[name](rng, 1000)))
    assert found == name
    assert not_normal(torch.from_numpy(rng.normal(size=1000))) == ""


def test_few_numbers_are_of_any():
    rng = np.random.default_rng(1)
    assert told(rng.normal(size=39), rng.random(39)) == []
