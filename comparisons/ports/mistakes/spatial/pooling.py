"""Mistaken pooling over windows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from comparisons.diagnosis.mistakes.suspects import slope
from comparisons.ports.mistakes.mistake import Call, mistake
from comparisons.ports.mistakes.spatial.windows import Pool, padded, windows

MAX = ("max_pool1d", "max_pool2d", "max_pool3d")
AVERAGE = ("avg_pool1d", "avg_pool2d", "avg_pool3d")
POOLS = (*MAX, *AVERAGE)
MAX_POOLS = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
AVERAGE_POOLS = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)

Made = Iterator[tuple[str, Tensor]]


@mistake(MAX)
def average_for_maximum(call: Call) -> Made:
    pool = Pool.of(call)
    if max(pool.dilation) > 1:
        return
    function = AVERAGE_POOLS[pool.axes - 1]
    how = (pool.input, pool.kernel, pool.stride, pool.padding, pool.ceil)
    if not any(pool.padding):
        yield "average pooling in its place", function(*how)
        return
    yield "average pooling in its place, the padding counted", function(*how, True)
    yield "average pooling in its place, the padding not counted", function(*how, False)


@mistake(AVERAGE, "max-pooling in its place")
def maximum_for_average(call: Call) -> Tensor:
    pool = Pool.of(call)
    how = (pool.kernel, pool.stride, pool.padding, 1, pool.ceil)
    return MAX_POOLS[pool.axes - 1](pool.input, *how)


@mistake(MAX, "the smallest number of each window, not the largest")
def minimum(call: Call) -> Tensor:
    return -call(-call.inputs[0])


@mistake(MAX, "padded with 0, which then is the largest where all are negative (pad with -inf)")
def padded_with_zero(call: Call) -> Tensor | None:
    pool = Pool.of(call)
    if not any(pool.padding):
        return None
    return call(padded(pool.input, [(one, one) for one in pool.padding], 0.0), padding=0)


@mistake(POOLS, "the first number of each window alone: a stride, no pooling")
def strided(call: Call) -> Tensor | None:
    pool = Pool.of(call)
    return None if pool.ceil or any(pool.padding) else windows(pool, 0.0)[..., 0]


@mistake(POOLS)
def padded_as_tensorflow(call: Call) -> Made:
    pool = Pool.of(call)
    sides = pool.same()
    if sides is None:
        return
    words = f"padded by {_shown(sides)}: TensorFlow's 'same'"
    is_ceil = not any(pool.padding) and not any(before for before, _ in sides)
    if call.layer in MAX and not is_ceil:
        how = {"padding": 0, "dilation": 1, "ceil_mode": False}
        yield words, call(padded(pool.input, sides, -math.inf), **how)
    if call.layer in MAX:
        return
    found = windows(pool, 0.0, sides)
    inside = windows(replace(pool, input=torch.ones_like(pool.input)), 0.0, sides)
    if not is_ceil:
        yield words, found.sum(-1) / inside.sum(-1)  # what is put around does not count there
    yield f"{words}, the zeros counted", found.mean(-1)


def _shown(sides: list[tuple[int, int]]) -> str:
    if len(set(sides)) == 1:
        return f"{sides[0][0]} before and {sides[0][1]} after"
    return ", ".join(f"{a} before and {b} after" for a, b in sides)


@mistake(POOLS)
def other_stride(call: Call) -> Made:
    pool = Pool.of(call)
    for other in dict.fromkeys([3, *pool.kernel]):  # 1 and 2 are usual
        if [other] * pool.axes != pool.stride and other > 2:
            yield f"stride = {other} where it is {_number(pool.stride)}", call(stride=other)


@mistake(POOLS)
def other_kernel(call: Call) -> Made:
    pool = Pool.of(call)
    for other in (2, 3, 4, 5):
        if [other] * pool.axes == pool.kernel or 2 * max(pool.padding) > other:
            continue
        words = f"kernel_size = {other} where it is {_number(pool.kernel)}"
        yield words, call(kernel_size=other, stride=pool.stride)


@mistake(POOLS)
def axes_exchanged(call: Call) -> Made:
    pool = Pool.of(call)
    for name, values in (("kernel size", pool.kernel), ("stride", pool.stride)):
        if values != values[::-1]:
            kernel = values[::-1] if name == "kernel size" else pool.kernel
            stride = values[::-1] if name == "stride" else pool.stride
            words = f"its {name}'s axes exchanged: {_number(values[::-1])}"
            yield words, call(kernel_size=kernel, stride=stride)
    if pool.kernel != pool.kernel[::-1] and pool.stride != pool.stride[::-1]:
        words = "the axes of its kernel size and stride exchanged"
        yield words, call(kernel_size=pool.kernel[::-1], stride=pool.stride[::-1])


def _number(values: list[int]) -> str:
    return str(values[0]) if len(set(values)) == 1 else f"({', '.join(map(str, values))})"


@mistake(POOLS, "the first pixels left out, where the last fill no window")
def first_left_out(call: Call) -> Tensor | None:
    pool = Pool.of(call)
    if any(pool.padding) or pool.ceil or max(pool.dilation) > 1:
        return None
    x = pool.input
    for at, (size, kernel, stride) in enumerate(
        zip(pool.size, pool.kernel, pool.stride, strict=True)
    ):
        axis = x.dim() - pool.axes + at
        x = x.narrow(axis, (size - kernel) % stride, size - (size - kernel) % stride)
    return call(x) if x.shape != pool.input.shape else None


@mistake(AVERAGE, "a window over the edge divided by the size of a whole one (ceil mode)")
def whole_divisor(call: Call) -> Tensor | None:
    pool = Pool.of(call)
    if not pool.ceil or any(pool.padding):
        return None
    sides = [
        (0, (kernel - size) % stride if size >= kernel else kernel - size)
        for size, kernel, stride in zip(pool.size, pool.kernel, pool.stride, strict=True)
    ]
    return windows(pool, 0.0, sides).mean(-1)


@mistake(AVERAGE)
def other_divisor(call: Call, found: Tensor) -> Made:
    right = call()
    size = call.options.get("divisor_override") or math.prod(Pool.of(call).kernel)
    scale = slope(found, right) if found.shape == right.shape else None
    if not scale:
        return
    divisor = size / scale
    if divisor < 0.5 or abs(divisor - round(divisor)) > 1e-5 * divisor or round(divisor) == size:
        return
    divisor = round(divisor)
    how = "not divided: the sum of its window" if divisor == 1 else f"divided by {divisor}"
    yield f"{how} where it is divided by {size}", right * (size / divisor)


@mistake(AVERAGE, "its gradient is not divided by the window's size", backward=True)
def undivided_gradient(call: Call) -> Tensor:
    right, size = call(), math.prod(Pool.of(call).kernel)
    return right.detach() + size * (right - right.detach())


@mistake(MAX, "of equal numbers in a window the last gets the gradient, not the first", True)
def last_of_equals(call: Call) -> Tensor | None:
    found = _in_windows(call)
    if found is None:
        return None
    at = found.shape[-1] - 1 - (found == found.amax(-1, True)).flip(-1).to(torch.uint8).argmax(-1)
    return found.gather(-1, at.unsqueeze(-1)).squeeze(-1)


@mistake(MAX, "all equal numbers of a window get the whole gradient, not the first alone", True)
def all_equals(call: Call) -> Tensor | None:
    found = _in_windows(call)
    if found is None:
        return None
    largest = found.amax(-1).detach()
    passed = torch.where(found == largest.unsqueeze(-1), found - found.detach(), 0.0)
    return largest + passed.sum(-1)


@mistake(MAX, "equal numbers of a window share the gradient, where the first gets it", True)
def shared_by_equals(call: Call) -> Tensor | None:
    found = _in_windows(call)
    return None if found is None else found.amax(-1)


def _in_windows(call: Call) -> Tensor | None:
    pool = Pool.of(call)
    return None if pool.ceil else windows(pool, -math.inf)
