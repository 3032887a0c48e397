"""The order in memory changes nothing that is computed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pyvae.recipes.conv
from pyvae.engines.engine import DivergedError
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.kernels.onednn_blocks import from_blocks, relu_then_pool, to_blocks
from pyvae.model.run import Run
from pyvae.training.loop import train

blocks = pytest.mark.skipif(
    not to_blocks(torch.zeros(1, 1, 4, 4)).is_mkldnn, reason="needs an x86 CPU and oneDNN"
)


def images(count: int = 9) -> torch.Tensor:
    """With ties in most windows of a max-pool: flat patches, as MNIST's background."""
    generator = torch.Generator().manual_seed(3)
    x = torch.rand((count, 1, 28, 28), generator=generator)
    return x.where(torch.rand(x.shape, generator=generator) < 0.2, 0.0)


def features_and_gradients(lay, back) -> list[torch.Tensor]:
    torch.manual_seed(5)
    convolutions = [nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3)]
    x = torch.relu(convolutions[0](lay(images())))
    pooled = back(relu_then_pool(nn.ReLU(), nn.MaxPool2d(2), convolutions[1](x)))
    weights = torch.rand(pooled.shape, generator=torch.Generator().manual_seed(1))
    (pooled * weights).sum().backward()
    return [pooled.detach(), *(p.grad for c in convolutions for p in c.parameters())]


@blocks
def test_features_and_gradients_are_equal_in_every_bit():
    plain = features_and_gradients(lambda x: x, lambda x: x)
    for ours, theirs in zip(features_and_gradients(to_blocks, from_blocks), plain, strict=True):
        assert torch.equal(ours, theirs)
    windows = F.unfold(plain[0][:, :1], 2, stride=2)
    assert (windows.amax(1) == windows.mean(1)).any()  # there were ties


@pytest.mark.slow
@blocks
@pytest.mark.parametrize("objective", ["vae", "emae"])
def test_a_run_is_equal_in_every_bit(monkeypatch, conv, settings, digits, objective):
    run = settings(dtype="float32", objective=objective, batch_size=50)
    used = []

    def seen(x, *convolutions):
        used.append(to_blocks(x, *convolutions).is_mkldnn)
        return to_blocks(x, *convolutions)

    monkeypatch.setattr(pyvae.recipes.conv, "to_blocks", seen)
    fast = train(Run(conv, run, digits), PyTorchEngine("cpu"))
    assert all(used)
    assert used
    monkeypatch.setattr(pyvae.recipes.conv, "to_blocks", lambda x, *convolutions: x)
    plain = train(Run(conv, run, digits), PyTorchEngine("cpu"))
    np.testing.assert_array_equal(fast.losses, plain.losses)
    for name, value in plain.parameters.items():
        np.testing.assert_array_equal(fast.parameters[name], value, err_msg=name)


def test_images_that_onednn_cannot_take_stay_plain(monkeypatch):
    x = torch.zeros(1, 1, 4, 4)
    for unsuitable in (x.double(), x.clone().requires_grad_(), x.to("meta")):
        assert to_blocks(unsuitable) is unsuitable
    with monkeypatch.context() as patch:
        patch.setattr(torch.backends.mkldnn, "enabled", False)
        assert to_blocks(x) is x
    with torch.autocast("cpu", torch.bfloat16):
        assert to_blocks(x) is x
    assert from_blocks(x) is x


@blocks
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e30, 1e9])
@pytest.mark.parametrize("name", ["weight", "bias"])
def test_where_a_convolution_could_overflow_images_stay_plain(value, name):
    """oneDNN's ReLU and max-pool would make zeros of NaN."""
    convolution = nn.Conv2d(1, 32, 3)
    assert to_blocks(images(), convolution).is_mkldnn
    with torch.no_grad():
        getattr(convolution, name).view(-1)[7] = value
    assert not to_blocks(images(), convolution).is_mkldnn


@blocks
def test_a_run_that_diverges_is_seen_to(conv, settings, digits):
    engine = PyTorchEngine("cpu")

    def spoil(progress):
        with torch.no_grad():
            engine.network.encoder.conv1.weight.fill_(float("nan"))

    with pytest.raises(DivergedError):
        train(Run(conv, settings(dtype="float32"), digits), engine, callbacks=[spoil])


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of a later PyTorch
def test_a_network_can_be_traced(conv):
    """For who takes it elsewhere: no tensor in blocks is in the traced graph."""
    network = conv.network(3).eval()
    x = images(2).reshape(2, 784)
    traced = torch.jit.trace(network.encoder, (x,))
    assert "mkldnn" not in str(traced.graph)
    for ours, theirs in zip(traced(x), network.encoder(x), strict=True):
        assert torch.equal(ours, theirs)
