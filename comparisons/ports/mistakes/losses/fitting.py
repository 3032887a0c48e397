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

    def number(constant: float) -> float:
        return float(value(constant).detach())

    target, ends = float(found), [number(low), number(high)]
    if not min(ends) < target < max(ends):
        return None
    grows = ends[0] < ends[1]
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if (number(middle) < target) == grows:
            low = middle
        else:
            high = middle
    return float(f"{high:.{DIGITS}g}")
