"""Columns of an input that are small against its largest numbers, which a rule that goes by the
largest does not see: labels beside amounts of money."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.judging.judged import EPSILON, RTOL

__all__ = ["small_column_differs"]

ROOM = 10  # times the rule of what is computed: a column that is off by this is no rounding
NOTHING = 16  # roundings of the largest number: a column of these may be what is left of zero
FEWEST = 8  # numbers of a column
MOST = 4  # columns that are listed


def small_column_differs(a: NDArray, b: NDArray) -> str:
    """Which column of an input differs, held against its own largest number; empty if none does.

    Arguments:
        a, b: Both sides' input, whose first axis counts the examples.
    """
    if a.shape != b.shape or a.ndim < 2 or {a.dtype.kind, b.dtype.kind} != {"f"}:
        return ""
    name = min(a.dtype, b.dtype, key=lambda one: one.itemsize).name
    if name not in ("float32", "float64"):
        return ""
    x, y = a.astype(np.float64), b.astype(np.float64)
    if not (np.isfinite(x) & np.isfinite(y)).all():
        return ""
    size, difference = np.maximum(np.abs(x), np.abs(y)), np.abs(x - y)
    least = NOTHING * EPSILON[name] * float(size.max(initial=0))
    whole = (x == np.round(x)) & (y == np.round(y)) & (size * EPSILON[name] < 1)
    for axis in range(1, a.ndim):
        others = tuple(n for n in range(a.ndim) if n != axis)
        if a.size // max(a.shape[axis], 1) < FEWEST:
            continue
        largest = size.max(axis=others)
        known = (largest > least) | whole.all(axis=others)
        wrong = known & (difference.max(axis=others) > ROOM * RTOL[name] * largest)
        if wrong.any():
            at = int(wrong.argmax())
            return (
                f"{_list(np.flatnonzero(wrong), axis, a.ndim)} differ, whose numbers are small "
                f"(at most {largest[at]:.3g}) against the largest of all ({size.max():.3g})"
            )
    return ""


def _list(wrong: NDArray, axis: int, axes: int) -> str:
    """Columns, counted from 0."""
    what = "columns" if axis == axes - 1 else f"numbers of axis {axis}"
    more = ", ..." if len(wrong) > MOST else ""
    return f"{what} {', '.join(str(int(n)) for n in wrong[:MOST])}{more} (counted from 0)"
