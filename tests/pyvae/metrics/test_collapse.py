from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from shown.figures_help import finished_trace

from pyvae.metrics.collapse import latents_in_words


@pytest.fixture
def trained():
    """A finished run of three steps of 12 images for two objectives, by name."""
    return {
        name: finished_trace("conv", objective=name, batch_size=12, latent_dim=5, dtype="float64")
        for name in ("vae", "emae")
    }


@pytest.fixture
def ended(trained):
    """A run of 12 images a batch whose regulariser is so many nats per image, with as many of 5
    latent dimensions active."""

    def make(objective, regulariser, active):
        losses = trained[objective].losses.copy()
        losses[:, 2] = 12 * regulariser
        means = np.zeros((12, 5))
        means[::2, :active] = 0.3
        return replace(trained[objective], losses=losses, latent_means={"evaluation": means})

    return make


def test_active_units_are_reported(ended):
    assert latents_in_words(ended("vae", 5, 2)) == [
        "2 of 5 latent dimensions are active (variance of the posterior means above 0.01; last "
        "batch of 12, evaluation mode)"
    ]


def test_posterior_collapse_is_reported(ended):
    _, said = latents_in_words(ended("vae", 0.0523, 0))
    assert said == (
        "posterior collapse: the KL of the last epoch is 0.052 nats per image, so the latents "
        "carry almost no information about the images"
    )


def test_collapse_is_not_reported_without_a_kl(ended):
    assert len(latents_in_words(ended("emae", 0.0523, 0))) == 1
