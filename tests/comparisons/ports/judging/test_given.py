"""What was done to a gradient before the update."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from comparisons.ports.judging.given import Change, change_of

RTOL = 1e-4


def gradient(seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal((5, 7)).astype(dtype)


@given(st.floats(1e-3, 1e3).filter(lambda x: abs(x - 1) > 1e-3), st.integers(0, 20))
def test_a_factor(factor, seed):
    found = change_of(gradient(seed), gradient(seed) * np.float32(factor), RTOL)
    assert found.kind == "scaled"
    assert math.isclose(found.number, factor, rel_tol=1e-5)


@pytest.mark.parametrize("largest", [0.1, 0.5, 2.0])
def test_pytorchs_clipping(largest):
    """By norm and by value."""
    parameter = nn.Parameter(torch.zeros(5, 7))
    for clip, kind in (
        (nn.utils.clip_grad_norm_, "scaled"),
        (nn.utils.clip_grad_value_, "clamped"),
    ):
        parameter.grad = torch.tensor(gradient())
        clip(parameter, largest)
        found = change_of(gradient(), parameter.grad.numpy(), RTOL)
        assert found.kind == kind
        if kind == "clamped":
            assert math.isclose(found.number, largest, rel_tol=1e-6)


def test_nothing_and_something_else():
    one, other = gradient(), gradient(1)
    assert change_of(one, one, RTOL) == Change("none")
    assert change_of(one, other, RTOL) == Change("other")
    assert change_of(one, one + 0.1, RTOL).kind == "other"
    assert change_of(np.zeros(3), np.ones(3), RTOL).kind == "other"


def test_two_sides_that_do_the_same():
    assert Change("scaled", 0.5).is_like(Change("scaled", 0.50001), RTOL)
    assert not Change("scaled", 0.5).is_like(Change("scaled", 0.51), RTOL)
    assert not Change("none").is_like(Change("scaled", 0.5), RTOL)
    assert Change("none").is_like(Change("scaled", 1.00001), RTOL)
    assert not Change("clamped", 0.5).is_like(Change("scaled", 0.5), RTOL)
    assert not Change("other").is_like(Change("other"), RTOL)
