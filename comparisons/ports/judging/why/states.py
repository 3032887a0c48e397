"""Why two optimisers do not go on from the same state."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from comparisons.ports.judging.alone.parameters import other_state_before, other_state_kept
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.quantities import PortQuantity

__all__ = ["first_state_differs", "numbers_differ", "own_state_differs"]


def first_state_differs(step: Inspected, quantity: PortQuantity) -> str:
    """Why the optimisers do not go on from the same state, in the first step of both."""
    if step.before is not None or step.drift or quantity.parameter is None:
        return ""
    return other_state_before((step.a, step.b), quantity.parameter, step.rtol)


def own_state_differs(step: Inspected, quantity: PortQuantity) -> str:
    """Why the optimisers do not go on from the same state, of which one side has another name for
    it: such a state is held against the other's nowhere else."""
    if quantity.parameter is None or not any(own.has_own_states for own in step.own):
        return ""
    why = other_state_kept(step.own, quantity.parameter, step.rtol, step.followed)
    why = why or step.doubted.get(quantity.parameter.name, "")
    return why or next(filter(None, (numbers_differ(step, s) for s in _states(step, quantity))), "")


def _states(step: Inspected, quantity: PortQuantity) -> Iterator[PortQuantity]:
    """A parameter's states that one side keeps under a name of its own, as quantities."""
    one = quantity.parameter
    if one is None or max(len(one.a), len(one.b)) > 1:
        return
    starts = [f"state/{name}." for name in (one.a[0], one.b[0])]
    keys = [
        {key.removeprefix(start) for key in own.step.arrays if key.startswith(start)}
        for own, start in zip(step.own, starts, strict=True)
    ]
    for key in sorted(keys[0] & keys[1]):
        yield PortQuantity("state", starts[0] + key, starts[1] + key, None, one)


def numbers_differ(step: Inspected, quantity: PortQuantity) -> str:
    """Why an optimiser's state is not the other's, though its largest numbers are; empty if each
    number of both is what it should be."""
    one = quantity.parameter
    if one is None or max(len(one.a), len(one.b)) > 1:
        return ""
    values = [own.step.arrays.get(key) for own, key in
              zip(step.own, (quantity.key, quantity.key_b), strict=True)]  # fmt: skip
    if values[0] is None or values[1] is None or values[0].size != values[1].size:
        return ""
    x, y = (value.astype(np.float64).ravel() for value in values if value is not None)
    if np.allclose(x, y, rtol=step.rtol, atol=0, equal_nan=True):
        return ""
    for own, names, key in zip(step.own, (one.a, one.b), (quantity.key, quantity.key_b),
                               strict=True):  # fmt: skip
        state = key.rpartition(".")[2]
        if not own.keeps_each_number(names[0], state):
            return (
                f"numbers of {own.step.side.name}'s {state} that are small against its largest are "
                "not what the gradients give"
            )
    return ""
