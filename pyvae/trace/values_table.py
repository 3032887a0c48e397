"""The values of recorded steps as a table: a row for each, with its moments."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["COLUMNS", "value_rows"]

MOMENTS = ("mean", "sd", "min", "max")
COLUMNS = ("step", "kind", "name", "layer", "shape", "type", "numbers", "not_finite", *MOMENTS)


def value_rows(
    step: int, arrays: Mapping[str, NDArray], layers: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Yields what `COLUMNS` names of each value of a step.

    Arguments:
        step: Its number.
        arrays: The values by key, such as `forward/encoder.fc1`.
        layers: The layer that returns a value, by the value's name.
    """
    for key in arrays:
        kind, _, name = key.partition("/")
        value = arrays[key]
        numbers = value.astype(np.float64)
        about = (
            step, kind, name, layers.get(name, ""), "x".join(map(str, value.shape)),
            value.dtype.name, value.size, int(value.size - np.isfinite(numbers).sum()),
        )  # fmt: skip
        yield dict(zip(COLUMNS, (*about, *_moments(numbers)), strict=True))


def _moments(numbers: NDArray[np.float64]) -> tuple[float, ...]:
    if not numbers.size:
        return (math.nan,) * len(MOMENTS)
    with np.errstate(invalid="ignore", over="ignore"):  # of infinite numbers
        found = numbers.mean(), numbers.std(), numbers.min(), numbers.max()
    return tuple(float(one) for one in found)
