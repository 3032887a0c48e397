"""Why a difference is not what rounding makes of two runs that go their own ways.

A difference beyond the rule is *explained* only if both sides declare the same, each side returned
what its declaration gives for its own inputs (computed again in float64), and these inputs belong
together and agree, or their difference was explained in turn. That is what kinks and sums that
cancel make of rounding: never of a mistake.
"""

from __future__ import annotations

from dataclasses import replace

from comparisons.ports.judging.alone.hooks import changed_in_a_hook
from comparisons.ports.judging.alone.stages import moved_by_one, moved_in_another_order
from comparisons.ports.judging.given import change_of
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import Difference, difference_of
from comparisons.ports.judging.own import unseen_words
from comparisons.ports.judging.quantities import PortQuantity
from comparisons.ports.judging.why.inputs import other_inputs, same_function
from comparisons.ports.judging.why.own_faults import own_faults
from comparisons.ports.judging.why.states import first_state_differs, own_state_differs
from comparisons.ports.judging.why.takers import other_takers
from comparisons.ports.judging.within.unrecorded import (
    follows_from_networks,
    why_without_gradients,
)

__all__ = ["why_unexplained"]

NO_SHARE = "it is no share of the way to the model, or that is not recorded"


def why_unexplained(step: Inspected, quantity: PortQuantity, difference: Difference) -> str:
    """Why a difference is not explained; empty if it is."""
    if difference.problem:
        return difference.problem
    if quantity.passing == "start":
        return _start(step, quantity, difference)
    if quantity.passing == "untrained":
        if step.before is None and not step.drift:
            return "it comes from outside"
        return "" if difference.needed <= step.drift else NO_SHARE
    if quantity.passing in ("input", "draw"):
        if follows_from_networks(step, quantity, difference):
            return ""
        return _outside(step, quantity)
    if quantity.passing == "loss":
        return _loss(step, quantity)
    if quantity.passing == "given gradient":
        return _given(step, quantity)
    if quantity.passing == "forward" and quantity.stage is not None:
        why = other_inputs(step, quantity.stage)
    elif quantity.passing in ("backward", "parameter gradient"):
        why = other_takers(step, quantity)
        if not why and changed_in_a_hook(step, quantity):
            return ""
    elif quantity.passing in ("state", "parameter"):
        why = first_state_differs(step, quantity) or own_state_differs(step, quantity)
    elif _stays(step, quantity):
        return ""
    else:
        why = moved_by_one(step, quantity) or moved_in_another_order(step, quantity)
    return why or own_faults(step, quantity)


def _given(step: Inspected, quantity: PortQuantity) -> str:
    """Whether both sides do the same to the gradients that backward left."""
    given = quantity.arrays(step.a, step.b)
    left = replace(quantity, template="gradient/{}").arrays(step.a, step.b)
    changes = [
        change_of(old, new, step.rtol)
        for old, new in zip(left, given, strict=True)
        if old is not None and new is not None
    ]
    if len(changes) == 2 and changes[0].is_like(changes[1], step.rtol):
        return ""
    return "it is not what backward left, changed in one way on both sides"


def _outside(step: Inspected, quantity: PortQuantity) -> str:
    """Where an input comes from, as far as that is known."""
    stages = [] if quantity.stage is None else [quantity.stage.a, quantity.stage.b]
    made = [str(stage.options.get("grad_fn", "")) for stage in stages]
    if made and all(made):
        what = " and ".join(dict.fromkeys(map(unseen_words, made)))
        return f"it is what {what} returned, which is not looked into"
    if any(stage.options.get("without_gradients") for stage in stages):
        return why_without_gradients(step)
    return "it comes from outside"


def _stays(step: Inspected, quantity: PortQuantity) -> bool:
    """Whether both sides leave a buffer as it was when the step began, where it was judged."""
    one = quantity.parameter
    if one is None or quantity.passing != "buffer":
        return False
    left = one.values(step.a.arrays, step.b.arrays, "buffer/{}")
    starts = one.values(step.a.arrays, step.b.arrays, "start/{}")
    return all(
        x is not None and y is not None and difference_of(x, y).equal
        for x, y in zip(starts, left, strict=True)
    )


def _start(step: Inspected, quantity: PortQuantity, difference: Difference) -> str:
    one = quantity.parameter
    if step.drift and difference.needed <= step.drift:
        return ""
    if step.drift:
        return "the two have parted in steps that were not recorded"
    if step.before is None or one is None:
        return "it comes from outside"
    for before, now, names in zip(step.before, (step.a, step.b), (one.a, one.b), strict=True):
        for name in names:
            earlier = before.arrays.get(f"{one.kind}/{name}")
            start = now.arrays.get(f"start/{name}")
            if earlier is None or start is None or not difference_of(earlier, start).equal:
                return f"{now.side.name}'s is not what the step before left"
    return ""


def _loss(step: Inspected, quantity: PortQuantity) -> str:
    """The loss is what a stage returned on both sides, if these stages belong together."""
    if quantity.key != "loss/total":
        return "it is not known how it was computed"
    losses = step.own[0].loss, step.own[1].loss
    if not all(losses):
        return "it is not known which stage returned it"
    if step.network.values.get(losses[0]) != losses[1]:
        if same_function(step, *losses):
            return ""
        return "it is not returned by stages that belong together"
    found = step.verdicts.get(f"forward/{losses[0]}")
    return "" if found is not None and found.verdict != "parted" else "its stage has parted"
