"""Mistaken linear layers and products."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from comparisons.diagnosis.mistakes.suspects import Suspects

__all__ = ["linear", "multiply"]


def linear(x: Tensor, w: Tensor, b: Tensor) -> Suspects:
    yield "no bias", F.linear(x, w)
    if w.shape[0] == w.shape[1]:
        yield "its weight not transposed", F.linear(x, w.T, b)
    elif min(w.shape) > 1:
        read = w.reshape(w.shape[1], w.shape[0]).T
        yield "its weight's memory read in column-major order", F.linear(x, read, b)


def multiply(a: Tensor, b: Tensor) -> Suspects:
    yield "the first alone, not multiplied", a
    yield "the second alone", b
    yield "added where they are multiplied", a + b
