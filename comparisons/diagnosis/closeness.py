"""When two tensors have the same numbers, and when a value explains a difference."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["REST", "distance", "explains", "magnitude", "same"]

REST = 1e-3  # of a mistake's size: what a suspected mistake may leave unexplained


def distance(a: Tensor, b: Tensor) -> float:
    """The largest absolute difference; infinite where there is none to speak of (another number
    of elements, NaN or an infinity on one side only)."""
    if a.numel() != b.numel():
        return math.inf
    a = a.reshape(b.shape)
    largest = magnitude(a - b)
    if math.isfinite(largest):  # and so is every element of both
        return largest
    finite, infinite = torch.isfinite(b), b.isinf()
    if not torch.equal(torch.isfinite(a), finite) or not torch.equal(a.isnan(), b.isnan()):
        return math.inf
    if not torch.equal(a[infinite], b[infinite]):  # +infinity against -infinity
        return math.inf
    return float((a[finite] - b[finite]).abs().max()) if finite.any() else 0.0


def same(a: Tensor, b: Tensor, rtol: float) -> bool:
    """Whether two tensors have the same numbers, relative to their largest magnitude."""
    largest = magnitude(b)
    if not math.isfinite(largest):
        largest = magnitude(b[torch.isfinite(b)])
    return distance(a, b) <= rtol * largest


def explains(value: Tensor, found: Tensor, right: Tensor, rtol: float) -> bool:
    """Whether a value is what was found: up to rounding, and up to a small part of what the
    difference is from the right one."""
    return distance(value, found) <= min(rtol * magnitude(found), REST * distance(right, found))


def magnitude(x: Tensor) -> float:
    """The largest absolute value; NaN if there is one, 0 of nothing."""
    return float(x.abs().max()) if x.numel() else 0.0
