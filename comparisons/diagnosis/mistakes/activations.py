"""Mistaken activations: ReLU, leaky ReLU, sigmoid, softmax, softplus, logarithm."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from comparisons.diagnosis.mistakes.suspects import Suspects, slope, two_numbers

__all__ = [
    "after",
    "fitted_slope",
    "leaky_relu",
    "log",
    "relu",
    "sigmoid",
    "softmax",
    "softplus",
]

OTHERS: dict[str, Callable[[Tensor], Tensor]] = {
    "ELU": F.elu,
    "GELU": F.gelu,
    "GELU, its approximation by tanh": lambda x: F.gelu(x, approximate="tanh"),
    "SiLU (swish)": F.silu,
    "SELU": F.selu,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "tanh": torch.tanh,
    "the sigmoid": torch.sigmoid,
    "a hard swish": F.hardswish,
    "the absolute value": torch.abs,
    "exp": torch.exp,
}
AFTER: dict[str, Callable[[Tensor], Tensor]] = {
    "a ReLU": F.relu,
    "a leaky ReLU with slope 0.01": lambda x: F.leaky_relu(x, 0.01),
    "a leaky ReLU with slope 0.2": lambda x: F.leaky_relu(x, 0.2),
    **{words: OTHERS[words] for words in ("ELU", "softplus", "tanh", "the sigmoid", "exp")},
}


def after(y: Tensor) -> Suspects:
    """An activation after a layer that has none."""
    for words, function in AFTER.items():
        yield f"{words} after it", function(y)


def _others(x: Tensor) -> Suspects:
    """Activations in place of a ReLU."""
    for words, function in OTHERS.items():
        yield words, function(x)
    if (x > 6).any():
        yield "ReLU held at 6 or less (ReLU6)", F.relu6(x)


def relu(x: Tensor) -> Suspects:
    yield "no ReLU", x
    yield "leaky ReLU with slope 0.01", F.leaky_relu(x, 0.01)
    yield "leaky ReLU with slope 0.2", F.leaky_relu(x, 0.2)
    yield from _others(x)


def leaky_relu(x: Tensor, slope: float) -> Suspects:
    yield "no leaky ReLU", x
    yield f"ReLU where it is leaky, with slope {slope:g}", F.relu(x)
    yield "its slope where x is positive", torch.where(x > 0, slope * x, x)
    yield from _others(x)


def fitted_slope(found: Tensor, x: Tensor, **options: float) -> Suspects:
    """Another slope where x is negative."""
    negative = (x < 0).to(x.dtype)
    right = options.get("slope", 0.0)
    other = slope(found * negative, x * negative)
    if other is not None and abs(other - right) > 1e-6:
        words = f"slope {two_numbers(other, right)}"
        yield words if right else f"leaky ReLU with {words}", torch.where(x > 0, x, other * x)


def sigmoid(x: Tensor) -> Suspects:
    yield "no sigmoid: logits", x
    yield "the sigmoid taken twice", torch.sigmoid(torch.sigmoid(x))
    yield "tanh", torch.tanh(x)
    yield "a hard sigmoid", F.hardsigmoid(x)


def softmax(x: Tensor) -> Suspects:
    yield "softmax over the images, the wrong axis", torch.softmax(x, 0)
    yield "softmax over all numbers at once", torch.softmax(x.flatten(), 0).reshape(x.shape)
    yield "no softmax: logits", x
    yield "the softmax's logarithm", torch.log_softmax(x, 1)
    yield "the softmax taken twice", torch.softmax(torch.softmax(x, 1), 1)
    yield "a sigmoid of each", torch.sigmoid(x)


def softplus(x: Tensor) -> Suspects:
    yield "no softplus", x
    yield "exp in place of softplus (x taken for a log-variance)", torch.exp(x)
    yield "ReLU in place of softplus", F.relu(x)
    yield "the sigmoid, softplus's derivative", torch.sigmoid(x)
    yield "softplus squared (x taken for a standard deviation)", F.softplus(x) ** 2


def log(x: Tensor) -> Suspects:
    yield "no logarithm: the variance taken for its logarithm", x
    yield "half the logarithm: that of the standard deviation", 0.5 * torch.log(x)
    yield "twice the logarithm (a variance taken for a standard deviation)", 2 * torch.log(x)
    yield "log(1 + x)", torch.log1p(x)
    yield "the logarithm to base 2", torch.log(x) / math.log(2)
    yield "the logarithm to base 10", torch.log(x) / math.log(10)
