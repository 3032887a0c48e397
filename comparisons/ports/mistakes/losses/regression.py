"""Mistakes of losses of numbers: squared and absolute errors, Huber's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from comparisons.ports.expected.declared import other_setting
from comparisons.ports.mistakes.losses.fitting import round_number
from comparisons.ports.mistakes.mistake import Call, mistake

__all__ = ["absolute_errors", "huber", "other_delta", "smooth", "squared_errors"]


def _both(call: Call) -> tuple[Tensor, Tensor, str]:
    x = call["input"]
    return x, call["target"].to(x.dtype), call.options.get("reduction", "mean")


@mistake("mse_loss")
def squared_errors(call: Call) -> Iterator[tuple[str, Any]]:
    x, y, reduction = _both(call)
    yield "the root of it (RMSE)", call().sqrt()
    yield "absolute errors (L1) where they are squared", F.l1_loss(x, y, reduction=reduction)
    yield "smooth L1 in its place", F.smooth_l1_loss(x, y, reduction=reduction)
    yield "Huber's loss in its place", F.huber_loss(x, y, reduction=reduction, delta=0.5)
    if reduction != "none" and x.dim() > 1 and len(x) < x.numel():
        norms = (x - y).flatten(1).norm(dim=1)
        yield "the norm of each row's errors, averaged", norms.mean()
        yield "the norm of each row's errors, summed", norms.sum()
    if (x > -1).all() and (y > -1).all():
        value = F.mse_loss(x.log1p(), y.log1p(), reduction=reduction)
        yield "of the logarithms log(1 + x) (MSLE)", value


@mistake("l1_loss")
def absolute_errors(call: Call) -> Iterator[tuple[str, Any]]:
    x, y, reduction = _both(call)
    yield "squared errors where they are absolute", F.mse_loss(x, y, reduction=reduction)
    yield "smooth L1 in its place", F.smooth_l1_loss(x, y, reduction=reduction)
    yield "without the absolute value", _reduced(x - y, reduction)


@mistake("huber_loss")
def huber(call: Call) -> Iterator[tuple[str, Any]]:
    x, y, reduction = _both(call)
    delta = call.options.get("delta", 1.0)
    if delta != 1:
        words = "smooth L1: divided by delta"
        yield words, F.smooth_l1_loss(x, y, reduction=reduction, beta=delta)
    size = (x - y).abs()
    outer = torch.where(size < delta, size**2 / 2, delta * size)
    yield "delta^2 / 2 not subtracted of large errors", _reduced(outer, reduction)
    inner = torch.where(size < delta, size**2, delta * (size - delta / 2))
    yield "small errors not halved", _reduced(inner, reduction)
    yield "squared errors", F.mse_loss(x, y, reduction=reduction)
    yield "absolute errors", F.l1_loss(x, y, reduction=reduction)


@mistake("smooth_l1_loss")
def smooth(call: Call) -> Iterator[tuple[str, Any]]:
    x, y, reduction = _both(call)
    beta = call.options.get("beta", 1.0)
    if beta != 1:
        words = "Huber's loss: not divided by beta"
        yield words, F.huber_loss(x, y, reduction=reduction, delta=beta)
    yield "squared errors", F.mse_loss(x, y, reduction=reduction)
    yield "absolute errors", F.l1_loss(x, y, reduction=reduction)


@mistake(("huber_loss", "smooth_l1_loss"))
def other_delta(call: Call, found: Tensor) -> Iterator[tuple[str, Any]]:
    name = "delta" if "delta" in call.options else "beta"
    right = call.options.get(name, 1.0)
    other = round_number(lambda value: call(**{name: value}), found, 1e-6, 1e3)
    if other:
        yield other_setting(name, other, right), call(**{name: other})


def _reduced(each: Tensor, reduction: str) -> Tensor:
    return {"sum": each.sum, "mean": each.mean}.get(reduction, each.clone)()
