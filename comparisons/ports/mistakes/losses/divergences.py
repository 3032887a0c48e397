"""Mistakes of divergences and likelihoods of densities."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from comparisons.ports.mistakes.mistake import Call, mistake

__all__ = ["DIRECTION", "gaussian", "kullback_leibler", "poisson"]

DIRECTION = "the divergence in the other direction"


@mistake(("kl_div", "kl_div_loss"))
def kullback_leibler(call: Call) -> Iterator[tuple[str, Any]]:
    log_q, target = call["input"], call["target"]
    in_logs = bool(call.options.get("log_target", False))
    reduction = call.options.get("reduction", "mean")
    p, log_p = (target.exp(), target) if in_logs else (target, target.log())
    other = log_q.exp() * (log_q - log_p)

    def reduced(each: Tensor) -> Tensor:
        if reduction == "batchmean":
            return each.sum() / len(log_q)
        return {"sum": each.sum, "mean": each.mean}.get(reduction, each.clone)()

    if (p > 0).all():
        yield f"{DIRECTION}, KL(input || target)", reduced(other)
        yield "without the target's own logarithm: the cross entropy", reduced(-p * log_q)
    yield "the input without its logarithm", reduced(p * (log_p - log_q.exp()))
    if in_logs:
        yield "log_target not heeded", call(log_target=False)
    else:
        yield "the target taken for logarithms", call(log_target=True)
    yield "the logarithm to base 2", call() / math.log(2)
    yield "the logarithm to base 10", call() / math.log(10)


@mistake("gaussian_nll_loss")
def gaussian(call: Call) -> Iterator[tuple[str, Any]]:
    x, y, variance = call["input"], call["target"], call["var"]
    full, eps = call.options.get("full", False), call.options.get("eps", 1e-6)
    reduction = call.options.get("reduction", "mean")

    def reduced(each: Tensor) -> Tensor:
        return {"sum": each.sum, "mean": each.mean}.get(reduction, each.clone)()

    yield "the variance taken for a deviation: squared", call(var=variance**2)
    yield "the root of the variance in its place", call(var=variance.sqrt())
    yield "the variance taken for a log-variance", call(var=variance.exp())
    square = (x - y) ** 2 / variance.clamp(min=eps)
    constant = math.log(2 * math.pi) if full else 0.0
    yield "without the logarithm of the variance", reduced(0.5 * (square + constant))
    logs = variance.clamp(min=eps).log()
    yield "the logarithm of the variance not halved", reduced(0.5 * square + logs + constant / 2)
    if full:
        yield "its constant log(2 pi) missing", call(full=False)
    else:
        yield "with the constant log(2 pi)", call(full=True)
    yield "the squared errors alone", reduced((x - y) ** 2)


@mistake("poisson_nll_loss")
def poisson(call: Call) -> Iterator[tuple[str, Any]]:
    x, full = call["input"], bool(call.options.get("full", False))
    if call.options.get("log_input", True):
        yield "the input taken for the rate, not its logarithm", call(log_input=False)
    else:
        yield "the input taken for the rate's logarithm", call(log_input=True)
    yield "without Stirling's terms" if full else "with Stirling's terms", call(full=not full)
    if (x > 0).all():
        yield "the logarithm taken before it", call(x.log())
