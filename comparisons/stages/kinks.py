"""Kinks decided by rounding: which elements of a gradient's difference a kink explains."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["elements_on_a_kink", "windows_that_tie"]


def elements_on_a_kink(
    values: tuple[Tensor, Tensor],
    passed: Tensor,
    slope: float,
    difference: Tensor,
    near: float,
    tolerance: float,
) -> Tensor:
    """Of (leaky) ReLU: elements that are zero up to rounding, positive on one side alone.

    Arguments:
        values: What goes into the layer on both sides.
        passed: The gradient with respect to its result.
        slope: Of the negative side.
        difference: Of the gradients with respect to its input.
        near: What counts as zero.
        tolerance: What the gradient may be off by.

    Returns:
        Where a kink explains the difference, bool.
    """
    a, b = values
    steep = (a > 0).to(a.dtype) - (b > 0).to(a.dtype)
    expected = passed.reshape(a.shape) * (1 - slope) * steep
    kink = (a.abs() <= near) & (b.abs() <= near) & (expected != 0)
    return kink & ((difference - expected).abs() <= tolerance)


def windows_that_tie(
    values: tuple[Tensor, Tensor], difference: Tensor, near: float, tolerance: float
) -> tuple[int, Tensor]:
    """Windows of max-pooling whose winners tie up to rounding, but not exactly on both sides.

    Arguments:
        values: What goes into the layer on both sides, (B, C, H, W).
        difference: Of the gradients with respect to it.
        near: What counts as a tie.
        tolerance: What the gradient may be off by.

    Returns:
        How many, and the part of the difference that lies in them. A last row or column of an
        odd size is in no window.
    """
    windows, va, vb = (_windows(x) for x in (difference, *values))
    odd = (windows.abs() > tolerance).any(-1).nonzero()[:, 0]
    windows, va, vb = windows[odd], va[odd], vb[odd]
    moved = windows.abs() > tolerance  # where one side's gradient went and the other's did not
    low, high = math.inf, -math.inf

    def spread(v: Tensor) -> Tensor:
        return torch.where(moved, v, high).amax(-1) - torch.where(moved, v, low).amin(-1)

    near_both = (spread(va) <= near) & (spread(vb) <= near)
    on_both = (spread(va) == 0) & (spread(vb) == 0)
    whole = windows.sum(-1).abs() <= tolerance
    accepted = odd[near_both & ~on_both & whole]
    n, c, h, w = difference.shape
    mask = torch.zeros(n * c * (h // 2) * (w // 2), dtype=torch.bool)
    mask[accepted] = True
    mask = mask.reshape(n, c, h // 2, 1, w // 2, 1).expand(n, c, h // 2, 2, w // 2, 2)
    inside = F.pad(mask.reshape(n, c, h // 2 * 2, w // 2 * 2), (0, w % 2, 0, h % 2))
    return len(accepted), torch.where(inside, difference, 0.0)


def _windows(x: Tensor) -> Tensor:
    """(B, C, H, W) as (windows, 4)."""
    n, c, h, w = x.shape
    x = x[:, :, : h // 2 * 2, : w // 2 * 2]
    return x.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 1, 2, 4, 3, 5).reshape(-1, 4)
