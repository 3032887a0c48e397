"""How far two sides agree in one quantity of one step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from comparisons.agreement.arrays import ulp_difference
from comparisons.agreement.tolerances import STAGE_RULES
from comparisons.ports.judging.quantities import PortQuantity
from comparisons.ports.side import RecordedStep
from pyvae.files.arrays import StoredArrays

__all__ = [
    "EPSILON",
    "GIVEN_RTOL",
    "Difference",
    "Judged",
    "difference_of",
    "precision_of",
    "tolerance",
]

# Half precision has 11 bits, and its rule as much room above its rounding as float32's.
RTOL = {
    "float64": STAGE_RULES["float64"].rtol,
    "float32": STAGE_RULES["float32"].rtol,
    "float16": 2e-2,
}
EPSILON = {name: float(np.finfo(name).eps) for name in RTOL}
# Inputs, draws and start values are not computed by what is compared: a few units in the last place
GIVEN_RTOL = {"float64": 1e-14, "float32": 1e-6, "float16": 2e-3}
COMPUTED = ("start/", "forward/", "parameter/")


def tolerance(precision: str, exact: bool) -> float:
    """What a difference may be, relative to the largest magnitude of its tensor."""
    return 0.0 if exact else RTOL[precision]


def precision_of(steps: Iterable[RecordedStep]) -> str:
    """The coarsest type of number that any side computed with: what it rounds, all that follows
    carries on, whatever type it has."""
    found = {"float64"}
    for step in steps:
        outside = {
            f"forward/{name}"
            for stage in step.network
            if stage.layer in ("input", "draw")
            for name in stage.outputs
        }
        found |= {
            _type_of(step.arrays, key)
            for key in step.arrays
            if key.startswith(COMPUTED) and key not in outside
        }
    return next(name for name in ("float16", "float32", "float64") if name in found)


def _type_of(arrays: Mapping[str, NDArray], key: str) -> str:
    return arrays.type_of(key) if isinstance(arrays, StoredArrays) else arrays[key].dtype.name


@dataclass(frozen=True)
class Difference:
    """How two arrays differ.

    Attributes:
        shape: The first side's.
        equal: Whether every bit is equal (a number of one type, held as another, is the same).
        largest: The largest magnitude on either side.
        max_abs: The largest difference.
        ulp: The same in units of the last place.
        index: Where, counted from 0.
        values: Both sides' values there.
        problem: What makes them incomparable: shapes, NaN or infinity on one side.
    """

    shape: tuple[int, ...]
    equal: bool
    largest: float = math.nan
    max_abs: float = math.nan
    ulp: int = 0
    index: tuple[int, ...] = ()
    values: tuple[float, float] = (math.nan, math.nan)
    problem: str = ""

    @property
    def needed(self) -> float:
        """The tolerance that would have sufficed."""
        if self.problem:
            return math.inf
        return self.max_abs / self.largest if self.max_abs else 0.0


@dataclass(frozen=True)
class Judged:
    """The verdict on one quantity of one step.

    Attributes:
        step: Counted from 1.
        quantity: Which.
        difference: How far the two sides differ.
        rtol: The largest needed tolerance that agrees.
        verdict: `equal` (every bit), `within` (the rule), `explained` (each side returned what it
            should for its own inputs, which agree) or `parted`.
        why: What explains the difference, or why nothing does.
        accepted: What the libraries do otherwise that explains it, by name: the user accepts it.
    """

    step: int
    quantity: PortQuantity
    difference: Difference
    rtol: float
    verdict: str
    why: str = ""
    accepted: tuple[str, ...] = ()


def difference_of(a: NDArray, b: NDArray, missing: bool = False) -> Difference:
    """Holds two arrays against each other, element by element.

    Arguments:
        a, b: The arrays.
        missing: Whether NaN may stand for a number that is missing: it agrees in the same places,
            but for arrays of nothing else.
    """
    if a.size == b.size == 1:  # some languages have no numbers without a dimension
        b = b.reshape(a.shape)
    if a.shape != b.shape:
        return Difference(a.shape, False, problem=f"shape {a.shape} against {b.shape}")
    if a.size == 0:
        return Difference(a.shape, True, 0.0, 0.0)
    if np.array_equal(a, b):
        return Difference(a.shape, True, float(np.abs(a.astype(np.float64)).max()), 0.0)
    x, y = a.astype(np.float64), b.astype(np.float64)
    bad = ~(np.isfinite(x) & np.isfinite(y))
    if bad.any():
        return _not_finite(x, y, bad, missing)
    size = np.abs(x - y)
    index = tuple(int(i) for i in np.unravel_index(int(size.argmax()), x.shape))
    types = sorted((one.dtype for one in (a, b)), key=lambda t: t.itemsize)
    coarse = "float64" if types[0] == np.float64 else "float32"
    ulp = int(ulp_difference(x[index], y[index], coarse).max()) if types[0].kind == "f" else 0
    largest = max(float(np.abs(x).max()), float(np.abs(y).max()))
    values = (float(x[index]), float(y[index]))
    return Difference(a.shape, False, largest, float(size[index]), ulp, index, values)


def _not_finite(x: NDArray, y: NDArray, bad: NDArray, missing: bool) -> Difference:
    """Infinities agree where both sides have the same ones, as masks of attention do; NaN only
    where it may stand for what is missing."""
    same = x == y
    nan = np.isnan(x) & np.isnan(y)
    if missing and not nan.all():
        same |= nan
    if (same | ~bad).all():
        return difference_of(np.where(bad, 0.0, x), np.where(bad, 0.0, y))
    index = tuple(int(i) for i in np.argwhere(bad & ~same)[0])
    values = (float(x[index]), float(y[index]))
    words = f"{values[0]:g} against {values[1]:g}"
    if np.isnan(values).all():
        words = "NaN on both sides"
    return Difference(x.shape, False, math.inf, math.inf, 0, index, values, words)
