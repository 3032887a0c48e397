"""Mistaken dropout: the scale, the mask, the mode."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from comparisons.diagnosis.mistakes.suspects import slope
from comparisons.ports.mistakes.elementwise.derivatives import with_slope
from comparisons.ports.mistakes.mistake import Call, mistake

CHANNELS = ("dropout1d", "dropout2d", "dropout3d", "feature_dropout")
DROPOUTS = ("dropout", *CHANNELS)

Made = Iterator[tuple[str, Tensor]]


def _p(call: Call) -> float:
    return float(call.options["p"])


def _kept(call: Call) -> Tensor | None:
    """1 to keep; None if nothing is to be dropped, or the mask was not recorded."""
    if not call.training or call.draw is None or not 0 < _p(call) < 1:
        return None
    return call.draw.to(call.inputs[0].dtype)


@mistake(DROPOUTS)
def otherwise_dropped(call: Call) -> Made:
    kept, x, p = _kept(call), call.inputs[0], _p(call)
    if kept is None:
        return
    dropped = 1 - kept
    yield "1/(1 - p) missing", x * kept
    yield "the mask inverted", x * dropped / (1 - p)
    yield "the mask inverted, 1/(1 - p) missing", x * dropped
    if p != 0.5:
        words = f"1/p where 1/(1 - p) belongs: {p:g} taken for the probability to keep"
        yield words, x * kept / p
        yield "the mask inverted, with 1/p", x * dropped / p
        yield "times p", x * kept * p
    yield "multiplied by 1 - p, not divided", x * kept * (1 - p)
    yield "nothing dropped, and divided by 1 - p", x / (1 - p)
    yield (
        "what is dropped is left as it is, the rest divided by 1 - p",
        torch.where(kept > 0, x / (1 - p), x),
    )
    yield "what is dropped is held at -1, not 0", torch.where(kept > 0, x / (1 - p), -1.0)


@mistake(DROPOUTS)
def other_probability(call: Call, found: Tensor) -> Made:
    """Another scale, with the mask that was recorded."""
    kept, x, p = _kept(call), call.inputs[0], _p(call)
    if kept is None or found.shape != x.shape:
        return
    scale = slope(found * kept, x * kept)
    if scale is None or scale < 1 or scale in (1.0, 1 / p):
        return
    other = 1 - 1 / scale
    named = (0.0, p, 1 - p)
    if all(abs(other - one) > 1e-6 for one in named):
        words = f"scaled with 1/(1 - {other:.4g}) where p is {p:g}"
        yield words, x * kept * scale


@mistake(DROPOUTS)
def other_mask(call: Call, found: Tensor) -> Made:
    """Another mask than its own, told from what it left."""
    x, p = call.inputs[0], _p(call)
    if not call.training or found.shape != x.shape or not 0 < p < 1:
        return
    there = x != 0
    left = (found != 0) & there
    scale = slope(found * left, x * left)
    own = None if call.draw is None else (call.draw != 0) & there
    if scale is None or scale <= 0 or torch.equal(left, there):
        return
    if own is not None and torch.equal(left, own):
        return
    value = x * left * scale
    how = "" if abs(scale * (1 - p) - 1) < 1e-6 else f", scaled by {scale:.6g}"
    pattern = _pattern(left, there, call.layer in CHANNELS)
    if pattern:
        yield f"{pattern}{how}", value


def _pattern(left: Tensor, there: Tensor, channels: bool) -> str:
    """What is dropped as a whole, in words; empty if single elements are, as they should be."""
    if left.dim() > 2 and not channels and _whole(left, there, 2):
        return "whole channels dropped (as dropout2d does), where single elements are"
    if left.dim() > 1 and not channels and _whole(left, there, 1):
        return "whole rows of the batch dropped, where single elements are"
    if left.dim() > 1 and _alike(left, there):
        what = "channels" if channels else "elements"
        return f"the same {what} dropped in all rows of the batch, where each has its own mask"
    if channels and left.dim() > 2 and not _whole(left, there, 2):
        return "single elements dropped, where whole channels are"
    return ""


def _whole(left: Tensor, there: Tensor, first: int) -> bool:
    """Whether what the axes from `first` on hold is kept whole or dropped whole, and some are of
    both."""
    left, there = left.flatten(first), there.flatten(first)
    several = there.sum(-1) > 1
    whole, none = (left == there).all(-1), ~left.any(-1)
    return bool((whole | none).all() and (whole & several).any() and (none & several).any())


def _alike(left: Tensor, there: Tensor) -> bool:
    """Whether the same places are dropped in every row."""
    dropped, seen = (there & ~left).any(0), left.any(0)
    return len(left) > 1 and bool(dropped.any() and seen.any() and not (dropped & seen).any())


@mistake(DROPOUTS)
def in_evaluation(call: Call, found: Tensor) -> Made:
    """In evaluation mode it returns what goes in."""
    x, p = call.inputs[0], _p(call)
    if call.training or found.shape != x.shape or not 0 < p < 1:
        return
    yield "scaled by 1 - p in evaluation mode (where training does not divide by it)", x * (1 - p)
    left = (found != 0) & (x != 0)
    scale = slope(found * left, x * left)
    if scale is None or not bool((~left & (x != 0)).any()) or scale < 1:
        return
    other = 1 - 1 / scale
    how = "" if abs(other - p) < 1e-6 else f", with p = {other:.4g}"
    yield f"it drops in evaluation mode{how}", x * left * scale


@mistake(DROPOUTS, "its mask missing in the backward pass", backward=True)
def mask_forgotten(call: Call) -> Tensor | None:
    if _kept(call) is None:
        return None
    return with_slope(call, 1 / (1 - _p(call)))


@mistake(DROPOUTS, "1/(1 - p) missing in the backward pass", backward=True)
def scale_forgotten(call: Call) -> Tensor | None:
    kept = _kept(call)
    return None if kept is None else with_slope(call, kept)
