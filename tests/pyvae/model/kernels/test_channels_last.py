"""Convolutions with the channels last are PyTorch's, to rounding."""

from __future__ import annotations

import hypothesis
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pyvae.model.kernels import channels_last
from pyvae.model.kernels.channels_last import (
    Conv2d,
    ConvTranspose2d,
    takes_channels_last,
    to_channels_last,
    transposed_convolution,
)
from pyvae.model.kernels.choice import fast_kernels
from pyvae.model.kernels.onednn_blocks import uses_onednn

modest = hypothesis.settings(max_examples=40)
onednn = pytest.mark.skipif(not uses_onednn(), reason="needs an x86 CPU and oneDNN")
NHWC = torch.channels_last


def step(layer: nn.Module, x: torch.Tensor, fast: bool) -> list[torch.Tensor]:
    """What a layer returns, and the gradients of its input and parameters."""
    x = x.clone().requires_grad_()
    layer.zero_grad()
    with fast_kernels(fast):
        y = layer(x)
    (y * torch.linspace(0.1, 1, y.numel()).reshape(y.shape)).sum().backward()
    return [y.detach(), x.grad, *(p.grad.clone() for p in layer.parameters())]


def assert_close(ours, theirs):
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.shape == other.shape
        assert (mine - other).abs().max() <= 1e-5 * other.abs().max() + 1e-5


@onednn
@modest
@given(
    images=st.integers(1, 3),
    channels=st.sampled_from([1, 2, 17, 32]),
    out=st.sampled_from([1, 3, 16]),
    side=st.integers(3, 9),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    bias=st.booleans(),
    kind=st.sampled_from([Conv2d, ConvTranspose2d]),
)
def test_layers_are_torchs(images, channels, out, side, kernel, stride, bias, kind):
    layer = kind(channels, out, kernel, stride=stride, padding=kernel - 1, bias=bias)
    x = torch.randn(images, channels, side, side + 1)
    fast = step(layer, x, True)
    assert_close(fast, step(layer, x, False))
    if out > 1 and min(fast[0].shape[2:]) > 1:
        assert fast[0].is_contiguous(memory_format=NHWC)
        assert not fast[0].is_contiguous()


@onednn
@given(st.integers(1, 3), st.booleans(), st.integers(1, 2), st.integers(0, 1))
@modest
def test_single_pixels_are_torchs(images, bias, groups, more):
    layer = ConvTranspose2d(4, 6, 1, bias=bias, groups=groups, stride=1 + more)
    x = torch.randn(images, 4, 1, 1)
    assert_close(step(layer, x, True), step(layer, x, False))
    larger = ConvTranspose2d(4, 6, 1, output_padding=more, stride=1 + more, bias=bias)
    assert_close(step(larger, x, True), step(larger, x, False))


@pytest.mark.slow
@modest
@given(
    stride=st.integers(1, 3),
    padding=st.integers(0, 1),
    groups=st.integers(1, 2),
    bias=st.booleans(),
)
def test_gradients_are_those_of_finite_differences(stride, padding, groups, bias):
    x = torch.randn(2, 2, 2, 3, dtype=torch.double, requires_grad=True)
    weight = torch.randn(2, 2, 2, 3, dtype=torch.double, requires_grad=True)
    of_bias = torch.randn(2 * groups, dtype=torch.double, requires_grad=True) if bias else None
    how = (stride, stride), (padding, padding), (0, 0), groups, (1, 1)
    assert torch.equal(
        transposed_convolution(x, weight, of_bias, *how),
        F.conv_transpose2d(x, weight, of_bias, *how),
    )
    assert torch.autograd.gradcheck(
        lambda *given: transposed_convolution(*given, *how), (x, weight, of_bias)
    )


def test_only_the_gradients_that_are_needed_are_computed():
    layer = ConvTranspose2d(2, 3, 3, stride=2)
    layer.weight.requires_grad_(False)
    x = torch.randn(1, 2, 4, 4)
    with fast_kernels(True):
        layer(x).sum().backward()
    assert layer.weight.grad is None
    assert layer.bias.grad.tolist() == [81.0] * 3  # 9 x 9 pixels


def test_channels_lie_side_by_side():
    for channels in (1, 3):
        x = torch.randn(2, channels, 4, 5)
        laid = to_channels_last(x)
        assert torch.equal(laid, x)
        assert laid.stride() == (20 * channels, 1, 5 * channels, channels)


@onednn
def test_where_torchs_kernels_are_taken(monkeypatch):
    x = torch.zeros(1, 2, 3, 3)
    assert not takes_channels_last(x)
    with fast_kernels(True):
        assert takes_channels_last(x)
        for unsuitable in (x.double(), x.to("meta"), x[0]):
            assert not takes_channels_last(unsuitable)
        with torch.autocast("cpu", torch.bfloat16):
            assert not takes_channels_last(x)
        with monkeypatch.context() as patch:
            patch.setattr(torch.backends.mkldnn, "enabled", False)
            assert not takes_channels_last(x)
        layer = ConvTranspose2d(2, 3, 3, stride=2)
        assert layer(x, output_size=[8, 8]).shape == (1, 3, 8, 8)


@onednn
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("kind", [Conv2d, ConvTranspose2d])
def test_what_is_not_finite_is_passed_on(kind, value):
    layer = kind(3, 4, 3, stride=2)
    x = torch.randn(2, 3, 7, 7)
    x[1, 2, 3, 3] = value
    with fast_kernels(True):
        fast = layer(x)
    assert torch.equal(fast.isfinite(), layer(x).isfinite())
    assert not fast.isfinite().all()


@modest
@given(
    side=st.integers(4, 6),
    kernel=st.sampled_from([2, 4]),
    stride=st.integers(1, 3),
    padding=st.integers(0, 1),
    output_padding=st.integers(0, 1),
    groups=st.sampled_from([1, 2]),
    bias=st.booleans(),
)
def test_a_transposed_convolution_is_the_gradient_of_another(
    side, kernel, stride, padding, output_padding, groups, bias
):
    """The layer takes it for even windows with a padding, where oneDNN has no good kernel."""
    more = min(output_padding, stride - 1)
    x = torch.randn(2, 4, side, side + 1, dtype=torch.float64)
    weight = torch.randn(4, 3, kernel, kernel + 1, dtype=torch.float64)
    shift = torch.randn(3 * groups, dtype=torch.float64) if bias else None
    how = ((stride,) * 2, (padding,) * 2, (more,) * 2, groups, (1, 1))
    ours = channels_last._as_a_gradient(x, weight, shift, *how)
    torch.testing.assert_close(ours, F.conv_transpose2d(x, weight, shift, *how))
