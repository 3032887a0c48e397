"""Fixtures for the tests of the training loop: few images, and engines that compute nothing."""

from __future__ import annotations

import pytest
import torch
from stand_ins.recording_engines import RecordingEngine

from pyvae.data.images import ImageData
from pyvae.model.run import Run
from pyvae.trace.trace import Trace
from pyvae.training.loop import train, training_steps


@pytest.fixture
def few():
    """23 images; every pixel of an image is its number."""
    pixels = torch.arange(23, dtype=torch.uint8)[:, None].repeat(1, 784)
    return ImageData("few", pixels, None, "made here")


@pytest.fixture
def record(conv, settings, few):
    def run(observe=None, **changes):
        engine = RecordingEngine()
        wanted = settings(batch_size=5, **{"epochs": 3, "steps": None} | changes)
        return engine, wanted, train(Run(conv, wanted, few), engine, [observe] if observe else [])

    return run


@pytest.fixture
def step_by_step(conv, settings, few):
    """The training loop of 23 images in batches of 5, and the trace that it fills."""

    def make(engine, probe=None, state=None, stop=None, **changes):
        run = Run(conv, settings(batch_size=5, **{"epochs": 3, "steps": None} | changes), few)
        trace = Trace.of_run(run, engine)
        return training_steps(run, engine, trace, probe=probe, state=state, stop=stop), trace

    return make
