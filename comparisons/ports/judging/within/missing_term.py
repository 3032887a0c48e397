"""A term of a gradient that one side alone has: what a small part of the loss hands back, which the
other side detaches. The rule goes by the whole gradient, and does not see it."""

from __future__ import annotations

import numpy as np

from comparisons.ports.judging.explained import reached, taken_by
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import EPSILON
from comparisons.ports.judging.quantities import PortQuantity

__all__ = ["missing_term"]

ROUNDINGS = 64  # of the gradient: a smaller term cannot be told
REST = 0.1  # of a term: what it may leave unexplained


def missing_term(step: Inspected, quantity: PortQuantity) -> str:
    """Which stage one side alone takes a value in, as far as backward goes, if what it hands back
    is the difference of the two gradients; empty if there is none.

    Arguments:
        step: The step.
        quantity: A value's gradient, of which both sides have one.
    """
    if quantity.passing != "backward" or step.precision == "float16":
        return ""
    names = quantity.value
    both = [reached(step, side, name) for side, name in enumerate(names)]
    partners = {step.network.partner[name].b.name for name in both[0]}
    alone = (
        [one for one in both[0].values() if step.network.partner[one.name].b.name not in both[1]],
        [one for one in both[1].values() if one.name not in partners],
    )
    if bool(alone[0]) == bool(alone[1]):
        return ""
    side = 0 if alone[0] else 1
    own, name = step.own[side], names[side]
    values = quantity.arrays(step.a, step.b)
    if values[0] is None or values[1] is None or values[0].shape != values[1].shape:
        return ""
    a, b = (np.asarray(one, dtype=np.float64) for one in values)
    x, y = (a, b) if side == 0 else (b, a)
    term = np.zeros(x.shape)
    for stage in alone[side]:
        found = own.stage(stage)
        gradient = None if found is None else found.gradients.get(name)
        if gradient is None or gradient.numel() != x.size:
            return ""
        term = term + gradient.numpy().reshape(x.shape)
    size = np.abs(term).max(initial=0)
    if not size > ROUNDINGS * EPSILON[step.precision] * np.abs(x).max(initial=0):
        return ""
    if not np.abs(x - y - term).max(initial=0) <= REST * size:
        return ""
    return taken_by(step.names[side], alone[side][0])
