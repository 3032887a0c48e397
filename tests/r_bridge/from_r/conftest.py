"""Runs and images as R asks for them."""

from __future__ import annotations

import numpy as np
import pytest

from r_bridge.from_r import Training, pack


@pytest.fixture
def images():
    """40 images of noise, as R sends them."""
    x = np.random.default_rng(1).integers(0, 256, (40, 784), dtype=np.uint8)
    return pack(x) | {"name": "R"}


@pytest.fixture(scope="session")
def small():
    """The settings of a short run."""

    def make(**changes):
        return {
            "recipe": "beta", "device": "cpu", "objective": "beta", "epochs": 2, "batch_size": 20,
            "latent_dim": 3, "seed": 4, "dtype": "float64", "hyper": {},
        } | changes  # fmt: skip

    return make


@pytest.fixture(scope="session")
def run(small):
    """Trains, and answers every question with `reply`; returns what R is told first and last."""

    def train(x, labels=None, further=None, reply=lambda question: True, **changes):
        training = Training(x, labels, small(**changes), further)
        about = training.start()["value"]
        while True:
            now = training.advance(5.0)["value"]
            if now["question"] is not None:
                training.reply(reply(now["question"]))
            if now["done"]:
                return about, training.finish()["value"]

    return train
