"""Stages that one side alone has, and that change what they hand on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.judging.alone.chains import Chains
from comparisons.ports.judging.alone.rounded import rounded_before_loss, rounded_by_one
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import difference_of
from comparisons.ports.judging.quantities import PortQuantity
from comparisons.ports.matching.matched import StageMatch

__all__ = ["moved_by_one", "moved_in_another_order", "stages_of_one"]

# Stages that one side alone has are computed in float64 from the other side's recorded values: only
# the other side's rounding is left
ALONE = 0.02  # of the rule


def stages_of_one(step: Inspected, quantity: PortQuantity) -> list[str]:
    """Stages that one side alone has, and that change what they hand on by less than the rule, but
    more than rounding does."""
    pair = quantity.stage
    if quantity.key == "loss/total" and not step.exact:
        return _loss_of_one(step)
    if quantity.passing != "forward" or pair is None or step.exact:
        return []
    rounded = rounded_by_one(step, quantity)
    if rounded:
        return rounded
    for one, two in _taken(pair):
        for side, (name, other) in enumerate(((one, two), (two, one))):
            chains = step.chains[side]
            if not chains.is_alone(name) or _are_given(step, one, two):
                continue
            own, there = (step.a, step.b)[side].value(name), (step.b, step.a)[side].value(other)
            computed = chains.value(name)
            if own is None or there is None or computed is None:
                continue
            own, _ = _as_meant(step, (one, two), side, own, there)
            computed, there = _as_meant(step, (one, two), side, computed, there)
            found = difference_of(computed, there)
            if found.problem or found.needed <= ALONE * step.rtol:
                continue
            # of the two, it is the stages that make the difference, and not what they are given
            if 2 * difference_of(computed, own).max_abs < difference_of(own, there).max_abs:
                return [f"only {step.names[side]} has what returns {name}"]
    return []


def _as_meant(
    step: Inspected, names: tuple[str, str], side: int, own: NDArray, there: NDArray
) -> tuple[NDArray, NDArray]:
    """One side's value and the other side's: rows that each counts from elsewhere are the same."""
    both = step.as_meant(names, (there, own) if side else (own, there))
    return both[::-1] if side else both


def _are_given(step: Inspected, one: str, two: str) -> bool:
    """Whether two values are both given, or drawn, and were not computed."""
    makers = step.a.producer.get(one), step.b.producer.get(two)
    return all(maker is not None and maker.layer in ("input", "draw") for maker in makers)


def _taken(pair: StageMatch) -> list[tuple[str, str]]:
    """What two stages take that belong together: inputs, and weights by their role."""
    roles = [(name, pair.b.parameters.get(role)) for role, name in pair.a.parameters.items()]
    both = [(one, two) for one, two in roles if two is not None]
    return [*zip(pair.a.inputs, pair.b.inputs, strict=False), *both]


def _loss_of_one(step: Inspected) -> list[str]:
    """Stages before the loss that one side alone has, if in float64, of the same values, the two
    sides' are not the same function: no rounding is in what they return."""
    rounded = rounded_before_loss(step)
    if rounded:
        return rounded
    losses, b = (step.own[0].loss, step.own[1].loss), step.b
    alone = [s for s in (0, 1) if losses[s] and step.chains[s].is_alone(losses[s])]
    if not alone or not all(losses):
        return []
    values = (
        step.chains[0].value(losses[0]),
        Chains.of_one(b, step.chains[1].partners).value(losses[1]),
    )
    if values[0] is None or values[1] is None:
        return []
    found = difference_of(values[0].astype(np.float64), values[1].astype(np.float64))
    if found.problem or found.needed <= ALONE * step.rtol:
        return []
    sides = " and ".join(step.names[side] for side in alone)
    return [f"only {sides} has what returns the loss"]


def moved_by_one(step: Inspected, quantity: PortQuantity) -> str:
    """Which stage that one side alone has moves a buffer once more, as a network in training mode
    does that is called again; empty if there is none.

    Arguments:
        step: The step.
        quantity: The buffer.
    """
    one = quantity.parameter
    if quantity.passing != "buffer" or one is None or max(len(one.a), len(one.b)) > 1:
        return ""
    takers = [
        [stage for stage in own.takers.get(name, ()) if stage.training]
        for own, name in zip((step.a, step.b), (one.a[0], one.b[0]), strict=True)
    ]
    for side, stages in enumerate(takers):
        alone = [stage for stage in stages if stage in step.network.only[side]]
        common = {stage.layer for stage in stages if stage not in alone}
        again = [stage for stage in alone if stage.layer in common]
        if len(stages) > len(takers[1 - side]) and step.whole is not None:
            again = again or alone[len(takers[1 - side]) :]
        if again:
            return (
                f"{step.names[side]} moves {(one.a, one.b)[side][0]} once more, in {again[0].name} "
                f"({again[0].layer}), which {step.names[1 - side]} does not have"
            )
    moved = [stage for side in (0, 1) for stage in takers[side] if stage in step.network.only[side]]
    if moved and step.whole is not None:  # what it should be follows from inputs that are no pairs
        return f"the calls that move it ({moved[0].name}, ...) are made another way on either side"
    return ""


def moved_in_another_order(step: Inspected, quantity: PortQuantity) -> str:
    """That both sides' calls of a network move a buffer, and not in the same order; empty if that
    is not so. A running mean is most of the last call."""
    one = quantity.parameter
    if quantity.passing != "buffer" or one is None or max(len(one.a), len(one.b)) > 1:
        return ""
    mine, theirs = (
        [stage.name for stage in own.takers.get(name, ()) if stage.training]
        for own, name in zip((step.a, step.b), (one.a[0], one.b[0]), strict=True)
    )
    partners = [step.network.partner[name].b.name for name in mine if name in step.network.partner]
    order = [name for name in theirs if name in partners]
    if order == [name for name in partners if name in order]:
        return ""
    counted = ", ".join(step.network.partner_of_b[name].a.name for name in order)
    return (
        f"{step.names[1]} makes the calls that move {one.b[0]} in another order: as "
        f"{step.names[0]} counts them, {counted}"
    )
