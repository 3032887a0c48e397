"""Against the modules one after the other, in double precision."""

from __future__ import annotations

import copy

import hypothesis
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pyvae.model.kernels import image_block as module
from pyvae.model.kernels.choice import fast_kernels
from pyvae.model.kernels.image_block import image_block
from pyvae.model.modules import BatchNorm

modest = hypothesis.settings(max_examples=30)


def layers_of(kernel=4, stride=1, padding=2, bias=True, slope=0.0, pools=True, channels=1):
    torch.manual_seed(7)
    convolution = nn.Conv2d(channels, 6, kernel, stride, padding, bias=bias)
    norm = BatchNorm(6)
    with torch.no_grad():
        norm.weight.uniform_(-1, 1)  # channels that fall, too
        norm.bias.normal_()
    relu = nn.LeakyReLU(slope) if slope else nn.ReLU()
    return [convolution, norm, relu, *([nn.MaxPool2d(2)] if pools else [])]


def images(number=5, channels=1, side=9):
    """Flat patches as MNIST's background: windows with ties."""
    generator = torch.Generator().manual_seed(number)
    x = torch.rand((number, channels, side, side + 1), generator=generator)
    return x.where(torch.rand(x.shape, generator=generator) < 0.3, 0.0)


def step(layers, x, fast):
    """What they return, the gradients of all parameters and the running statistics."""
    layers = [copy.deepcopy(layer).to(x.dtype) for layer in layers]
    with fast_kernels(fast):
        y = image_block(x, *layers)
    weights = torch.rand(y.shape, generator=torch.Generator().manual_seed(1))
    (y * weights.to(y)).sum().backward()
    whole = nn.ModuleList(layers)
    return [y.detach(), *(p.grad for p in whole.parameters()), *whole.buffers()]


@modest
@given(
    number=st.integers(2, 23),
    kernel=st.integers(2, 4),
    stride=st.integers(1, 2),
    padding=st.integers(0, 2),
    bias=st.booleans(),
    slope=st.sampled_from([0.0, 0.2]),
    pools=st.booleans(),
    channels=st.integers(1, 2),
)
def test_it_is_the_layers_one_after_the_other(number, channels, **how):
    layers, x = layers_of(channels=channels, **how), images(number, channels)
    exact = step(layers, x.double(), False)
    for ours, theirs in zip(step(layers, x, True), exact, strict=True):
        assert ours.dtype == torch.float32
        # of the largest: a kernel's gradient before batch norm is a sum that cancels (2.6e-5 seen)
        assert (ours - theirs).abs().max() <= 5e-5 * (1 + theirs.abs().max())


def test_the_convolutions_bias_has_no_gradient():
    """Batch norm takes it away again; PyTorch's gradient is rounding."""
    _, _, of_bias, *_ = step(layers_of(), images(), True)
    assert of_bias.abs().max() < 1e-6


@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_finite_differences_agree(slope):
    patches, rest = module._patches(images(3).double(), layers_of()[0].double(), 2)
    weights = torch.randn(2, 17, dtype=torch.float64, requires_grad=True)
    assert rest.shape[:3] == (1, 17, 3)
    assert torch.autograd.gradcheck(lambda w: module._Products.apply(patches, w, slope), weights)


@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("scale", [1, 100, 10_000])
def test_a_constant_image_is_a_number(value, scale):
    """Its variance is 0, and with large weights rounding makes of it less than -eps."""
    layers, x = layers_of(padding=0), torch.full((5, 1, 28, 29), value)
    with torch.no_grad():
        layers[0].weight.mul_(scale)
    output, *rest = step(layers, x, True)
    assert all(part.isfinite().all() for part in rest)
    expected = layers[2](layers[1].bias.detach())  # batch norm leaves nothing else
    error = 1e-6 * layers[0].weight.detach().abs().sum((1, 2, 3)).max() / layers[1].eps ** 0.5
    assert (output - expected[:, None, None]).abs().max() <= 1e-6 + value * error
    assert rest[-1].min() >= 0.9 * (1 - 1e-6)  # of the running variances, 1 before


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_passed_on(value):
    layers = layers_of()
    with torch.no_grad():
        layers[0].weight.view(-1)[3] = value
    with fast_kernels(True):
        assert image_block(images(), *layers)[:, 0].isnan().all()


def test_a_layer_that_is_watched_is_called():
    seen = []
    layers = layers_of()
    for watched in range(5):
        hooks = [
            layer.register_forward_hook(lambda *call: seen.append(call[2]))
            for layer in layers[:watched]
        ]
        with fast_kernels(True):
            image_block(images(), *layers)
        assert len(seen) == watched
        seen.clear()
        for hook in hooks:
            hook.remove()


def test_otherwise_it_is_pytorchs_to_the_bit():
    x = images()
    for unsuitable in (x.double(), x.clone().requires_grad_()):
        layers = [layer.to(unsuitable.dtype) for layer in layers_of()]
        expected = nn.Sequential(*layers)(unsuitable)
        with fast_kernels(True):
            assert torch.equal(image_block(unsuitable, *layers), expected)
    layers = layers_of()
    nn.Sequential(*layers).eval()
    with fast_kernels(True):
        assert torch.equal(image_block(x, *layers), nn.Sequential(*layers)(x))
