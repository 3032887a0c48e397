"""Finished runs to draw, which were never trained."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from shown.figures_help import finished_trace


@pytest.fixture
def trained():
    """A finished run of three steps of 12 images for two objectives, by name."""
    return {
        name: finished_trace("conv", objective=name, batch_size=12, latent_dim=5, dtype="float64")
        for name in ("vae", "emae")
    }


@pytest.fixture
def traces(trained):
    return [trained["vae"], trained["emae"]]


@pytest.fixture
def epochs(traces):
    """The same runs as if each step had been two batches of an epoch of its own."""
    return [
        dataclasses.replace(
            trace, losses=np.repeat(trace.losses, 2, axis=0), epochs=np.array([1, 1, 2, 2, 3, 3])
        )
        for trace in traces
    ]
