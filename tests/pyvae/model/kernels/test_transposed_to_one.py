"""Against PyTorch's."""

from __future__ import annotations

import hypothesis
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from pyvae.model.kernels.choice import fast_kernels
from pyvae.model.kernels.onednn_blocks import uses_onednn
from pyvae.model.kernels.transposed_to_one import (
    ConvTranspose2dToOne,
    transposed_convolution_to_one,
)

modest = hypothesis.settings(max_examples=40)


def made(kernel, stride, padding, images=2, channels=3, dtype=torch.float64):
    torch.manual_seed(5)
    layer = ConvTranspose2dToOne(channels, kernel, stride, padding).to(dtype)
    return layer, torch.randn(images, channels, 4, 5, dtype=dtype)


@modest
@given(
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 1),
    images=st.integers(1, 3),
    channels=st.integers(1, 17),
    biased=st.booleans(),
)
def test_it_is_pytorchs(kernel, stride, padding, images, channels, biased):
    layer, x = made(kernel, stride, padding, images, channels)
    given_to = [x.requires_grad_(), layer.weight, *([layer.bias] if biased else [])]
    bias = layer.bias if biased else None
    ours = transposed_convolution_to_one(x, layer.weight, bias, stride, padding)
    theirs = F.conv_transpose2d(x, layer.weight, bias, stride, padding)
    torch.testing.assert_close(ours, theirs)
    weights = torch.rand_like(ours)
    gradients = [torch.autograd.grad((y * weights).sum(), given_to) for y in (ours, theirs)]
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other)


def test_finite_differences_agree():
    layer, x = made(4, 2, 1)
    assert torch.autograd.gradcheck(
        lambda *given: transposed_convolution_to_one(*given, 2, 1),
        (x.requires_grad_(), layer.weight, layer.bias),
    )


@pytest.mark.skipif(not uses_onednn(), reason="needs an x86 CPU and oneDNN")
def test_the_layer_takes_it_where_it_is_wanted(monkeypatch):
    calls = []

    def called(*given):
        calls.append(given[3:])
        return transposed_convolution_to_one(*given)

    monkeypatch.setattr(
        "pyvae.model.kernels.transposed_to_one.transposed_convolution_to_one", called
    )
    layer, x = made(4, 2, 1, dtype=torch.float32)
    expected = F.conv_transpose2d(x, layer.weight, layer.bias, 2, 1)
    assert torch.equal(layer(x), expected)
    with fast_kernels(True):
        assert layer(x, [8, 10]).shape == expected.shape
        assert not calls
        torch.testing.assert_close(layer(x), expected)
    assert calls == [(2, 1)]
    x[0, 0, 0, 0] = float("nan")
    with fast_kernels(True):
        assert layer(x).isnan().any()
