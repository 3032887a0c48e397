"""Constants by which images are usually normalised are told, for all pixels or each channel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st

from comparisons.diagnosis.relations import relation
from comparisons.diagnosis.relations.normalisations import (
    by_channels,
    by_rows,
    normalisation,
    standardised,
)
from comparisons.diagnosis.relations.two_values import TwoValues

seeds = st.integers(0, 2**63 - 1)
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def random(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).uniform(size=shape))


def related(a, b, rtol=1e-9):
    return relation(("this", "that"), a, b, {}, rtol)


@pytest.mark.parametrize(
    ("factor", "shift", "words"),
    [
        (1 / 0.3081, -0.1307 / 0.3081, "(x - 0.1307) / 0.3081: MNIST's usual mean"),
        (1 / 0.3081 / 255, -0.1307 / 0.3081, "(x / 255 - 0.1307) / 0.3081: MNIST's"),
        (1.0, -0.1307, "x - 0.1307: MNIST's usual mean and deviation, not divided"),
        (1 / 0.3081, 0.0, "x / 0.3081: MNIST's usual mean and deviation, the mean not"),
        (0.5 / 0.3081, (0.5 - 0.1307) / 0.3081, "normalised as (x - 0.1307) / 0.3081"),
        (2, -1, "(x - 0.5) / 0.5: 2 x - 1"),
        (1 / 255, 0, "x / 255"),
        (-1, 1, "1 - x"),
        (2, -1.001, ""),
        (3.2, -0.4242, ""),
    ],
)
def test_a_normalisation_has_a_name_only_if_both_constants_are_its_own(factor, shift, words):
    found = normalisation(factor, shift)
    assert found.startswith(words)
    assert bool(found) == bool(words)


@pytest.mark.slow
@pytest.mark.parametrize("axis", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@given_settings(max_examples=12)
@given(seed=seeds)
def test_a_normalisation_of_each_channel_is_named(axis, dtype, seed):
    x = random(seed, 2, 3, 8, 9).movedim(1, axis)
    shape = [3 if at == axis else 1 for at in range(4)]
    mean, deviation = (torch.tensor(one, dtype=torch.float64).view(shape) for one in IMAGENET)
    y = ((x - mean) / deviation).to(dtype).double()
    words = "(x - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225): ImageNet's"
    (found,) = related(x, y, 1e-6)
    assert found.startswith(f"that is {words}")
    assert found.endswith("where x is this")
    (found,) = related(y, x, 1e-6)
    assert found.startswith(f"this is {words}")


def test_two_normalisations_of_the_same_pixels_are_told():
    x = random(1, 4, 1, 8, 8)
    (words,) = related((x - 0.1307) / 0.3081, (x - 0.5) / 0.5)
    assert "MNIST" in words
    assert "from [0, 1] to [-1, 1]" in words


@given_settings(max_examples=12)
@given(seeds)
def test_columns_are_told_to_be_standardised(seed):
    x = random(seed, 12, 6) * 10
    for unbiased, words in ((True, "deviation"), (False, "deviation (biased, by n)")):
        y = (x - x.mean(0)) / x.std(0, unbiased=unbiased)
        expected = f"that is this with each column standardised by its own mean and {words}"
        assert related(x, y) == [expected]
    y = (x - x.amin(0)) / (x.amax(0) - x.amin(0))
    assert related(x, y) == ["that is this with each column scaled from its own range to [0, 1]"]


@pytest.mark.filterwarnings("error")
def test_a_batch_of_one_has_columns_of_single_numbers_and_no_warning():
    two = TwoValues(("this", "that"), random(1, 1, 1, 12), random(2, 1, 1, 12), 1e-9)
    assert not standardised(two)


@given_settings(max_examples=12)
@given(seeds)
def test_rows_are_told_to_be_divided(seed):
    x = random(seed, 5, 7)
    by = "that is this with each row divided by"
    assert related(x, x / x.norm(dim=1, keepdim=True)) == [f"{by} its norm"]
    assert related(x, x / x.sum(1, keepdim=True)) == [f"{by} its sum"]
    assert related(x / x.sum(1, keepdim=True), x) == [
        "this is that with each row divided by its sum"
    ]


@given_settings(max_examples=40)
@given(seeds, st.sampled_from([(5, 3), (12, 6), (2, 3, 4, 4)]))
def test_other_numbers_are_no_normalisation(seed, shape):
    two = TwoValues(("this", "that"), random(seed, *shape), random(seed + 1, *shape), 1e-6)
    assert by_channels(two) == by_rows(two) == []
