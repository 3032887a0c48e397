"""A gradient that one side changes within backward, in a hook, and the other one after it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import EPSILON, difference_of
from comparisons.ports.judging.quantities import PortQuantity

__all__ = ["HOOKED", "changed_in_a_hook", "changed_within_backward", "small_set_to_zero"]

ROUNDINGS = 16  # of the largest number, that may leave something of a zero
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
    if not after[1 - side]:
        return None
    given = replace(quantity, passing="given gradient", template="given/{}")
    values = [given.arrays(step.a, step.b), (residuals[0].expected, residuals[1].expected)]
    for x, y in values:
        if x is None or y is None or x.size != y.size:
            return None
        if difference_of(np.ravel(x), np.ravel(y)).needed > step.rtol:
            return None
        if any(_zero_alone(step, *pair).any() for pair in ((x, y), (y, x))):
            return None
    return side


def small_set_to_zero(step: Inspected, quantity: PortQuantity) -> str:
    """Why a parameter's gradient is not the other side's, though its largest numbers are: one side
    alone sets small ones to zero, which backward does not. A rule that goes by the largest does not
    see it, and an optimiser that divides by their size does. Empty if neither does.

    Arguments:
        step: The step, as far as it was judged.
        quantity: A parameter's gradient as backward left it.
    """
    if quantity.passing != "parameter gradient":
        return ""
    a, b = quantity.arrays(step.a, step.b)
    if a is None or b is None or a.size != b.size or step.precision == "float16":
        return ""
    for side, pair in enumerate(((a, b), (b, a))):
        zero = _zero_alone(step, *pair)
        residual = step.residuals(quantity)[side] if zero.any() else None
        recorded = step.own[side].step.arrays.get(f"gradient/{quantity.value[side]}")
        if residual is None or recorded is None or residual.expected.size != recorded.size:
            continue
        count = int(_zero_alone(step, recorded, residual.expected).sum())
        if count:
            return (
                f"{step.names[side]}: {count} of {a.size} numbers of the gradient of "
                f"{quantity.value[side]} are exactly 0 where backward gives small ones; "
                f"{step.names[1 - side]}'s are as backward gives them. Look for a hook in "
                f"{step.names[side]} that sets small numbers to zero"
            )
    return ""


def _zero_alone(step: Inspected, one: NDArray, other: NDArray) -> NDArray:
    """Where numbers are zero, and the other side's are not, nor what rounding leaves of zero."""
    one, other = np.ravel(one), np.abs(np.ravel(other).astype(np.float64))
    least = ROUNDINGS * EPSILON[step.precision] * other[np.isfinite(other)].max(initial=0)
    found: NDArray = (one == 0) & (other > least)
    return found
