"""The probe that is compared, and changed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stand_ins.probes import BATCH, CONV, LATENT, SETTINGS, Seen

from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.draws import Draws


@pytest.fixture(scope="module")
def probe(digits):
    """What PyTorch's engine saw in its first step. One thread: that two wait for each other
    takes longer than what they do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    engine = PyTorchEngine("cpu")
    engine.start(CONV, SETTINGS, CONV.initial_parameters(SETTINGS.seed, LATENT))
    seen = Seen()
    x = digits.batch(np.arange(BATCH), torch.float64)
    engine.step(x, Draws(SETTINGS.seed).step(0, BATCH, CONV.draws(LATENT)), seen)
    yield seen
    torch.set_num_threads(threads)
