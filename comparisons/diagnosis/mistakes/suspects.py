"""What all families of mistakes have in common."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

__all__ = ["FEWEST", "Suspects", "slope", "two_numbers"]

Suspects = Iterator[tuple[str, Tensor]]  # a mistake in words, and what it would return
FEWEST = 3  # of numbers that a constant is fitted to: to one, some constant always fits


def slope(y: Tensor, x: Tensor) -> float | None:
    """c of y = c x by least squares; None of so few numbers that any c would do."""
    if x.numel() < FEWEST:
        return None
    y, x = y.detach(), x.detach()
    square = float((x * x).sum())
    return float((x * y).sum()) / square if square > 0 else None


def two_numbers(found: float, right: float, digits: int = 6) -> str:
    """One number where another belongs, in words, with as many digits as tell them apart.

    Arguments:
        found: What was computed with.
        right: What belongs there.
        digits: How many are enough if they do.

    Example:
        >>> two_numbers(1.001e-8, 1e-8, 3)
        '1.001e-08 where it is 1e-08'
    """
    while digits < 17 and f"{found:.{digits}g}" == f"{right:.{digits}g}":
        digits += 1
    return f"{found:.{digits}g} where it is {right:.{digits}g}"
