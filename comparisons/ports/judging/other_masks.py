"""Masks that two programs write in other numbers.

What one side fills with -inf, the other one may add as 0 and -1e9; what is True of those that are
left out is True of those that are kept in `scaled_dot_product_attention`. The numbers differ then,
and they mark the same places.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.matching.kinds import is_module
from comparisons.ports.matching.matched import StageMatch, matched_outputs

__all__ = ["FILLS", "masks_in_other_numbers"]

NOTHING_IS_LEFT = -1e3  # of a score from here on a softmax makes 0, in float64 as well
FILLS = ("masked_fill", "where")


def masks_in_other_numbers(step: Inspected) -> list[StageMatch]:
    """The pairs whose two sides mark the same places with other numbers. Whether each is right for
    what takes it is not looked at."""
    return [pair for pair in step.network.pairs
            if not (pair.how == "map" or is_module(pair.a) or is_module(pair.b))
            and _marks_the_same(step, pair)]  # fmt: skip


def _marks_the_same(step: Inspected, pair: StageMatch) -> bool:
    found = False
    for a, b in _values(step, pair):
        if np.array_equal(a, b):
            continue
        fills = pair.a.layer in FILLS and pair.b.layer in FILLS
        if not (_are_one_mask(a, b) or (fills and _are_filled_alike(a, b))):
            return False
        found = True
    return found


def _values(step: Inspected, pair: StageMatch) -> Iterator[tuple[NDArray, NDArray]]:
    for one, two in matched_outputs(pair):
        a, b = step.a.value(one), step.b.value(two)
        if a is not None and b is not None and a.size == b.size:
            yield a.astype(np.float64).ravel(), b.astype(np.float64).ravel()


def _are_one_mask(a: NDArray, b: NDArray) -> bool:
    """Whether both consist of at most two numbers that a mask may have, at the same places."""
    if not all(np.all((one == 0) | (one == 1) | (one <= NOTHING_IS_LEFT)) for one in (a, b)):
        return False
    if any(np.unique(one).size > 2 for one in (a, b)):
        return False
    return np.array_equal(a == a[:1], b == b[:1])


def _are_filled_alike(a: NDArray, b: NDArray) -> bool:
    """Whether both are the same but where each has a number of which a softmax leaves nothing."""
    left = a > NOTHING_IS_LEFT
    return np.array_equal(left, b > NOTHING_IS_LEFT) and np.array_equal(a[left], b[left])
