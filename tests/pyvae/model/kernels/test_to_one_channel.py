"""A convolution to one channel is PyTorch's, to rounding."""

from __future__ import annotations

import hypothesis
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from pyvae.model.kernels.choice import fast_kernels
from pyvae.model.kernels.onednn_blocks import uses_onednn
from pyvae.model.kernels.to_one_channel import Conv2dToOne, convolution_to_one

modest = hypothesis.settings(max_examples=60)
SHAPES = st.tuples(
    st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4),
    st.integers(0, 3), st.integers(0, 3),
)  # fmt: skip


@modest
@given(SHAPES, st.booleans(), st.booleans())
def test_it_is_torchs_with_its_gradients(sizes, bias, last):
    images, channels, rows, columns, more_rows, more_columns = sizes
    x = torch.randn(images, channels, rows + more_rows, columns + more_columns, dtype=torch.double)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    weight = torch.randn(1, channels, rows, columns, dtype=torch.double)
    of_bias = torch.randn(1, dtype=torch.double) if bias else None
    given_ = [t if t is None else t.requires_grad_() for t in (x, weight, of_bias)]
    found, expected = convolution_to_one(*given_), F.conv2d(*given_)
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)
    factors = torch.randn_like(found)
    needed = [t for t in given_ if t is not None]
    ours = torch.autograd.grad((found * factors).sum(), needed)
    theirs = torch.autograd.grad((expected * factors).sum(), needed)
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, other, rtol=1e-12, atol=1e-12)


def test_gradients_are_those_of_finite_differences():
    shapes = (2, 3, 5, 4), (1, 3, 3, 2), (1,)
    given_ = [torch.randn(shape, dtype=torch.double, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(convolution_to_one, given_)


@pytest.mark.skipif(not uses_onednn(), reason="needs an x86 CPU and oneDNN")
@pytest.mark.parametrize("value", [0.5, float("nan"), float("inf")])
def test_the_layer_takes_it_where_fast_kernels_are_wanted(monkeypatch, value):
    taken = []

    def seen(*given_):
        taken.append(given_)
        return convolution_to_one(*given_)

    monkeypatch.setattr("pyvae.model.kernels.to_one_channel.convolution_to_one", seen)
    layer = Conv2dToOne(32, 4)
    x = torch.randn(2, 32, 9, 9)
    x[1, 7, 4, 5] = value
    plain = layer(x)
    assert not taken
    with fast_kernels(True):
        fast = layer(x)
    assert len(taken) == 1
    assert torch.allclose(fast, plain, rtol=1e-5, atol=1e-6, equal_nan=True)
    assert fast.isfinite().all() == (value == 0.5)
