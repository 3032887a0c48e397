"""Fixtures for the tests of PyTorch's engine: one that has started, and a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.draws import Draws

B = 6  # images of `x`


@pytest.fixture
def x(digits):
    return digits.batch(np.arange(B), torch.float64)


@pytest.fixture
def start(conv):
    """A started engine, and the draws of any step for it."""

    def make(settings):
        engine = PyTorchEngine("cpu")
        initial = conv.initial_parameters(settings.seed, settings.latent_dim)
        engine.start(conv, settings, initial)
        draws, spec = Draws(settings.seed, settings.dtype), conv.draws(settings.latent_dim)
        return engine, lambda step: draws.step(step, B, spec)

    return make
