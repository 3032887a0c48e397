"""A factor has a name if it is a ratio of known numbers, or round."""

from __future__ import annotations

import numpy as np
import pytest

from comparisons.diagnosis.relations.names_of_factors import named_factors

NUMBERS = {
    60000: "images", 10000: "images", 784: "pixels", 12: "batch size", 5: "latent dimensions",
}  # fmt: skip


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (12 / 60000, "0.0002 = 12/60000 (batch size over images)"),
        (784 / 5, "156.8 = 784/5 (pixels over latent dimensions)"),
        (1 / 784, "1/784 (one over pixels)"),
        (12.0, "12 (batch size)"),
        (784**-0.5, "1/sqrt(784) (one over the root of pixels)"),
        (5**0.5, "sqrt(5) (the root of latent dimensions)"),
        (0.01, "0.01"),  # and not one over the root of 10000 images
        (10.0, "10"),
        (0.35, "0.35"),
    ],
)
def test_a_factor_is_named(factor, words):
    ((found, value),) = named_factors(factor, NUMBERS)
    assert found == words
    assert value == pytest.approx(factor, rel=1e-15)


def test_a_round_number_is_said_to_be_what_it_is_of():
    ((found, _),) = named_factors(10.0, NUMBERS, of="a weight of the loss")
    assert found == "10 (a weight of the loss)"


def test_several_names_are_all_given():
    numbers = NUMBERS | {3600: "squares", 300: "more"}
    found = [words for words, _ in named_factors(12.0, numbers)]
    assert found == ["12 (batch size)", "12 = 3600/300 (squares over more)"]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_other_factors_have_none(dtype):
    for factor in (1.0, 1 + 1e-9, 1.2345, 0.0, -10.0, float("inf"), float("nan"), 10.01):
        assert list(named_factors(factor, NUMBERS, dtype)) == []
    rng = np.random.default_rng(1)
    factors = 1 + rng.normal(size=300) * 10 ** rng.uniform(-9, -1, 300)
    assert not [one for factor in factors for one in named_factors(factor, NUMBERS)]
