"""Mistakes of losses of classes: cross entropy and the negative log-likelihood."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from comparisons.ports.expected.declared import other_setting
from comparisons.ports.expected.indices import from_zero
from comparisons.ports.mistakes.losses.fitting import round_number
from comparisons.ports.mistakes.mistake import Call, mistake
from comparisons.ports.mistakes.recycling import recycled

__all__ = [
    "cross_entropy",
    "from_one",
    "ignored",
    "log_likelihood",
    "other_smoothing",
    "smoothing",
    "weights",
]

CROSS_ENTROPY = ("cross_entropy_loss", "cross_entropy")
LIKELIHOOD = ("nll_loss", "nll_loss2d", "nll_loss_nd")


def _indices(call: Call) -> Tensor | None:
    """The classes, counted from 0; None if the targets are probabilities."""
    target = call["target"]
    if target.is_floating_point() and target.shape == call["input"].shape:
        return None
    return from_zero(target, call.index_base)


@mistake(CROSS_ENTROPY + LIKELIHOOD)
def from_one(call: Call) -> Iterator[tuple[str, Any]]:
    """Classes counted from another number than they are taken for."""
    if _indices(call) is None:
        return
    x, target = call["input"], call["target"]
    for by, words in (
        (1, "classes counted from 0 taken as from 1: each is the next one"),
        (-1, "classes counted from 1 taken as from 0: each is the one before"),
    ):
        classes = x.shape[1] if x.dim() > 1 else x.shape[0]
        around = (target - call.index_base + by) % classes + call.index_base
        moved = torch.where(target >= 0, around, target)
        yield words, call(x, moved.to(target.dtype))


@mistake(CROSS_ENTROPY)
def cross_entropy(call: Call) -> Iterator[tuple[str, Any]]:
    x = call["input"]
    axis = 1 if x.dim() > 1 else 0
    yield (
        "softmax taken twice: of probabilities where logits belong",
        call(torch.softmax(x, axis)),
    )
    yield "sigmoid taken before it: of probabilities where logits belong", call(torch.sigmoid(x))
    yield "a ReLU before it", call(torch.relu(x))
    yield "the logarithm to base 2", call() / math.log(2)
    yield "the logarithm to base 10", call() / math.log(10)


@mistake(CROSS_ENTROPY)
def other_probabilities(call: Call) -> Iterator[tuple[str, Any]]:
    """The softmax left out, or taken otherwise."""
    if call.options["label_smoothing"]:
        return
    x = call["input"]
    if x.dim() > 1:
        yield "softmax over the rows, the wrong axis", _likelihood(call, torch.log_softmax(x, 0))
    if x.dim() == 2 and len(x):
        sums = recycled(x.exp().sum(0), x.shape)
        words = "softmax divided by the columns' sums, which R's `/` recycles down the columns"
        yield words, _likelihood(call, x - sums.log())
    yield "without the softmax: the logits taken for log-probabilities", _likelihood(call, x)
    axis = 1 if x.dim() > 1 else 0
    yield "probabilities without a logarithm", _likelihood(call, torch.softmax(x, axis))
    if (x > 0).all():
        yield "the logits taken for probabilities", _likelihood(call, x.log())


def _likelihood(call: Call, x: Tensor) -> Tensor:
    """The loss of what is taken for log-probabilities."""
    classes = _indices(call)
    reduction = call.options["reduction"]
    if classes is None:
        each = -(call["target"] * x).sum(1 if x.dim() > 1 else 0)
        return {"sum": each.sum, "mean": each.mean}.get(reduction, each.clone)()
    ignored = call.options["ignore_index"]
    ignored = ignored if ignored < 0 else ignored - call.index_base
    weight = call.get("weight")
    weight = None if weight is None else weight.detach()
    return F.nll_loss(x, classes, weight, ignore_index=ignored, reduction=reduction)


@mistake(CROSS_ENTROPY)
def smoothing(call: Call) -> Iterator[tuple[str, Any]]:
    right = call.options["label_smoothing"]
    if right:
        classes = call["input"].shape[1 if call["input"].dim() > 1 else 0]
        if classes > 2 and right * classes / (classes - 1) < 1:
            words = "smoothed towards the other classes alone, the right one left out"
            yield words, call(label_smoothing=right * classes / (classes - 1))


@mistake(CROSS_ENTROPY)
def other_smoothing(call: Call, found: Tensor) -> Iterator[tuple[str, Any]]:
    right = call.options.get("label_smoothing", 0.0)
    other = round_number(lambda value: call(label_smoothing=value), found, 0.0, 1.0)
    if other:
        yield other_setting("label_smoothing", other, right), call(label_smoothing=other)


@mistake(CROSS_ENTROPY + LIKELIHOOD)
def weights(call: Call) -> Iterator[tuple[str, Any]]:
    weight, classes = call.get("weight"), _indices(call)
    if weight is None or classes is None or (classes < 0).any():
        return
    yield "the weights of classes in reverse order", call(weight=weight.flip(0))
    yield "the weights of classes squared", call(weight=weight**2)
    yield "divided by the weights of classes", call(weight=1 / weight)
    if call.options.get("reduction", "mean") == "mean":
        each = call(reduction="none")
        yield "averaged over the rows, not over their weights", each.mean()


@mistake(CROSS_ENTROPY + LIKELIHOOD)
def ignored(call: Call) -> Iterator[tuple[str, Any]]:
    classes = _indices(call)
    number = call.options.get("ignore_index", -100)
    number = number if number < 0 else number - call.index_base
    if classes is None or not (classes == number).any():
        return
    if call.options["reduction"] == "mean" and call.get("weight") is None:
        each = call(reduction="none")
        yield "averaged over all targets, those that are ignored as well", each.mean()
    if number >= 0:
        yield "ignore_index not heeded", call(ignore_index=-100)


@mistake(LIKELIHOOD)
def log_likelihood(call: Call) -> Iterator[tuple[str, Any]]:
    x = call["input"]
    yield "of probabilities where their logarithms belong", call(x.exp())
    yield "the logarithm to base 2", call() / math.log(2)
    yield "the logarithm to base 10", call() / math.log(10)
    axis = 1 if x.dim() > 1 else 0
    ones = x.exp().sum(axis)
    if not torch.allclose(ones, torch.ones_like(ones)):
        yield "log-softmax taken before it (cross entropy)", call(torch.log_softmax(x, axis))
    if (x > 0).all():
        yield "the logarithm taken before it", call(x.log())
