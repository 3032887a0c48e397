"""How two tensors of the same quantity are related, where they are not equal: by a sign, a
constant factor, a constant that is added, a permutation or reversal of axes, or the order of the
same numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["distance", "relation", "same", "shape_relation"]

MOST_AXES = 5


def distance(a: Tensor, b: Tensor) -> float:
    """The largest absolute difference; infinite where there is none to speak of (another number
    of elements, NaN or an infinity on one side only)."""
    if a.numel() != b.numel():
        return math.inf
    a = a.reshape(b.shape)
    largest = _magnitude(a - b)
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
    largest = _magnitude(b)
    if not math.isfinite(largest):
        largest = _magnitude(b[torch.isfinite(b)])
    return distance(a, b) <= rtol * largest


def _magnitude(x: Tensor) -> float:
    """The largest absolute value; NaN if there is one, 0 of nothing."""
    return float(x.abs().max()) if x.numel() else 0.0


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
    if same(a, -b, rtol):
        return [f"{names[1]} has the opposite sign of {names[0]}"]
    words = _factor(names, a, b, factors, rtol) or _affine(names, a, b, rtol)
    if not words and a.numel() > 1:
        words = _axes(a, b, rtol, input_shape)
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
    if not same(factor * a, b, rtol):
        return []
    for label, known in factors.items():
        for sign, minus in ((1, ""), (-1, "-")):
            if math.isclose(factor, sign * known, rel_tol=rtol):
                return [f"{names[1]} is {names[0]} times {minus}{label}"]
            if math.isclose(factor, sign / known, rel_tol=rtol):
                return [f"{names[0]} is {names[1]} times {minus}{label}"]
    if a.numel() == 1:
        return []  # one number is always a multiple of another
    return [f"{names[1]} is {names[0]} times {_number(factor)}"]


FEWEST = 5  # of numbers: a straight line runs through any two


def _affine(names: tuple[str, str], a: Tensor, b: Tensor, rtol: float) -> list[str]:
    """Whether a constant was added, to the one or to a multiple of it."""
    if a.numel() < FEWEST or same(a, a.mean(), rtol) or same(b, b.mean(), rtol):
        return []
    shift = float((b - a).median())
    if same(a + shift, b, rtol):
        return [f"{names[1]} is {names[0]} {_added(shift)}"]
    u, v = a - a.mean(), b - b.mean()
    largest = _magnitude(u), _magnitude(v)
    u, v = u / largest[0], v / largest[1]  # squares neither vanish nor overflow
    factor = float((u * v).sum()) / float((u * u).sum()) * (largest[1] / largest[0])
    shift = float(b.mean()) - factor * float(a.mean())
    if not same(factor * a + shift, b, rtol):
        return []
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
    if same(a.flatten().sort().values, b.flatten().sort().values, rtol):
        if a.dim() > 1:
            rows = [x.flatten(1).sort(1).values for x in (a, b)]
            if same(rows[0], rows[1], rtol):
                return ["the same numbers in each image, in another order"]
        return ["the same numbers, in another order"]
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
