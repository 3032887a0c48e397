"""A constant that is found from the one number that a loss is."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

__all__ = ["round_number"]

DIGITS = 2  # of a constant that someone chose
HALVINGS = 100


def round_number(
    value: Callable[[float], Tensor], found: Tensor, low: float, high: float
) -> float | None:
    """The constant with which a loss is what was found, if it has two digits at most.

    Arguments:
        value: The loss of a constant; it only grows with it, or only shrinks.
        found: The loss that was recorded.
        low, high: Between which the constant is sought.
    """
    if found.numel() != 1:
        return None
    target, ends = float(found), [float(value(low)), float(value(high))]
    if not min(ends) < target < max(ends):
        return None
    grows = ends[0] < ends[1]
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if (float(value(middle)) < target) == grows:
            low = middle
        else:
            high = middle
    return float(f"{high:.{DIGITS}g}")
