"""Fixtures for the tests of runs that are kept: few images, and a folder for runs on them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stand_ins.kept_runs import LITTLE, Runs

from pyvae.data.images import ImageData


@pytest.fixture(scope="module")
def few():
    pixels = np.random.default_rng(1).integers(0, 256, (23, 784), dtype=np.uint8)
    return ImageData("few", torch.from_numpy(pixels), None, "made here")


@pytest.fixture
def runs(tmp_path, few):
    return Runs(tmp_path / "kept", LITTLE, few)
