"""RMSprop, held against Keras' formula and PyTorch's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from comparisons.ports.expected.rmsprop import RMSprop

GRADIENTS = np.random.default_rng(1).normal(size=(5, 4)) * [1e-4, 1e-3, 1, 10]


def trained(kind, **settings):
    one = torch.nn.Parameter(torch.ones(4, dtype=torch.float64))
    optimiser = kind([one], lr=0.1, alpha=0.9, eps=1e-7, **settings)
    for gradient in GRADIENTS:
        one.grad = torch.from_numpy(gradient)
        optimiser.step()
    return one.detach().numpy(), optimiser.state[one]


@pytest.mark.parametrize("centered", [False, True])
def test_eps_inside_is_keras_formula(centered):
    x, square, mean = np.ones(4), np.zeros(4), np.zeros(4)
    for g in GRADIENTS:
        square = 0.9 * square + 0.1 * g**2
        mean = 0.9 * mean + 0.1 * g
        x = x - 0.1 * g / np.sqrt(square - centered * mean**2 + 1e-7)
    found, state = trained(RMSprop, centered=centered, eps_inside=True)
    np.testing.assert_allclose(found, x, rtol=1e-12)
    np.testing.assert_allclose(state["square_avg"], square, rtol=1e-12)
    assert state["step"] == 5


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.9}, {"weight_decay": 0.1}])
def test_it_is_pytorchs_otherwise(settings):
    assert np.array_equal(
        trained(RMSprop, **settings)[0], trained(torch.optim.RMSprop, **settings)[0]
    )
    if settings:
        with pytest.raises(ValueError, match="of the plain RMSprop alone"):
            trained(RMSprop, eps_inside=True, **settings)
