"""A gradient that one side changes within backward, in a hook, and the other one after it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import difference_of
from comparisons.ports.judging.quantities import PortQuantity

__all__ = ["HOOKED", "changed_in_a_hook", "changed_within_backward"]

HOOKED = (
    "one side changes it within backward (a hook), the other one after it, with the same result"
)


def changed_in_a_hook(step: Inspected, quantity: PortQuantity) -> bool:
    """Whether the optimisers get the same gradient, which one side changed within backward and the
    other one after it, and the backward passes alone would have given the same.

    Arguments:
        step: The step, as far as it was judged.
        quantity: A parameter's gradient as backward left it.
    """
    return changed_within_backward(step, quantity) is not None


def changed_within_backward(step: Inspected, quantity: PortQuantity) -> int | None:
    """The side that changes it within backward where the other one does the same after it."""
    one = quantity.parameter
    if quantity.passing != "parameter gradient" or one is None:
        return None
    residuals = step.residuals(quantity)
    if residuals[0] is None or residuals[1] is None:
        return None
    right = [residual.is_right for residual in residuals if residual is not None]
    if right[0] == right[1]:
        return None
    side = right.index(False)
    after = [f"given/{names[0]}" in own.step.arrays
             for own, names in zip(step.own, (one.a, one.b), strict=True)]  # fmt: skip
    if after[side] or not after[1 - side]:
        return None
    given = replace(quantity, passing="given gradient", template="given/{}")
    values = [given.arrays(step.a, step.b), (residuals[0].expected, residuals[1].expected)]
    for x, y in values:
        if x is None or y is None or x.size != y.size:
            return None
        if difference_of(np.ravel(x), np.ravel(y)).needed > step.rtol:
            return None
    return side
