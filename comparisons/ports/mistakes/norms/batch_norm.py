"""Batch normalisation: what it returns, and its running statistics."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from comparisons.ports.expected.declared import other_setting
from comparisons.ports.mistakes.mistake import Call, mistake
from comparisons.ports.mistakes.norms.statistics import Normalised, along, fitted_eps
from comparisons.ports.mistakes.recycling import recycled

BATCH_NORMS = ("batch_norm", "batch_norm1d", "batch_norm2d", "batch_norm3d", "sync_batch_norm")
KEPT = "running_mean", "running_var"


def _after(call: Call, x: Tensor) -> Any:
    """What comes after the values are normalised."""
    weight, bias = call.get("weight"), call.get("bias")

    def after(y: Tensor) -> Tensor:
        y = y.reshape(x.shape)
        y = y if weight is None else y * along(weight, x)
        return y if bias is None else y + along(bias, x)

    return after


def normalised(call: Call) -> Normalised:
    x = call.inputs[0]
    axes = (0, *range(2, x.dim()))
    kept = [call.get(role) for role in KEPT]
    if call.training or kept[0] is None or kept[1] is None:
        return Normalised(x, axes, call.options["eps"], _after(call, x))
    given = along(kept[0], x), along(kept[1], x)
    return Normalised(x, axes, call.options["eps"], _after(call, x), given)


@mistake(BATCH_NORMS)
def other_statistics(call: Call) -> Iterator[tuple[str, Tensor]]:
    yield from normalised(call).mistaken()


@mistake(BATCH_NORMS)
def recycled_statistics(call: Call) -> Iterator[tuple[str, Tensor]]:
    """`(x - mean) / sd` of a matrix in R, where sweep() is meant."""
    x, own = call.inputs[0], normalised(call)
    root = (own.variance + own.eps).sqrt()
    mean, sd = recycled(own.mean, x.shape), recycled(root, x.shape)
    end = "down the columns, as R recycles a vector"
    yield f"its mean is subtracted and its deviation divides {end}", own.over(mean, sd)
    yield f"its mean is subtracted {end}", own.over(mean, root)
    yield f"its deviation divides {end}", own.over(own.mean, sd)


@mistake(BATCH_NORMS)
def another_eps(call: Call, found: Tensor) -> Iterator[tuple[str, Any]]:
    other = fitted_eps(normalised(call), found)
    if other is not None:
        words = other_setting("eps", other, call.options["eps"])
        yield words, partial(call, eps=other)


@mistake(BATCH_NORMS)
def another_norm(call: Call) -> Iterator[tuple[str, Tensor]]:
    x, after, eps = call.inputs[0], _after(call, call.inputs[0]), call.options["eps"]
    axes = {"statistics of each image (layer norm)": tuple(range(1, x.dim()))}
    if x.dim() > 2:
        axes["statistics of each image and channel (instance norm)"] = tuple(range(2, x.dim()))
        axes["statistics of each pixel, over images alone"] = (0,)
        axes["statistics of all channels together"] = tuple(range(x.dim()))
        axes["statistics of each pixel of each image (layer norm over channels)"] = (1,)
    for words, over in axes.items():
        mean, variance = x.mean(over, keepdim=True), x.var(over, correction=0, keepdim=True)
        yield words, after((x - mean) / (variance + eps).sqrt())
    for groups in range(2, x.shape[1]):
        if x.shape[1] % groups == 0:
            words = f"statistics of each image and group of channels (group norm, {groups} groups)"
            yield words, after(F.group_norm(x, groups, None, None, eps))


@mistake(BATCH_NORMS)
def other_running(call: Call) -> Iterator[tuple[str, Tensor]]:
    """What is kept of the batches is another thing."""
    value = call()
    moved = dict(call.updated)
    if not all(role in moved for role in KEPT):
        return
    start = {role: call[role] for role in moved}
    call.updated = start
    yield "its running statistics are not updated", value
    momentum = call.options["momentum"]
    if momentum is None:
        return
    own = Normalised(call.inputs[0], (0, *range(2, call.inputs[0].dim())), 0.0, lambda y: y)
    variance = own.variance.detach().flatten()
    unbiased = variance * own.count / max(1, own.count - 1)
    begun = (1 - momentum) * start["running_var"]
    call.updated = moved | {"running_var": begun + momentum * variance}
    yield "its running variance moves towards the biased variance, not the unbiased one", value
    call.updated = moved | {"running_var": begun + momentum * unbiased.sqrt()}
    yield "its running variance moves towards the standard deviation", value
    value = call(momentum=1.0)
    yield "its running statistics are the batch's own, without what came before", value
    value = call(momentum=1 - momentum)
    words = other_setting("momentum", _rounded(1 - momentum), momentum)
    if words:
        yield f"{words} (Keras's convention: what is kept)", value


@mistake(BATCH_NORMS)
def another_momentum(call: Call, found: Tensor) -> Iterator[tuple[str, Tensor]]:
    del found  # the momentum is fitted to what is left
    momentum = call.options["momentum"]
    left, start = call.left.get("running_mean"), call.get("running_mean")
    if left is None or start is None or momentum is None:
        return
    call(momentum=1.0)
    ahead = call.updated["running_mean"] - start
    square = float((ahead * ahead).sum())
    other = _rounded(float((ahead * (left - start)).sum()) / square) if square else momentum
    known = (momentum, 1 - momentum, 0.0, 1.0)  # which have names of their own
    if all(abs(other - one) > 1e-6 for one in known):
        yield other_setting("momentum", other, momentum), call(momentum=other)


def _rounded(value: float) -> float:
    """A number that was computed, as it would be typed."""
    return float(f"{value:.4g}")
