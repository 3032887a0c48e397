"""What the values that each part of a batch has make, put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Whole", "made_one", "may_follow"]


@dataclass
class Whole:
    """What the parts' values of one name make, put together: `rows` one after the other along an
    axis, the `same` in each, their `mean` or their `sum`."""

    how: str
    axis: int = 0


def may_follow(values: Sequence[NDArray], axis: int) -> bool:
    """Whether arrays have one shape but for an axis."""
    shapes = {(*one.shape[:axis], *one.shape[axis + 1 :]) for one in values}
    return len(shapes) == 1 and len({one.ndim for one in values}) == 1 and axis < values[0].ndim


def made_one(values: Sequence[NDArray], whole: Whole) -> NDArray:
    """The values of each part, put together."""
    if whole.how == "rows":
        return np.concatenate(values, whole.axis)
    if whole.how == "same":
        return values[0]
    summed = np.sum(values, axis=0, dtype=np.float64)
    summed = summed / len(values) if whole.how == "mean" else summed
    return np.asarray(summed).astype(values[0].dtype)
