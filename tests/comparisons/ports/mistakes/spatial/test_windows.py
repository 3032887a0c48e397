"""The windows of a pooling layer hold what PyTorch pools."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from examples.example import called
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from comparisons.ports.mistakes.spatial.windows import Pool, axes_of, each, windows

SIZES = {1: (9,), 2: (7, 8), 3: (5, 6, 4)}


@settings(max_examples=40)
@given(data=st.data())
def test_windows_hold_what_is_pooled(data):
    axes = data.draw(st.sampled_from(sorted(SIZES)))
    kernel = [data.draw(st.integers(1, 3)) for _ in range(axes)]
    stride = [data.draw(st.integers(1, 3)) for _ in range(axes)]
    padding = [data.draw(st.integers(0, size // 2)) for size in kernel]
    dilation = data.draw(st.integers(1, 2)) if max(kernel) < 3 else 1
    layer = getattr(nn, f"MaxPool{axes}d")(tuple(kernel), tuple(stride), tuple(padding), dilation)
    x = torch.randn(2, 3, *SIZES[axes], dtype=torch.float64)
    call = called(layer, (x,))
    pool = Pool.of(call)
    assert (axes_of(call), pool.kernel, pool.stride) == (axes, kernel, stride)
    assert torch.equal(windows(pool, -math.inf).amax(-1), layer(x))
    if dilation == 1:
        average = getattr(F, f"avg_pool{axes}d")
        right = average(x, kernel, stride, padding)
        torch.testing.assert_close(windows(pool, 0.0).mean(-1), right, rtol=0, atol=1e-14)


def test_one_number_stands_for_all_axes():
    assert each(3, 2) == [3, 3]
    assert each((3, 4), 2) == [3, 4]


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "sides"),
    [
        (8, 3, 2, 1, [(0, 1)]),  # as TensorFlow: the odd one after
        (7, 3, 2, 1, None),  # one before and one after, as PyTorch
        (8, 2, 2, 0, None),  # none
        (7, 2, 2, 0, [(0, 1)]),
        (5, 4, 1, 0, [(1, 2)]),
    ],
)
def test_tensorflow_pads_as_little_as_it_can(size, kernel, stride, padding, sides):
    layer = nn.MaxPool1d(kernel, stride, padding)
    pool = Pool.of(called(layer, (torch.randn(2, 3, size),)))
    assert pool.same() == sides
    if sides is not None:
        assert windows(pool, 0.0, sides).shape[-2] == -(-size // stride)
