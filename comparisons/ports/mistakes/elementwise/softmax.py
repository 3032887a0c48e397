"""Mistaken softmax and its logarithm."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from comparisons.diagnosis.mistakes.suspects import slope, two_numbers
from comparisons.ports.mistakes.mistake import Call, mistake
from comparisons.ports.mistakes.recycling import recycled

PLAIN, LOGARITHM = ("softmax", "softmax2d", "softmin"), "log_softmax"
BOTH = ("softmax", "softmax2d", "softmin", LOGARITHM)
SMALLEST = 1e-12  # constants below it round off

Made = Iterator[tuple[str, Tensor]]


def soft_axis(call: Call) -> int:
    """Over which it is taken, from 0."""
    x, said = call.inputs[0], call.options.get("dim")
    if call.layer == "softmax2d":
        return x.dim() - 3
    if said is None:  # PyTorch's old guess
        return 0 if x.dim() in (0, 1, 3) else 1
    return int(said) % x.dim()


def _over(call: Call, x: Tensor, axis: int) -> Tensor:
    if call.layer == LOGARITHM:
        return torch.log_softmax(x, axis)
    return torch.softmax(-x if call.layer == "softmin" else x, axis)


@mistake(BOTH)
def other_axis(call: Call) -> Made:
    x, own = call.inputs[0], soft_axis(call)
    if call.layer == "softmax2d":  # which has no option for it
        for axis in range(x.dim()):
            if axis != own:
                yield f"over axis {axis} where it is axis {own}", _over(call, x, axis)
    if x.dim() > 1:
        yield "over all numbers at once", _over(call, x.flatten(), 0).reshape(x.shape)
    if x.dim() > 2:
        each = _over(call, x.flatten(1), 1).reshape(x.shape)
        yield "over all numbers of each row of the batch at once", each


@mistake(BOTH, "divided by the columns' sums, which R's `/` recycles down the columns")
def recycled_sums(call: Call) -> Tensor | None:
    x = -call.inputs[0] if call.layer == "softmin" else call.inputs[0]
    if x.dim() != 2 or not x.numel():
        return None
    sums = recycled(x.exp().sum(0), x.shape)
    return x - sums.log() if call.layer == LOGARITHM else x.exp() / sums


@mistake(BOTH)
def other_function(call: Call) -> Made:
    x, own, right = call.inputs[0], soft_axis(call), call()
    sign = -x if call.layer == "softmin" else x
    yield "no softmax: what goes in", x * 1
    if call.layer == LOGARITHM:
        yield "no logarithm: softmax", right.exp()
        yield "the logarithm to base 2", right / math.log(2)
        yield "the logarithm to base 10", right / math.log(10)
        yield "minus the logarithm", -right
        yield "the logarithm of the sigmoid of each", torch.nn.functional.logsigmoid(x)
        yield "the logarithm of a softmax of the softmax", torch.log_softmax(right.exp(), own)
        return
    yield "its logarithm: log-softmax", torch.log_softmax(sign, own)
    yield "taken twice", torch.softmax(-right if call.layer == "softmin" else right, own)
    yield "a sigmoid of each", torch.sigmoid(sign)
    yield "exp alone, not divided by its sum", torch.exp(sign)
    yield (
        "hard: 1 for the largest, 0 for the others",
        ((0 * x).scatter(own, sign.argmax(own, keepdim=True), 1.0)),
    )
    words = "softmin: of -x" if call.layer != "softmin" else "softmax: of x, not of -x"
    yield words, torch.softmax(-sign, own)
    yield "x over its sum, without exp", sign / sign.sum(own, keepdim=True)
    yield (
        "divided by the square root of the sum of squares",
        (torch.exp(sign) / torch.exp(sign).norm(dim=own, keepdim=True)),
    )


@mistake(BOTH)
def temperature(call: Call, found: Tensor) -> Made:
    x, own = call.inputs[0], soft_axis(call)
    if found.shape != x.shape or x.shape[own] < 2:
        return
    log = found if call.layer == LOGARITHM else found.clamp(min=1e-300).log()
    if not bool(torch.isfinite(log).all()) or bool((log > 0).any()):
        return
    given = -x if call.layer == "softmin" else x
    inverse = slope(_centred(log, own), _centred(given, own))
    if inverse is not None and inverse > 0 and abs(inverse - 1) > 1e-6:
        number = two_numbers(1 / inverse, 1.0)
        yield f"temperature {number}: what goes in is divided by it", _over(call, x * inverse, own)


def _centred(x: Tensor, axis: int) -> Tensor:
    return x - x.mean(axis, keepdim=True)


@mistake(LOGARITHM)
def added_in_logarithm(call: Call, found: Tensor) -> Made:
    right = call()
    if found.shape != right.shape:
        return
    known = right.detach()
    added = float((found.exp() - known.exp()).median())
    if SMALLEST < added < 0.1:
        yield f"the logarithm of softmax + {added:.3g}", torch.log(right.exp() + added)
    least = float(found.min())
    if float(known.min()) < least and float((found == least).sum()) > 1:
        words = f"held at {least:.6g} or more (softmax clamped before its logarithm)"
        yield words, right.clamp(min=least)
