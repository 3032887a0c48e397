"""Values that one side alone rounds to bfloat16, in a program that computes in float32: no rule of
float32 covers that, and a formula in float64 does not see it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.quantities import PortQuantity
from comparisons.ports.side import RecordedStep

__all__ = ["TO_BFLOAT16", "rounded_before_loss", "rounded_by_one"]

TO_BFLOAT16 = " to bfloat16"
LOWER = np.uint32(0xFFFF)  # the bits of a float32 that a bfloat16 lacks


def rounded_by_one(step: Inspected, quantity: PortQuantity) -> list[str]:
    """What one side alone rounds to bfloat16 before a stage that both have.

    Arguments:
        step: The step.
        quantity: What that stage returned.
    """
    pair = quantity.stage
    if pair is None or step.precision != "float32":
        return []
    for side, stage in enumerate((pair.a, pair.b)):
        other = (step.b, step.a)[side].arrays.get((quantity.key_b, quantity.key)[side])
        if other is None or _is_bfloat16(other):
            continue  # the other side's stage computes in bfloat16 itself
        words = _rounded(step, side, (*stage.inputs, *stage.parameters.values()))
        if words:
            return [words]
    return []


def rounded_before_loss(step: Inspected) -> list[str]:
    """What one side alone rounds to bfloat16 before the loss."""
    losses = step.own[0].loss, step.own[1].loss
    if step.precision != "float32" or not all(losses):
        return []
    for side, loss in enumerate(losses):
        other = (step.b, step.a)[side].value(losses[1 - side])
        if other is not None and not _is_bfloat16(other):
            words = _rounded(step, side, [loss])
            if words:
                return [words]
    return []


def _rounded(step: Inspected, side: int, names: Iterable[str]) -> str:
    own: RecordedStep = (step.a, step.b)[side]
    for name in names:
        for stage in step.chains[side].stages(name):
            if stage.layer != "to" or not stage.inputs:
                continue
            before, after = own.value(stage.inputs[0]), own.value(stage.outputs[0])
            if before is None or after is None or before.shape != after.shape:
                continue
            if before.dtype.kind != "f" or np.array_equal(before, after, equal_nan=True):
                continue  # nothing is lost
            if _is_bfloat16(after):
                return f"only {step.names[side]} rounds {stage.inputs[0]}{TO_BFLOAT16}"
    return ""


def _is_bfloat16(value: NDArray) -> bool:
    """Whether all numbers have no more bits than bfloat16 has, as which they are written then."""
    if value.dtype != np.float32:
        return False
    return not (np.ascontiguousarray(value).view(np.uint32) & LOWER).any()
