"""Layer, group, instance and RMS normalisation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from comparisons.ports.expected.declared import other_setting
from comparisons.ports.mistakes.mistake import Call, mistake
from comparisons.ports.mistakes.norms.statistics import Normalised, along, fitted_eps

INSTANCE_NORMS = ("instance_norm", "instance_norm1d", "instance_norm2d", "instance_norm3d")
ALL = ("layer_norm", "group_norm", *INSTANCE_NORMS)


def _affine(call: Call, per_channel: bool) -> Callable[[Tensor], Tensor]:
    x, weight, bias = call.inputs[0], call.get("weight"), call.get("bias")

    def after(y: Tensor) -> Tensor:
        y = y.reshape(x.shape)
        if weight is not None:
            y = y * (along(weight, x) if per_channel else weight)
        if bias is not None:
            y = y + (along(bias, x) if per_channel else bias)
        return y

    return after


def normalised(call: Call) -> Normalised:
    x, eps = call.inputs[0], call.options["eps"]
    if call.layer == "layer_norm":
        axes = range(x.dim() - _trailing(call), x.dim())
        return Normalised(x, tuple(axes), eps, _affine(call, False))
    if call.layer == "group_norm":
        grouped = x.reshape(len(x), call.options["num_groups"], -1)
        return Normalised(grouped, (2,), eps, _affine(call, True))
    return Normalised(x, tuple(range(2, x.dim())), eps, _affine(call, True))


def _trailing(call: Call) -> int:
    """Over how many axes, from the last one, a layer norm goes."""
    shape = call.options["normalized_shape"]
    return len(shape) if isinstance(shape, list | tuple) else 1


@mistake(ALL)
def other_statistics(call: Call) -> Iterator[tuple[str, Tensor]]:
    yield from normalised(call).mistaken()


@mistake(ALL)
def another_eps(call: Call, found: Tensor) -> Iterator[tuple[str, Any]]:
    other = fitted_eps(normalised(call), found)
    if other is not None:
        yield other_setting("eps", other, call.options["eps"]), partial(call, eps=other)


@mistake("layer_norm")
def other_axes(call: Call) -> Iterator[tuple[str, Tensor]]:
    x, after, eps = call.inputs[0], _affine(call, False), call.options["eps"]
    right = tuple(range(x.dim() - _trailing(call), x.dim()))
    axes = {"statistics of each row (all axes but the first)": tuple(range(1, x.dim()))}
    axes |= {f"statistics over axis {axis} alone": (axis,) for axis in range(1, x.dim())}
    axes["statistics over the batch (batch norm)"] = (0,)
    axes["statistics over all axes but the last (batch norm)"] = tuple(range(x.dim() - 1))
    axes["statistics of all numbers together"] = tuple(range(x.dim()))
    seen = {right}
    for words, over in axes.items():
        if over not in seen:
            seen.add(over)
            mean, variance = x.mean(over, keepdim=True), x.var(over, correction=0, keepdim=True)
            yield words, after((x - mean) / (variance + eps).sqrt())


@mistake("group_norm")
def other_groups(call: Call) -> Iterator[tuple[str, Any]]:
    x, groups, channels = call.inputs[0], call.options["num_groups"], call.inputs[0].shape[1]
    for other in range(1, channels + 1):
        words = other_setting("num_groups", other, groups)
        if words and channels % other == 0:
            yield words, partial(call, num_groups=other)
    if 1 < groups < channels:
        apart = x.unflatten(1, (-1, groups)).transpose(1, 2).flatten(1, 2)
        y = F.group_norm(apart, groups, None, None, call.options["eps"])
        y = y.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)
        words = "its groups take every so many channels, where they take neighbours"
        yield words, _affine(call, True)(y)


@mistake(("group_norm", *INSTANCE_NORMS))
def over_the_batch(call: Call) -> Iterator[tuple[str, Tensor]]:
    x, after, eps = call.inputs[0], _affine(call, True), call.options["eps"]
    axes = {"statistics over the batch (batch norm)": (0, *range(2, x.dim()))}
    if call.layer != "group_norm":  # which says it with the number of groups
        axes["statistics of all channels of an image (layer norm)"] = tuple(range(1, x.dim()))
    for words, over in axes.items():
        mean, variance = x.mean(over, keepdim=True), x.var(over, correction=0, keepdim=True)
        yield words, after((x - mean) / (variance + eps).sqrt())


@mistake("rms_norm")
def other_root_mean_square(call: Call) -> Iterator[tuple[str, Tensor]]:
    x, weight, eps = call.inputs[0], call.get("weight"), call.options["eps"]
    if eps is None:
        return
    axes = tuple(range(x.dim() - _trailing(call), x.dim()))
    square = (x**2).mean(axes, keepdim=True)

    def by(y: Tensor, root: Tensor) -> Tensor:
        return y / root if weight is None else y / root * weight

    yield "epsilon is outside the square root", by(x, square.sqrt() + eps)
    yield "divided by the mean square, not by its square root", by(x, square + eps)
    total = (x**2).sum(axes, keepdim=True)
    yield "divided by the norm, not by the root mean square", by(x, (total + eps).sqrt())
    mean, variance = x.mean(axes, keepdim=True), x.var(axes, correction=0, keepdim=True)
    words = "the mean is subtracted, and divided by the standard deviation (layer norm)"
    yield words, by(x - mean, (variance + eps).sqrt())
    yield "no normalisation", x if weight is None else x * weight


@mistake("local_response_norm", "alpha is not divided by the size")
def alpha_of_each(call: Call) -> Tensor:
    return call(alpha=call.options["alpha"] * call.options["size"])
