"""A bias that one side has once and the other side as two that are added, which both are trained:
Keras' LSTM has one, PyTorch's two."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import Judged
from comparisons.ports.judging.updates import update_noise

__all__ = ["two_biases"]

NEAR = 1e-3  # of the largest step, beside rounding: how exactly one is twice the other


def two_biases(step: Inspected, judged: Judged) -> Iterator[str]:
    """Yields that the sum of two biases takes twice the step of the one bias, if it does.

    Arguments:
        step: The step, as far as it was judged.
        judged: Its first quantity that parts.
    """
    one = judged.quantity.parameter
    if one is None or one.join != "added" or judged.quantity.passing != "parameter":
        return
    steps, whole = [], 0.0
    before = one.values(step.a.arrays, step.b.arrays, "start/{}")
    after = one.values(step.a.arrays, step.b.arrays, "parameter/{}")
    for old, new in zip(before, after, strict=True):
        if old is None or new is None or old.shape != new.shape:
            return
        steps.append(new.astype(np.float64) - old)
        whole = max(whole, float(np.abs(new).max(initial=0)))
    side = 0 if len(one.a) > 1 else 1
    single, double = steps[1 - side], steps[side]
    largest = float(np.abs(single).max(initial=0))
    room = NEAR * largest + update_noise(whole, step.precision)
    if largest > room and float(np.abs(double - 2 * single).max()) <= room:
        names = (one.a, one.b)[side]
        yield (
            f"{step.names[side]}: trains {' and '.join(names)}, which are added, where "
            f"{step.names[1 - side]} has one bias (Keras's way): their sum takes twice the step. "
            "Set one of them to zero, and do not train it"
        )
