"""What all families of mistakes have in common."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

__all__ = ["Suspects", "slope"]

Suspects = Iterator[tuple[str, Tensor]]  # a mistake in words, and what it would return


def slope(y: Tensor, x: Tensor) -> float | None:
    """c of y = c x by least squares."""
    square = float((x * x).sum())
    return float((x * y).sum()) / square if square > 0 else None
