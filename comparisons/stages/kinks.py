"""Kinks decided by rounding: which elements of a gradient's difference a kink explains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pyvae.model.stages import Probe, Stage

__all__ = ["KINKED", "elements_on_a_kink", "nearly_on_a_kink", "windows_that_tie"]

KINKED = ("relu", "leaky_relu", "max_pool2d")


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
    kink = (a.abs() <= near) & (b.abs() <= near) & (expected != 0) & (difference != 0)
    return kink & ((difference - expected).abs() <= tolerance)


def windows_that_tie(
    values: tuple[Tensor, Tensor],
    passed: Tensor,
    difference: Tensor,
    near: float,
    tolerance: float,
) -> tuple[int, Tensor]:
    """Windows of max-pooling whose winners tie up to rounding, and are two.

    Each side has to give all of the gradient to the pixel that is largest there, so that one which
    shares it, or gives it to another, is not taken for one that rounds. Where two pixels are equal
    on both sides, exactly, the sides have to choose alike.

    Arguments:
        values: What goes into the layer on both sides, (B, C, H, W).
        passed: The gradient with respect to its result, (B, C, H / 2, W / 2).
        difference: Of the gradients with respect to its input.
        near: What counts as a tie.
        tolerance: What the gradient may be off by.

    Returns:
        How many, and the part of the difference that lies in them. A last row or column of an
        odd size is in no window.
    """
    windows, va, vb = (_windows(x) for x in (difference, *values))
    odd = (windows.abs() > tolerance).any(-1).nonzero()[:, 0]
    windows, va, vb = windows[odd], va[odd], vb[odd]
    g = passed.flatten()[odd]
    signed = windows * g.sign()[:, None]
    to_a, to_b = signed.argmax(-1), signed.argmin(-1)  # where each side's gradient went

    def at(v: Tensor, place: Tensor) -> Tensor:
        return v.gather(-1, place[:, None])[:, 0]

    winners = (at(va, to_a) == va.amax(-1)) & (at(vb, to_b) == vb.amax(-1))
    gaps = at(va, to_a) - at(va, to_b), at(vb, to_b) - at(vb, to_a)
    near_both = (gaps[0] <= near) & (gaps[1] <= near)
    on_both = (gaps[0] == 0) & (gaps[1] == 0)
    expected = torch.zeros_like(windows)
    expected.scatter_(-1, to_a[:, None], g[:, None])
    expected.scatter_add_(-1, to_b[:, None], -g[:, None])
    whole = ((windows - expected).abs() <= tolerance).all(-1)
    accepted = odd[winners & near_both & ~on_both & whole]
    n, c, h, w = difference.shape
    mask = torch.zeros(n * c * (h // 2) * (w // 2), dtype=torch.bool)
    mask[accepted] = True
    mask = mask.reshape(n, c, h // 2, 1, w // 2, 1).expand(n, c, h // 2, 2, w // 2, 2)
    inside = F.pad(mask.reshape(n, c, h // 2 * 2, w // 2 * 2), (0, w % 2, 0, h % 2))
    return len(accepted), torch.where(inside, difference, 0.0)


def nearly_on_a_kink(probe: Probe, stages: Sequence[Stage], rtol: float) -> dict[str, int]:
    """In one side's step: how many elements or windows rounding may decide, by layer.

    Those that are zero, or equal, to the bit are no such: both sides' rules decide these.

    Arguments:
        probe: What its stages returned.
        stages: Of the network.
        rtol: What counts as zero, relative to a tensor's largest element.
    """
    found = {}
    for stage in stages:
        keys = [f"forward/{name}" for name in stage.inputs] + [f"gradient/{stage.name}"]
        if stage.layer not in KINKED or not all(key in probe for key in keys):
            continue
        x, passed = (torch.from_numpy(np.array(probe[key])).double() for key in keys)
        near = rtol * float(x.abs().max())
        if stage.layer == "max_pool2d":
            first, second = _windows(x).topk(2).values.unbind(-1)
            close, passed = (first - second <= near) & (first != second), passed.flatten()
        else:
            close, passed = (x.abs() <= near) & (x != 0), passed.reshape(x.shape)
        count = int((close & (passed != 0)).sum())
        if count:
            found[stage.name] = count
    return found


def _windows(x: Tensor) -> Tensor:
    """(B, C, H, W) as (windows, 4)."""
    n, c, h, w = x.shape
    x = x[:, :, : h // 2 * 2, : w // 2 * 2]
    return x.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 1, 2, 4, 3, 5).reshape(-1, 4)
