"""How two tensors of the same quantity are related, where they are not equal: by a sign, a
constant factor, a constant that is added, a permutation or reversal of axes, as images are, by
rounding or limits, by rows that are others, or by the order of the same numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from comparisons.diagnosis.closeness import distance, explains, magnitude, same
from comparisons.diagnosis.pixels import normalisation, pixel_relation

__all__ = ["relation", "shape_relation"]

MOST_AXES = 5


def relation(
    names: tuple[str, str],
    a: Tensor,
    b: Tensor,
    factors: dict[str, float],
    rtol: float,
    input_shape: Sequence[int] | None = None,
) -> list[str]:
    """How two tensors of one shape are related, if they are: sign, factor, axes, order.

    Arguments:
        names: Of the two sides.
        a, b: Their values.
        factors: Constants with a name, such as 1/batch size.
        rtol: What counts as equal, relative to the largest magnitude.
        input_shape: The shape before a reshape, whose axes may have been exchanged.

    Returns:
        Words; none if there is no relation, or nothing that would tell the two apart.
    """
    if not (torch.isfinite(a).all() and torch.isfinite(b).all()) or same(a, b, rtol):
        return []
    if explains(-a, b, a, rtol):
        return [f"{names[1]} has the opposite sign of {names[0]}"]
    words = _factor(names, a, b, factors, rtol) or _affine(names, a, b, rtol)
    if not words and a.numel() > 1:
        words = (
            _axes(a, b, rtol, input_shape)
            or pixel_relation(names, a, b, rtol)
            or _limited(names, a, b)
            or _rows(names, a, b, rtol)
            or _same_numbers(a, b, rtol)
        )
    return words


def _factor(
    names: tuple[str, str], a: Tensor, b: Tensor, factors: dict[str, float], rtol: float
) -> list[str]:
    largest = [float(x.abs().max()) for x in (a, b)]
    if not all(largest):
        zero = names[largest.index(0.0)]
        return [f"{zero} is zero throughout"]
    # b = factor a by least squares, of numbers whose squares neither vanish nor overflow
    u, v = a / largest[0], b / largest[1]
    factor = float((u * v).sum()) / float((u * u).sum()) * (largest[1] / largest[0])
    if not explains(factor * a, b, a, rtol):
        return []
    for label, known in factors.items():
        for sign, minus in ((1, ""), (-1, "-")):
            if explains(sign * known * a, b, a, rtol):
                return [f"{names[1]} is {names[0]} times {minus}{label}"]
            if explains(sign / known * a, b, a, rtol):
                return [f"{names[0]} is {names[1]} times {minus}{label}"]
    if a.numel() == 1:
        return []  # one number is always a multiple of another
    return [f"{names[1]} is {names[0]} times {_number(factor)}"]


ROUNDING = 1e-3  # of a difference: what rounding may leave unexplained
FEWEST = 5  # of numbers: a straight line runs through any two


def _affine(names: tuple[str, str], a: Tensor, b: Tensor, rtol: float) -> list[str]:
    """Whether a constant was added, to the one or to a multiple of it."""
    if a.numel() < FEWEST or same(a, a.mean(), rtol) or same(b, b.mean(), rtol):
        return []
    shift = float((b - a).median())
    if explains(a + shift, b, a, rtol):
        return [f"{names[1]} is {names[0]} {_added(shift)}"]
    u, v = a - a.mean(), b - b.mean()
    largest = magnitude(u), magnitude(v)
    u, v = u / largest[0], v / largest[1]  # squares neither vanish nor overflow
    factor = float((u * v).sum()) / float((u * u).sum()) * (largest[1] / largest[0])
    shift = float(b.mean()) - factor * float(a.mean())
    if not explains(factor * a + shift, b, a, rtol):
        return []
    for (one, other), how in (
        (names, (factor, shift)),
        (names[::-1], (1 / factor, -shift / factor)),
    ):
        known = normalisation(*how)
        if known:
            return [f"{other} is {known}, where x is {one}"]
    return [f"{names[1]} is {names[0]} times {_number(factor)} {_added(shift)}"]


def _added(shift: float) -> str:
    return f"{'plus' if shift > 0 else 'minus'} {abs(shift):.4g}"


def _number(factor: float) -> str:
    """With six digits, of what it is away from 1 as well."""
    if 1e-12 < abs(abs(factor) - 1) < 1e-3:
        return f"{'-' if factor < 0 else ''}(1 {abs(factor) - 1:+.6g})"
    return f"{factor:.6g}"


def _axes(a: Tensor, b: Tensor, rtol: float, input_shape: Sequence[int] | None) -> list[str]:
    """Whether b is a with axes exchanged or reversed, or the same numbers in another order."""
    if a.dim() <= MOST_AXES:
        for count in range(1, a.dim() + 1):
            for axes in itertools.combinations(range(a.dim()), count):
                if same(a.flip(axes), b, rtol):
                    return [f"equal after reversing {_axis_words(axes)}"]
        for order in itertools.permutations(range(a.dim())):
            turned = a.permute(order)
            if turned.shape == b.shape and order != tuple(range(a.dim())) and same(turned, b, rtol):
                return [f"transposed: equal after taking axes in the order {order}"]
    side = round(a[0].numel() ** 0.5) if a.dim() > 1 else 0
    if a.dim() == 2 and side * side == a.shape[1] and side > 1:
        square = a.reshape(-1, side, side).transpose(1, 2)
        if same(square, b, rtol):
            return ["equal after exchanging rows and columns of each image"]
    if input_shape is not None and math.prod(input_shape) == a.numel():
        for order in itertools.permutations(range(len(input_shape))):
            if order != tuple(range(len(input_shape))):
                turned = a.reshape(*input_shape).permute(order)
                if same(turned, b, rtol):
                    return [f"the same numbers with the input's axes in the order {order}"]
    if min(a.shape) > 1 and a.dim() > 1:
        turned = a.permute(*reversed(range(a.dim())))
        for value in (
            a.flatten().reshape(turned.shape).permute(*reversed(range(a.dim()))),
            turned.flatten().reshape(a.shape),
        ):
            if same(value, b, rtol):
                return ["the same numbers, filled column-major (R's order) on one side"]
    return []


def _same_numbers(a: Tensor, b: Tensor, rtol: float) -> list[str]:
    if same(a.flatten().sort().values, b.flatten().sort().values, rtol):
        if a.dim() > 1:
            rows = [x.flatten(1).sort(1).values for x in (a, b)]
            if same(rows[0], rows[1], rtol):
                return ["the same numbers in each image, in another order"]
        return ["the same numbers, in another order"]
    return []


ROUNDED = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def _limited(names: tuple[str, str], a: Tensor, b: Tensor) -> list[str]:
    """Whether one side is the other rounded, or held within limits."""
    for (one, other), x, y in ((names, a, b), (names[::-1], b, a)):
        size = distance(x, y)
        for words, value, step in _roundings(x):
            if distance(value, y) <= ROUNDING * size and _is_spread((x - y).abs() / step, x):
                return [f"{other} is {one} {words}"]
        low, high = float(y.min()), float(y.max())
        for words, value, limit in (
            (f"held at {low:.6g} or more", x.clamp(min=low), low),
            (f"held at {high:.6g} or less", x.clamp(max=high), high),
        ):
            if int((y == limit).sum()) >= FEWEST and distance(value, y) <= ROUNDING * size:
                return [f"{other} is {one} {words}"]
    return []


def _roundings(x: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
    """x rounded, and by how much each element may have been."""
    for words, dtype in ROUNDED.items():
        power = x.abs().clamp(min=torch.finfo(dtype).tiny).log2().floor()
        yield f"rounded to {words}", x.to(dtype).to(x.dtype), torch.finfo(dtype).eps / 2 * 2**power
    if magnitude(x) <= 1 and float(x.min()) >= 0:
        step = torch.ones_like(x) / 255
        yield "rounded to 256 levels (uint8)", (x * 255).round() / 255, step / 2
        yield "cut off to 256 levels (uint8)", (x * 255).floor() / 255, step


MANY = 50  # different numbers


def _is_spread(parts: Tensor, x: Tensor) -> bool:
    """Whether roundings are of all sizes, from none to the most that it may be. Noise that is
    added to rounded numbers, and so small that rounding takes it away, is not."""
    _, first = np.unique(x.flatten().numpy(), return_index=True)
    each = parts.flatten()[torch.from_numpy(first)]
    each = each[each > 0]
    return len(each) >= MANY and 0.35 <= float(each.median()) <= 0.65 and float(each.max()) > 0.9


def _rows(names: tuple[str, str], a: Tensor, b: Tensor, rtol: float) -> list[str]:
    """Whether one side's rows are the other's neighbouring ones, or one row again and again."""
    if a.dim() < 2 or len(a) < 3:
        return []
    for (one, other), x, y in ((names, a, b), (names[::-1], b, a)):
        if same(y[:-1], x[1:], rtol):
            return [
                f"each row of {other} is the next row of {one}: an index from 1 taken as from 0"
            ]
        if same(y, y[:1].expand_as(y), rtol) and same(y[0], x[0], rtol):
            return [f"{other} has the first row of {one} in every row"]
    return []


def _axis_words(axes: Sequence[int]) -> str:
    return ("axis " if len(axes) == 1 else "axes ") + ", ".join(str(axis) for axis in axes)


def shape_relation(names: tuple[str, str], a: Tensor, b: Tensor, rtol: float) -> list[str]:
    words = [
        f"{names[0]} has shape {tuple(a.shape)}, {names[1]} has shape {tuple(b.shape)}",
    ]
    if a.numel() != b.numel():
        return words
    if a.dim() == b.dim() and a.dim() <= MOST_AXES:
        for order in itertools.permutations(range(a.dim())):
            turned = a.permute(order)
            if turned.shape == b.shape and same(turned, b, rtol):
                return [*words, f"transposed: equal after taking axes in the order {order}"]
    if same(a.flatten(), b.flatten(), rtol):
        return [*words, "the same numbers in the same order, in another shape"]
    return words
