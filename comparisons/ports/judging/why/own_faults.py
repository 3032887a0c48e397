"""Which side did not return what it should for its own inputs."""

from __future__ import annotations

import numpy as np

from comparisons.ports.expected.optimisers import OPTIMISERS
from comparisons.ports.expected.update import COUNTS_ONLY
from comparisons.ports.judging.declared import optimiser_differences
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import difference_of
from comparisons.ports.judging.own import Residual, distance, unseen_words
from comparisons.ports.judging.quantities import PortQuantity
from comparisons.ports.side import Overlaid

__all__ = ["own_faults"]

MOST_NAMED = 3  # buffers


def own_faults(step: Inspected, quantity: PortQuantity) -> str:
    """Which side's is not what it should be for its own inputs, or cannot be computed again; empty
    if both are right."""
    types = [one.side.trace.environment.get("computed_in", "") for one in (step.a, step.b)]
    for side, residual in enumerate(step.residuals(quantity)):
        name, own = step.names[side], step.own[side]
        if residual is None and quantity.passing == "buffer":
            residual = _kept_by_hand(step, side, quantity)
        if residual is None:
            return (
                _unseen(step, side, quantity)
                or _unknown_optimiser(step, quantity)
                or _uncounted(step, side, quantity)
                or _changed_by_hand(step, quantity)
                or f"{name}'s cannot be computed again"
            )
        if residual.is_right:
            continue
        if types[side] and not types[1 - side]:
            return f"{name} computes in {types[side]}, {step.names[1 - side]} does not"
        if quantity.passing in ("backward", "parameter gradient") and own.unseen:
            what = " and ".join(map(unseen_words, own.unseen))
            return f"{name}'s may come from {what} as well, which is not looked into"
        return (
            _moved_within(step, quantity) or f"{name}'s is not what it should be for its own inputs"
        )
    return ""


def _changed_by_hand(step: Inspected, quantity: PortQuantity) -> str:
    """Whether both programs change a buffer themselves, without gradients, of which nothing is
    recorded but what is left; and which other buffers part, of which it may be made."""
    if quantity.passing != "buffer":
        return ""
    others = []
    for one in step.parameters:
        a, b = one.values(step.a.arrays, step.b.arrays, "buffer/{}")
        if one is quantity.parameter or a is None or b is None or one.kind != "buffer":
            continue
        if difference_of(a, b).needed > step.rtol:
            others.append(one.name)
    beside = ""
    if others:
        listed = ", ".join(others[:MOST_NAMED])
        beside = f"; {listed} {'part' if len(others) > 1 else 'parts'} as well"
    return f"both programs change it by hand, which is not looked into{beside}"


def _moved_within(step: Inspected, quantity: PortQuantity) -> str:
    """Whether both sides have moved a stage's parameters within the step, before it was called, as
    an optimiser does that calls the loss several times: with what it was called is not recorded."""
    pair = quantity.stage
    if quantity.passing != "forward" or pair is None:
        return ""
    taken = (*pair.a.inputs, *pair.a.parameters.values())
    names = [name for name in taken if name in step.parameter_of]
    if not names or any(one is None or one.is_right for one in step.residuals(quantity)):
        return ""
    kinds = [own.optimiser.kind if own.optimiser is not None else "" for own in step.own]
    if not all(kind.endswith("lbfgs") for kind in kinds):
        return (
            f"on both sides it is not what comes of {' and '.join(names)} as the step begins: both "
            "programs change that within the step, before this call, each otherwise. Look at what "
            "they add to it there (SAM?)"
        )
    for name in names:
        for words in optimiser_differences(step.a.about, step.b.about, step.parameter_of[name]):
            return f"{step.names[1]}: {words}"
    return (
        "the optimiser calls the closure several times in a step, and moves the parameters after "
        "each; up to here the two agree. Look at what the closure leaves in the gradients "
        "(zero_grad), and at how it computes the loss"
    )


def _kept_by_hand(step: Inspected, side: int, quantity: PortQuantity) -> Residual | None:
    """How far a buffer that one side moves by hand is from what the other side's layer would make
    of that side's values; None if it cannot be told."""
    one, own, other = quantity.parameter, step.own[side], step.own[1 - side]
    recorded = own.step.arrays.get(f"buffer/{quantity.value[side]}")
    if one is None or max(len(one.a), len(one.b)) > 1 or recorded is None:
        return None
    stages = other.step.takers.get(quantity.value[1 - side], ())
    if len(stages) != 1:
        return None
    partners = step.chains[1 - side].partners
    changed = {}
    for name in stages[0].inputs:
        value = own.step.value(partners[name]) if name in partners else None
        if value is None:
            return None
        changed[f"forward/{name}"] = value
    for match in step.parameters:
        if len(match.a) == len(match.b) == 1:
            names = match.a[0], match.b[0]
            start = own.step.arrays.get(f"start/{names[side]}")
            if start is not None:
                changed[f"start/{names[1 - side]}"] = start
    found = other.computed(stages[0], Overlaid(other.arrays, changed))
    moved = None if found is None else found.buffers.get(quantity.value[1 - side])
    if moved is None or moved.numel() != recorded.size:
        return None
    expected = moved.numpy().reshape(recorded.shape)
    size = distance(recorded.astype(np.float64), expected)
    return Residual(expected, size, step.rtol * float(np.abs(expected).max(initial=0)))


def _unseen(step: Inspected, side: int, quantity: PortQuantity) -> str:
    """Whether what takes a value is nothing that was recorded."""
    own, name = step.own[side], quantity.value[side]
    if quantity.passing != "backward" or not own.unseen:
        return ""
    if any(own.has_gradient(stage) for stage in own.step.takers.get(name, ())):
        return ""
    what = " and ".join(map(unseen_words, own.unseen))
    return f"{step.names[side]}'s comes from {what}, which is not looked into"


def _unknown_optimiser(step: Inspected, quantity: PortQuantity) -> str:
    """Whether an update is that of an optimiser which nobody can compute again, on both sides."""
    if quantity.passing not in ("state", "parameter"):
        return ""
    kinds = [own.optimiser.kind for own in step.own if own.optimiser is not None]
    if len(kinds) < 2 or any(kind in OPTIMISERS for kind in kinds):
        return ""
    what = " and ".join(dict.fromkeys(kinds))
    return (
        f"both sides give the optimiser ({what}) the same gradients and the same state, and it "
        "makes another update of them; pyvae does not know it, and cannot say which side is wrong. "
        "Compare what the step() of both does, term by term, or put an optimiser of torch.optim in "
        "its place: if the two agree then, it is this optimiser"
    )


def _uncounted(step: Inspected, side: int, quantity: PortQuantity) -> str:
    """Whether one side does not say how many steps its optimiser has made, where it matters."""
    optimiser, one = step.own[side].optimiser, quantity.parameter
    if optimiser is None or one is None or quantity.passing not in ("state", "parameter"):
        return ""
    arrays, kept = (step.a, step.b)[side].arrays, [f"state/{n}." for n in (one.a, one.b)[side]]
    counts = not optimiser.kind.endswith(("sgd", *COUNTS_ONLY)) and optimiser.kind in OPTIMISERS
    there = [any(key.startswith(start) for key in arrays) for start in kept]
    if not counts or not all(there) or any(f"{start}step" in arrays for start in kept):
        return ""
    return (
        f"{step.names[side]}'s cannot be computed again without the number of its steps: write it "
        "as `step` of each parameter's state"
    )
