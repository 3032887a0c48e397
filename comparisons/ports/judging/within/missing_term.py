"""A term of a gradient that one side alone has, or has otherwise: what a small part of the loss
hands back, which the other side detaches. The rule goes by the whole gradient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.judging.alone.chains import Chains
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import difference_of
from comparisons.ports.judging.own import DRAWS, distance
from comparisons.ports.judging.quantities import PortQuantity
from comparisons.ports.judging.why.takers import is_left_out, taken_by
from pyvae.trace.program import ProgramStage

__all__ = ["HANDED_BACK", "missing_term"]

HANDED_BACK = "hand another gradient back to it"
MOST = 3  # stages that are named

Stages = Sequence[ProgramStage]


def missing_term(step: Inspected, quantity: PortQuantity) -> str:
    """Which stages that are not alike on both sides take a value or parameter, if what they hand
    back to it is not the same: computed in float64, for the numbers of one side. Empty if there
    are none.

    Arguments:
        step: The step.
        quantity: A gradient that both sides have.
    """
    if quantity.passing not in ("backward", "parameter gradient") or step.precision == "float16":
        return ""
    names = _names(quantity)
    if names is None or any(own.unseen or not own.loss for own in step.own):
        return ""
    a, b = step.a.value(names[0]), step.b.value(names[1])
    if a is None or b is None:
        return ""
    if quantity.parameter is None and difference_of(a, b).needed > step.rtol:
        return ""  # one gradient of two values, as of a sum and of a part of it
    if any(key.startswith("loss/backward.") for own in step.own for key in own.step.arrays):
        return ""
    if any(is_left_out(own, name) for own, name in zip(step.own, names, strict=True)):
        return ""
    others = _others(step, names)
    if not any(others):
        return ""
    differ = [_differ(step, side, names, others) for side in (0, 1)]
    if not all(differ) or step.has_one_gradient:
        return ""
    return _words(step, names, others, [one for found in differ for one in found])


def _names(quantity: PortQuantity) -> tuple[str, str] | None:
    one = quantity.parameter
    if one is None:
        return quantity.value
    return (one.a[0], one.b[0]) if len(one.a) == len(one.b) == 1 else None


def _others(step: Inspected, names: tuple[str, str]) -> tuple[Stages, Stages]:
    """The stages that take a value and hand something back, but for pairs that both take it."""
    takers = [
        [stage for stage in own.step.takers.get(name, ()) if own.has_gradient(stage)]
        for own, name in zip(step.own, names, strict=True)
    ]
    known = {stage.name for stage in takers[1]}
    common = [
        pair
        for stage in takers[0]
        if (pair := step.network.partner.get(stage.name)) is not None and pair.b.name in known
        if _places(step, 0, pair.a, names[0]) == _places(step, 1, pair.b, names[1])
    ]
    alike = [{pair.a.name for pair in common}, {pair.b.name for pair in common}]
    first, second = (
        [stage for stage in stages if stage.name not in alike[side]]
        for side, stages in enumerate(takers)
    )
    return first, second


def _places(step: Inspected, side: int, stage: ProgramStage, name: str) -> tuple[int, list[str]]:
    """How often a stage takes a value, and as what."""
    own = (step.a, step.b)[side].side.own
    roles = sorted(role for role, one in stage.parameters.items() if own(one) == name)
    return sum(own(one) == name for one in stage.inputs), roles


def _differ(
    step: Inspected, side: int, names: tuple[str, str], others: tuple[Stages, Stages]
) -> list[int]:
    """Which sides' stages hand something back, if they do not hand back the same: this side's for
    the other side's numbers, and the other side's for its own; empty if they do, up to rounding of
    the gradients that they are given, or if it cannot be computed."""
    other = 1 - side
    steps = step.a, step.b
    partners = _alike(step, side)
    chains = (
        Chains(steps[side], steps[other], partners),
        Chains.of_one(steps[other], partners.values()),
    )

    def parts(seed: int | None = None) -> list[NDArray] | None:
        shaken = [one if seed is None else one.shake(step.rtol, seed) for one in chains]
        found = [
            chain.handed_back(names[at], step.own[at].loss, others[at])
            for chain, at in zip(shaken, (side, other), strict=True)
        ]
        known = [np.ravel(one) for one in found if one is not None]
        return known if len(known) == 2 and known[0].size == known[1].size else None

    found = parts()
    if found is None:
        return []
    sizes = [float(np.abs(one).max(initial=0)) for one in found]
    apart, allowed = distance(*found), step.rtol * max(sizes)
    if not allowed < apart < np.inf:
        return []
    for seed in range(DRAWS):
        moved = parts(seed)
        if moved is None:
            return []
        allowed += sum(distance(*pair) for pair in zip(found, moved, strict=True))
    return [(side, other)[n] for n, size in enumerate(sizes) if size > 0] if apart > allowed else []


def _alike(step: Inspected, side: int) -> dict[str, str]:
    """The other side's names of values and parameters, by a side's: of those that agree. What two
    stages return that were paired may be a sum, and a part of it."""
    found = {}
    for name, partner in step.chains[side].partners.items():
        judged = step.verdicts.get(f"forward/{partner if side else name}")
        if judged is None or judged.difference.needed <= step.rtol:
            found[name] = partner
    return found


def _words(
    step: Inspected, names: tuple[str, str], others: tuple[Stages, Stages], which: list[int]
) -> str:
    if len(set(which)) == 1:
        side = which[0]
        return taken_by(step.names[side], others[side][0]) + _detached(step, 1 - side, names)
    listed = [
        f"{name}'s " + ", ".join(f"{one.name} ({one.layer})" for one in stages[:MOST])
        for name, stages in zip(step.names, others, strict=True)
    ]
    cut = [_detached(step, side, names) for side in (0, 1)]
    return f"{listed[0]} and {listed[1]} {HANDED_BACK}" + (cut[0] or cut[1])


def _detached(step: Inspected, side: int, names: tuple[str, str]) -> str:
    """That a side takes a value without its gradient, if it does."""
    cuts = [one.name for one in step.own[side].step.takers.get(names[side], ())
            if one.layer == "detach"]  # fmt: skip
    return f"; {step.names[side]} detaches it ({cuts[0]})" if cuts else ""
