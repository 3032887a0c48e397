"""Mistaken pooling to a given number of pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from comparisons.ports.mistakes.mistake import Call, mistake
from comparisons.ports.mistakes.spatial.windows import axes_of

AVERAGE = ("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d")
MAX = ("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
BOTH = (*AVERAGE, *MAX)
AVERAGE_POOLS = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)
MAX_POOLS = (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d)
WEIGHTED = {1: "linear", 2: "bilinear", 3: "trilinear"}

Made = Iterator[tuple[str, Tensor]]
Bounds = Callable[[int, int, int], tuple[int, int]]  # of a window: its number, of how many, pixels


def _sizes(call: Call) -> tuple[list[int], list[int]]:
    """Pixels before and after, of each axis."""
    x, axes = call.inputs[0], axes_of(call)
    return list(x.shape[-axes:]), list(call().shape[-axes:])


def _pooled(call: Call, bounds: Bounds) -> Tensor:
    """With windows that begin and end elsewhere."""
    x = call.inputs[0]
    first = x.dim() - axes_of(call)
    for at, (size, count) in enumerate(zip(*_sizes(call), strict=True)):
        pieces = []
        for one in range(count):
            start, end = bounds(one, count, size)
            window = x.narrow(first + at, start, end - start)
            axis = first + at
            pieces.append(window.amax(axis) if call.layer in MAX else window.mean(axis))
        x = torch.stack(pieces, first + at)
    return x


@mistake(AVERAGE, "max-pooling in its place")
def maximum_for_average(call: Call) -> Tensor:
    return MAX_POOLS[axes_of(call) - 1](call.inputs[0], call.options["output_size"])


@mistake(MAX, "average pooling in its place")
def average_for_maximum(call: Call) -> Tensor:
    return AVERAGE_POOLS[axes_of(call) - 1](call.inputs[0], call.options["output_size"])


@mistake(BOTH)
def other_windows(call: Call) -> Made:
    before, after = _sizes(call)
    if all(size % count == 0 for size, count in zip(before, after, strict=True)):
        return

    def equal(one: int, count: int, size: int) -> tuple[int, int]:
        width = max(size // count, 1)
        return one * width, (one + 1) * width

    def apart(one: int, count: int, size: int) -> tuple[int, int]:
        start = one * size // count
        return start, max((one + 1) * size // count, start + 1)

    def spread(one: int, count: int, size: int) -> tuple[int, int]:
        stride = max(size // count, 1)
        return one * stride, one * stride + size - (count - 1) * stride

    yield "windows of size // count pixels, the rest left out", _pooled(call, equal)
    yield "windows that do not overlap: each ends where the next begins", _pooled(call, apart)
    words = "windows of one size and one stride (size // count), which overlap more"
    yield words, _pooled(call, spread)


@mistake(AVERAGE, "sums its windows, where it averages them")
def summed(call: Call) -> Tensor | None:
    before, after = _sizes(call)
    size = 1
    for pixels, count in zip(before, after, strict=True):
        if pixels % count:
            return None
        size *= pixels // count
    return call() * size


@mistake(BOTH)
def resized(call: Call) -> Made:
    (before, after), x, axes = _sizes(call), call.inputs[0], axes_of(call)
    if before == after or x.dim() != axes + 2:
        return
    yield "the nearest pixel alone, not a pool of several", F.interpolate(x, after)
    if max(after) > 1:
        words = "interpolated linearly between pixels, not pooled"
        yield words, F.interpolate(x, after, mode=WEIGHTED[axes])


@mistake(BOTH, "the axes of its size exchanged")
def axes_exchanged(call: Call) -> Tensor | None:
    _, after = _sizes(call)
    return call(output_size=after[::-1]) if after != after[::-1] else None


@mistake(BOTH, "pooled over all images together")
def over_images(call: Call) -> Tensor | None:
    x = call.inputs[0]
    if set(_sizes(call)[1]) != {1} or x.dim() != axes_of(call) + 2 or len(x) < 2:
        return None
    right = call()
    over = right.amax(0, True) if call.layer in MAX else right.mean(0, True)
    return over.expand_as(right)
