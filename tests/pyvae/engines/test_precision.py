from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch

from pyvae.engines.precision import Precision
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.model.run import Run
from pyvae.trace.trace import Trace
from pyvae.training.loop import train

CPU = torch.device("cpu")


class Pair(NamedTuple):
    one: torch.Tensor
    other: object


def test_what_a_device_or_a_dtype_does_not_have_is_told():
    with pytest.raises(UserError, match=r"--precision tf32 needs an NVIDIA GPU\. Use"):
        Precision("tf32", CPU)
    with pytest.raises(UserError, match="--precision bf16 with --dtype float64"):
        Precision("bf16", CPU, torch.float64)
    with pytest.raises(UserError, match=r"unknown precision 'bf61'.*Did you mean 'bf16'"):
        Precision("bf61", CPU)


def test_what_a_network_returns_is_brought_to_single_precision_at_any_depth():
    half = torch.ones(2, dtype=torch.bfloat16)
    found = Precision("bf16", CPU).finish(Pair(half, (Pair(half, None), "text")))
    assert type(found) is Pair
    assert found.one.dtype == found.other[0].one.dtype == torch.float32
    assert found.other[0].other is None
    assert found.other[1] == "text"
    assert Precision("full", CPU).finish(half) is half


@pytest.mark.slow
def test_bfloat16_trains_nearly_the_same(conv, settings, digits):
    run = settings(dtype="float32", batch_size=100, steps=8)
    full = train(Run(conv, run, digits), PyTorchEngine("cpu"))
    engine = PyTorchEngine("cpu", precision="bf16")
    half = train(Run(conv, run, digits), engine)
    difference = np.abs(half.losses[:, 0] / full.losses[:, 0] - 1)
    assert 1e-6 < difference.max() < 0.01  # rounded otherwise, and not much
    assert {value.dtype for value in half.parameters.values()} == {np.dtype("float32")}
    assert engine.environment()["precision"] == "bf16"
    assert "precision" not in PyTorchEngine("cpu").environment()


def test_probabilities_near_1_are_not_rounded_to_1(conv, settings, digits):
    engine = PyTorchEngine("cpu", precision="bf16")
    run = settings(dtype="float32")
    engine.start(conv, run, conv.initial_parameters(1, run.latent_dim))
    with torch.no_grad():
        engine.network.decoder.conv2.bias.fill_(8.0)  # sigmoid(8) = 0.99966, in bfloat16 1
    x = digits.batch(np.arange(4), torch.float32)
    with engine.precision.computing():
        pixels = engine.network(x).pixels
    assert pixels.dtype == torch.float32
    assert 0.999 < float(pixels.min().detach()) <= float(pixels.max().detach()) < 1


def test_another_precision_is_another_run(conv, settings, digits):
    """Of the trace, so that a run does not go on in another precision."""
    run = settings(dtype="float32")
    one, other = (
        Trace.of_run(Run(conv, run, digits), PyTorchEngine("cpu", precision=name))
        for name in ("full", "bf16")
    )
    assert one.environment != other.environment
