"""Mistaken convolutions, transposed convolutions and max-pooling."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from comparisons.diagnosis.mistakes.suspects import Suspects
from comparisons.expected.functions import images

__all__ = ["conv2d", "conv_transpose2d", "max_pool2d", "other_paddings"]

MOST_PADDING = 2


def conv2d(x: Tensor, w: Tensor, b: Tensor, stride: int = 1, padding: int = 0) -> Suspects:
    x = images(x, w.shape[1])
    how: Any = {"stride": stride, "padding": padding}
    yield (
        "its kernel flipped (torch correlates, it does not convolve)",
        F.conv2d(x, w.flip(2, 3), b, **how),
    )
    yield "its kernel's rows and columns exchanged", F.conv2d(x, w.transpose(2, 3), b, **how)
    yield "the image's rows and columns exchanged", F.conv2d(x.transpose(2, 3), w, b, **how)
    yield "no bias", F.conv2d(x, w, **how)
    for words, other in _other_ways(stride, padding):
        if min(x.shape[2:]) + 2 * other["padding"] >= w.shape[2]:
            yield words, F.conv2d(x, w, b, **other)
    for mode, padded in other_paddings(x, padding):
        yield f"padding mode {mode} where it is zeros", F.conv2d(padded, w, b, stride)
    before, after = _same_padding(x.shape[2], w.shape[2], stride)
    if before != after or before > MOST_PADDING:
        padded = F.pad(x, (before, after, before, after))
        yield (
            f"padded by {before} above and left and {after} below and right (TensorFlow's 'same')",
            F.conv2d(padded, w, b, stride),
        )


def other_paddings(x: Tensor, padding: int) -> Suspects:
    """Images padded by something else than zeros, by torch's word for it."""
    if 0 < padding < min(x.shape[2:]):
        for mode in ("reflect", "replicate", "circular"):
            yield mode, F.pad(x, (padding,) * 4, mode=mode)


def _other_ways(stride: int, padding: int) -> list[tuple[str, Any]]:
    """Another padding, another stride; in words."""
    there = f"it is {padding}" if padding else "there is none"
    ways = [
        (
            f"padding {other} where {there}" if other else f"no padding where {there}",
            {"stride": stride, "padding": other},
        )
        for other in range(MOST_PADDING + 1)
        if other != padding
    ]
    return ways + [
        (f"stride {other} where it is {stride}", {"stride": other, "padding": padding})
        for other in (1, 2)
        if other != stride
    ]


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after with which the result has ceil(size / stride) pixels a side."""
    whole = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return whole // 2, whole - whole // 2


def conv_transpose2d(
    x: Tensor, w: Tensor, b: Tensor, stride: int = 1, padding: int = 0
) -> Suspects:
    x = images(x, w.shape[0])
    how: Any = {"stride": stride, "padding": padding}
    inputs, outputs, *kernel = w.shape
    if min(inputs, outputs) > 1:
        read = w.reshape(outputs, inputs, *kernel).transpose(0, 1)
        words = "its weight's memory read as (outputs, inputs) where torch has (inputs, outputs)"
        yield words, F.conv_transpose2d(x, read, b, **how)
    if max(kernel) > 1:
        yield (
            "its kernel flipped (as of a convolution of the spread image)",
            F.conv_transpose2d(x, w.flip(2, 3), b, **how),
        )
        exchanged = w.transpose(2, 3)
        yield (
            "its kernel's rows and columns exchanged",
            F.conv_transpose2d(x, exchanged, b, **how),
        )
        ways = _other_ways(stride, padding)
        for words, other in ways:
            yield words, F.conv_transpose2d(x, w, b, **other)
        if stride > 1:
            yield (
                "output padding 1 where there is none",
                F.conv_transpose2d(x, w, b, stride, padding, output_padding=1),
            )
    yield "no bias", F.conv_transpose2d(x, w, **how)


def max_pool2d(x: Tensor) -> Suspects:
    yield "average pooling", F.avg_pool2d(x, 2)
    yield "stride 1 where it is 2", F.max_pool2d(x, 2, stride=1)
    if x.shape[2] % 2:
        whole = F.max_pool2d(x, 2, ceil_mode=True)
        yield "the last row and column pooled too, though they fill no window (ceil mode)", whole
        late = F.max_pool2d(x[:, :, 1:, 1:], 2)
        yield "the first row and column left out, where the last are", late
