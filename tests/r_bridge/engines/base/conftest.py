"""Fixtures for the tests of the R engines: a process of R for each, short runs, few images."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from r_bridge.engines import stage_network
from r_bridge.engines.base_r import BaseREngine
from r_bridge.engines.r_torch import RTorchEngine


@pytest.fixture(scope="session")
def r():
    """Base R, the same for all files."""
    with BaseREngine(threads=1) as engine:
        yield engine


@pytest.fixture(scope="module")
def rt():
    """R's torch, on as many threads as PyTorch."""
    with RTorchEngine() as engine:
        yield engine


@pytest.fixture
def images(request):
    """How many are in a batch: more where every bit is to be equal, which small sums are anyway."""
    return 12 if request.node.get_closest_marker("r_torch") else 5


@pytest.fixture
def settings(settings, images):
    """Makes settings for a short run."""
    return lambda **changes: settings(**{"batch_size": images} | changes)


@pytest.fixture
def parts_of_two(conv, monkeypatch):
    """R works on no more than two images at a time."""
    numbers = sum(math.prod(shape) for stage in conv.stages for shape in stage.shapes)
    monkeypatch.setattr(stage_network, "CHUNK", 2 * numbers)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def few(digits, images):
    """Two batches an epoch, and images that are left over."""
    return replace(digits, name="few", pixels=digits.pixels[: 2 * images + 3])
