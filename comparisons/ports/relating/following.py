"""Whether a relation of two values holds in the next recorded step, too."""

from __future__ import annotations

from collections.abc import Callable

from numpy.typing import NDArray

from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import RTOL, Judged, difference_of
from comparisons.ports.judging.own import Own, Residual
from comparisons.ports.judging.quantities import PortQuantity
from comparisons.ports.mistakes.fit import alike

__all__ = ["holding_relations"]

# Of a factor, a constant that is added, and a normalisation: others, such as an order of rows, may
# be of one batch
GENERAL = (" times ", " plus ", " minus ", ", where x is ")
Relate = Callable[[NDArray, NDArray], list[str]]


def holding_relations(
    step: Inspected, judged: Judged, words: list[str], relate: Relate
) -> list[str]:
    """Those of the relations that hold in the next step, too, as far as that can be told.

    Arguments:
        step: The step.
        judged: Its first quantity that parts.
        words: How its values are related.
        relate: Relates two values.
    """
    if not any(mark in one for one in words for mark in GENERAL):
        return words
    pair = _values_there(step, judged.quantity)
    if pair is None or pair[0].shape != pair[1].shape:
        return words
    if difference_of(*pair).needed <= (judged.rtol or RTOL[step.precision]):
        return [f"{one} (in step {judged.step} alone)" for one in words]
    there = relate(*pair)
    return [one for one in words if any(alike(one, other) for other in there)]


def _values_there(step: Inspected, quantity: PortQuantity) -> tuple[NDArray, NDArray] | None:
    """What to relate in the next step: inputs; or what the one side that is wrong has there, and
    what it should have for its own inputs, in the place of the other side's."""
    if step.following is None:
        return None
    if quantity.passing == "input":
        a, b = quantity.arrays(*(own.step for own in step.following))
        return None if a is None or b is None else (a, b)
    wrong = [one is not None and not one.is_right for one in step.residuals(quantity)]
    if wrong[0] == wrong[1]:
        return None
    side = wrong.index(True)
    own, name = step.following[side], quantity.value[side]
    recorded = own.step.arrays.get((quantity.key, quantity.key_b)[side])
    residual = _residual(own, quantity.passing, name)
    if recorded is None or residual is None:
        return None
    right = residual.expected
    return (recorded, right) if side == 0 else (right, recorded)


def _residual(own: Own, passing: str, name: str) -> Residual | None:
    if passing == "forward":
        return own.forward(name)
    if passing in ("backward", "parameter gradient"):
        return own.backward(name)
    return own.after(passing, name) if passing in ("state", "parameter", "buffer") else None
