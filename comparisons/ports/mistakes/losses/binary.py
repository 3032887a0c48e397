"""Mistakes of the binary cross entropy, of probabilities and of logits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from comparisons.ports.mistakes.mistake import Call, mistake

__all__ = ["of_logits", "of_probabilities", "positives"]

PROBABILITIES = ("binary_cross_entropy", "bce_loss")
LOGITS = ("binary_cross_entropy_with_logits", "bce_with_logits_loss")
SMALL = (1e-12, 1e-10, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)  # added, or held away from 0 and 1 by


def _reduced(call: Call, each: Tensor) -> Tensor:
    weight = call.get("weight")
    each = each if weight is None else each * weight
    reduction = call.options.get("reduction", "mean")
    return {"sum": each.sum, "mean": each.mean}.get(reduction, each.clone)()


def _log(x: Tensor) -> Tensor:
    return x.log().clamp(min=-100)


@mistake(PROBABILITIES)
def of_probabilities(call: Call) -> Iterator[tuple[str, Any]]:
    p, x = call["input"], call["target"].to(call["input"].dtype)
    words = "the sigmoid taken twice: of logits, but given probabilities"
    logits = F.binary_cross_entropy_with_logits(p, x, reduction="none")
    yield words, _reduced(call, logits)
    if ((x >= 0) & (x <= 1)).all():
        exchanged = -(p * _log(x) + (1 - p) * _log(1 - x))
        yield "input and target exchanged", _reduced(call, exchanged)
    yield "the part of 1 - x left out: -x log(p) alone", _reduced(call, -x * _log(p))
    yield (
        "the part of x left out: -(1 - x) log(1 - p) alone",
        _reduced(call, -(1 - x) * _log(1 - p)),
    )
    yield "squared errors", _reduced(call, (p - x) ** 2)
    if ((x != 0) & (x != 1)).any():
        yield "targets rounded to 0 and 1", call(p, (x > 0.5).to(x.dtype))
    for small in SMALL:
        held = p.clamp(small, 1 - small)
        value = -(x * held.log() + (1 - x) * (1 - held).log())
        yield f"probabilities held between {small:g} and 1 - {small:g}", _reduced(call, value)
        value = -(x * (p + small).log() + (1 - x) * (1 - p + small).log())
        yield f"{small:g} added within the logarithms", _reduced(call, value)


@mistake(LOGITS)
def of_logits(call: Call) -> Iterator[tuple[str, Any]]:
    x, y = call["input"], call["target"].to(call["input"].dtype)
    p = torch.sigmoid(x)
    yield "the sigmoid taken twice: of probabilities where logits belong", call(p)
    yield "the part of 1 - y left out: -y log(p) alone", _reduced(call, -y * F.logsigmoid(x))
    squares = _reduced(call, (p - y) ** 2)
    yield "squared errors of the probabilities", squares
    yield "input and target exchanged", call(y, p)
    if ((x >= 0) & (x <= 1)).all():
        value = F.binary_cross_entropy(x, y, reduction="none")
        yield "without the sigmoid: of probabilities", _reduced(call, value)
    if y.dim() > 1 and y.shape[1] > 1 and (y.sum(1) == 1).all():
        value = F.cross_entropy(x, y, reduction="none")
        yield "cross entropy of classes (softmax) in its place", _reduced(call, value)


@mistake(LOGITS)
def positives(call: Call) -> Iterator[tuple[str, Any]]:
    weight = call.get("pos_weight")
    if weight is None:
        return
    x, y = call["input"], call["target"].to(call["input"].dtype)
    yield "without pos_weight", call(pos_weight=None)
    yield "pos_weight inverted", call(pos_weight=1 / weight)
    each = -(y * F.logsigmoid(x) + weight * (1 - y) * F.logsigmoid(-x))
    yield "pos_weight on what is 0 where it is on what is 1", _reduced(call, each)
    each = -weight * (y * F.logsigmoid(x) + (1 - y) * F.logsigmoid(-x))
    yield "pos_weight on all elements", _reduced(call, each)
