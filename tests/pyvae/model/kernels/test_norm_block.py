"""Against the modules one after the other, in double precision."""

from __future__ import annotations

import copy

import hypothesis
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pyvae.model.kernels import norm_block as module
from pyvae.model.kernels.choice import fast_kernels
from pyvae.model.kernels.norm_block import norm_block
from pyvae.model.modules import BatchNorm

modest = hypothesis.settings(max_examples=30)


def layers_of(channels, slope=0.0, pools=True, least=-1.0):
    torch.manual_seed(7)
    norm = BatchNorm(channels)
    with torch.no_grad():
        norm.weight.uniform_(least, 1)  # below 0: channels that fall
        norm.bias.normal_()
    relu = nn.LeakyReLU(slope) if slope else nn.ReLU()
    return [norm, relu, *([nn.MaxPool2d(2)] if pools else [])]


def maps(number=3, channels=5, height=4, width=5):
    """With ties in many windows."""
    x = torch.randn((number, channels, height, width), generator=torch.Generator().manual_seed(3))
    return x.where(x > 0, 0.25)


def step(layers, x, fast):
    """What they return, the gradients of all parameters and x, and the running statistics."""
    layers = [copy.deepcopy(layer).to(x.dtype) for layer in layers]
    x = x.clone().requires_grad_()
    with fast_kernels(fast):
        y = norm_block(x, *layers)
    weights = torch.rand(y.shape, generator=torch.Generator().manual_seed(1))
    (y * weights.to(y)).sum().backward()
    whole = nn.ModuleList(layers)
    return [y.detach(), x.grad, *(p.grad for p in whole.parameters()), *whole.buffers()]


@modest
@given(
    number=st.integers(2, 23),
    channels=st.integers(1, 17),
    height=st.integers(2, 5),
    width=st.integers(2, 5),
    slope=st.sampled_from([0.0, 0.2]),
    pools=st.booleans(),
    least=st.sampled_from([-1.0, 0.1]),
    last=st.booleans(),
)
def test_it_is_the_layers_one_after_the_other(number, channels, height, width, last, **how):
    layers, x = layers_of(channels, **how), maps(number, channels, height, width)
    exact = step(layers, x.double(), False)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    for ours, theirs in zip(step(layers, x, True), exact, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).abs().max() <= 2e-5 * (1 + theirs.abs().max())


@pytest.mark.parametrize("slope", [0.0, 0.3])
@pytest.mark.parametrize("pools", [True, False])
def test_finite_differences_agree(slope, pools):
    """With mean and variance that follow x, as batch norm has them."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn((3, 2, 4, 4), generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.tensor([0.7, -1.3], dtype=torch.float64, requires_grad=True)
    bias = torch.tensor([0.1, 0.2], dtype=torch.float64, requires_grad=True)

    def block(x, weight, bias):
        mean, variance = module._moments(x.detach())
        scale = torch.rsqrt(variance + 1e-5)
        return module._NormBlock.apply(x, weight, bias, mean, scale, slope, pools)

    assert torch.autograd.gradcheck(block, (x, weight, bias))


def test_moments_keep_their_digits():
    """PyTorch's batch norm with the channels last has three fewer."""
    x = torch.randn(100, 32, 15, 15, generator=torch.Generator().manual_seed(0))
    x = x.where(x > -0.3, 0.25).contiguous(memory_format=torch.channels_last)
    mean, variance = module._moments(x)
    exact = torch.var_mean(x.double(), (0, 2, 3), correction=0)
    torch.testing.assert_close(variance, exact[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(mean, exact[1], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("pools", [True, False])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_passed_on(value, pools):
    x = maps()
    x[0, 1, 0, 0] = value
    with fast_kernels(True):
        y = norm_block(x, *layers_of(5, pools=pools))
    assert y[:, 1].isnan().all()
    assert y[:, [0, 2, 3, 4]].isfinite().all()


def test_a_layer_that_is_watched_is_called():
    seen = []
    layers = layers_of(5)
    layers[1].register_forward_hook(lambda *call: seen.append(call[2]))
    with fast_kernels(True):
        norm_block(maps(), *layers)
    assert len(seen) == 1


def test_otherwise_it_is_pytorchs_to_the_bit():
    x = maps()
    layers = layers_of(5)
    expected = nn.Sequential(*layers)(x)
    assert torch.equal(norm_block(x, *layers), expected)
    nn.Sequential(*layers).eval()
    with fast_kernels(True):
        assert torch.equal(norm_block(x, *layers), nn.Sequential(*layers)(x))
