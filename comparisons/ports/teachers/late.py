"""Networks that are not trained and first called after the first step: how far the two sides' may
be apart.

What comes from outside, such as pretrained weights, is the same on both sides. What was made of the
model since it was first recorded, a copy or an average of what it was, is as far apart as the
models themselves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import EPSILON, difference_of
from comparisons.ports.judging.quantities import PortQuantity
from comparisons.ports.side import RecordedStep
from comparisons.ports.teachers.movement import ROUNDINGS, followed, key_of

__all__ = ["apart_when_first_called"]


def apart_when_first_called(step: Inspected, quantity: PortQuantity) -> float | None:
    """How far the two sides of a parameter may be apart, relative to its largest number, because
    the models are that it was made of: 0 if it was not.

    Arguments:
        step: The step.
        quantity: Any of its quantities.

    Returns:
        The largest difference of the models' parameter till then; None of what is no parameter of a
        network that is first called in this step, or if that is not known.
    """
    if quantity.passing != "untrained" or step.before is None or step.drift:
        return None
    if any(one.of_network(key_of(quantity, at)) is not None for at, one in enumerate(step.before)):
        return None
    values, most = step.values(quantity), 0.0
    for name in _made_of(step.a, key_of(quantity, 0), values[0]):
        one = step.parameter_of.get(name)
        theirs = _made_of(step.b, key_of(quantity, 1), values[1])
        if one is None or not set(one.b) & {*theirs}:
            continue
        for a, b in zip(step.a.till, step.b.till, strict=False):
            x, y = one.values(a, b, "start/{}")
            if x is not None and y is not None:
                most = max(most, difference_of(x, y).needed)
    return most


def _made_of(step: RecordedStep, key: str, value: NDArray | None) -> list[str]:
    """The model's parameters between whose earlier values all numbers of a parameter are."""
    if value is None:
        return []
    found, steps, value = [], step.till, value.astype(np.float64)
    for name in (name for names in followed(step.side, key, value.shape) for name in names):
        history = [one.get(f"start/{name}") for one in steps]
        known = [one.reshape(value.shape) for one in history if one is not None]
        if not known:
            continue
        epsilon = EPSILON.get(known[0].dtype.name, EPSILON["float32"])
        room = ROUNDINGS * epsilon * (len(steps) + 1) * np.abs(known[0]).max(initial=0)
        least, most = np.min(known, axis=0) - room, np.max(known, axis=0) + room
        if np.all((least <= value) & (value <= most)):
            found.append(name)
    return found
