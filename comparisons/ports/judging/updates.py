"""An optimiser's update, held side by side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.judging.judged import EPSILON, RTOL, Difference

__all__ = ["update_difference", "update_noise"]

ROUNDINGS = 4  # of the parameter, on both sides together


def update_noise(largest: float, precision: str) -> float:
    """What rounding the parameter itself makes of an update, given the largest parameter."""
    return ROUNDINGS * EPSILON[precision] * largest


def update_difference(
    start: tuple[NDArray, NDArray],
    after: tuple[NDArray, NDArray],
    whole: Difference,
    precision: str,
    kept: float = 1.0,
) -> Difference:
    """The difference of two updates, relative to the larger one; of an average, relative to what is
    new in it, if that is less.

    Arguments:
        start, after: The parameter before and after the step, of both sides.
        whole: The difference of the parameters after the step.
        precision: The type of number, whose rounding of a large parameter may be as large as the
            update itself.
        kept: How much of the earlier value stays in an average.
    """
    begun, left = (
        [one.astype(np.float64).reshape(whole.shape) for one in pair] for pair in (start, after)
    )
    x, y = (new - old for old, new in zip(begun, left, strict=True))
    size = np.abs(x - y)
    index = tuple(int(i) for i in np.unravel_index(int(size.argmax()), size.shape))
    largest = max(float(np.abs(one).max()) for one in (x, y))
    if kept < 1:
        new = [one - kept * old for old, one in zip(begun, left, strict=True)]
        largest = min(largest, max(float(np.abs(one).max()) for one in new))
    least = update_noise(whole.largest, precision) / RTOL[precision]
    values = (
        float(after[0].reshape(whole.shape)[index]),
        float(after[1].reshape(whole.shape)[index]),
    )
    return replace(
        whole, largest=max(largest, least), max_abs=float(size[index]), index=index, values=values
    )
