"""Asks one question after the other about how two tensors are related."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from comparisons.diagnosis.closeness import explains, same
from comparisons.diagnosis.relations.axes import MOST_AXES, axes, same_numbers
from comparisons.diagnosis.relations.factors import affine, factor
from comparisons.diagnosis.relations.images import pixel_relation
from comparisons.diagnosis.relations.limits import functions, limited, rounded
from comparisons.diagnosis.relations.normalisations import by_channels, by_rows, standardised
from comparisons.diagnosis.relations.rows import rows
from comparisons.diagnosis.relations.two_values import TwoValues

__all__ = ["relation", "shape_relation"]


def relation(
    names: tuple[str, str],
    a: Tensor,
    b: Tensor,
    factors: Mapping[str, float],
    rtol: float,
    input_shape: Sequence[int] | None = None,
    numbers: Mapping[int, str] | None = None,
    rounding: float = 0.0,
) -> list[str]:
    """How two tensors of one shape are related, if they are: sign, factor, axes, order.

    Arguments:
        names: Of the two sides.
        a, b: Their values.
        factors: Constants with a name, such as 1/batch size.
        rtol: What counts as equal, relative to the largest magnitude.
        input_shape: The shape before a reshape, whose axes may have been exchanged.
        numbers: Numbers that a factor may be a ratio of, and what they count.
        rounding: What may be left of a value that is named, where that is more than `rtol`: that
            one side was computed with fewer digits.

    Returns:
        Words; none if there is no relation, or nothing that would tell the two apart.
    """
    if not (torch.isfinite(a).all() and torch.isfinite(b).all()) or same(a, b, rtol):
        return []
    if explains(-a, b, a, rtol):
        return [f"{names[1]} has the opposite sign of {names[0]}"]
    two = TwoValues(names, a, b, max(rtol, rounding))
    words = factor(two, factors, numbers) or affine(two)
    if not words and a.numel() > 1 and not two.are_constant:
        words = (
            axes(two, input_shape)
            or pixel_relation(two)
            or rounded(two)
            or limited(two)
            or rows(two)
            or functions(two)
            or standardised(two)
            or by_channels(two)
            or by_rows(two)
            or same_numbers(two)
        )
    return words


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
