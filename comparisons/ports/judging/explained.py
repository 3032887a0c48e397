"""Why a difference is not what rounding makes of two runs that go their own ways.

A difference beyond the rule is *explained* only if both sides declare the same, each side returned
what its declaration gives for its own inputs (computed again in float64), and these inputs belong
together and agree, or their difference was explained in turn. That is what kinks and sums that
cancel make of rounding: never of a mistake.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from comparisons.ports.expected.layers.losses import LOSSES
from comparisons.ports.expected.optimisers import OPTIMISERS
from comparisons.ports.expected.update import COUNTS_ONLY
from comparisons.ports.judging.alone.hooks import changed_in_a_hook
from comparisons.ports.judging.alone.parameters import other_state_before, other_state_kept
from comparisons.ports.judging.alone.stages import moved_by_one, moved_in_another_order
from comparisons.ports.judging.declared import stage_differences
from comparisons.ports.judging.given import change_of
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import Difference, difference_of
from comparisons.ports.judging.own import Residual, distance, unseen_words
from comparisons.ports.judging.quantities import PortQuantity
from comparisons.ports.judging.within.unrecorded import (
    follows_from_networks,
    why_without_gradients,
)
from comparisons.ports.matching.kinds import family
from comparisons.ports.matching.matched import StageMatch
from comparisons.ports.side import INDEX_TAKERS, Overlaid
from pyvae.trace.program import ProgramStage

__all__ = [
    "AS_A_NUMBER",
    "first_state_differs",
    "numbers_differ",
    "own_state_differs",
    "reached",
    "taken_by",
    "why_unexplained",
]

NO_SHARE = "it is no share of the way to the model, or that is not recorded"
AS_A_NUMBER = "is taken as a number here, not as a class or an index"
COMMUTATIVE = ("add", "mul", "eq", "maximum", "minimum")


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
        why = _other_inputs(step, quantity.stage)
    elif quantity.passing in ("backward", "parameter gradient"):
        why = _other_takers(step, quantity)
        if not why and changed_in_a_hook(step, quantity):
            return ""
    elif quantity.passing in ("state", "parameter"):
        why = first_state_differs(step, quantity) or own_state_differs(step, quantity)
    elif _stays(step, quantity):
        return ""
    else:
        why = moved_by_one(step, quantity) or moved_in_another_order(step, quantity)
    return why or _own_faults(step, quantity)


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


def _own_faults(step: Inspected, quantity: PortQuantity) -> str:
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
                or f"{name}'s cannot be computed again"
            )
        if residual.is_right:
            continue
        if types[side] and not types[1 - side]:
            return f"{name} computes in {types[side]}, {step.names[1 - side]} does not"
        if quantity.passing in ("backward", "parameter gradient") and own.unseen:
            what = " and ".join(map(unseen_words, own.unseen))
            return f"{name}'s may come from {what} as well, which is not looked into"
        return f"{name}'s is not what it should be for its own inputs"
    return ""


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
        if _same_function(step, *losses):
            return ""
        return "it is not returned by stages that belong together"
    found = step.verdicts.get(f"forward/{losses[0]}")
    return "" if found is not None and found.verdict != "parted" else "its stage has parted"


def _other_inputs(step: Inspected, pair: StageMatch) -> str:
    """Why the inputs of two stages do not agree; empty if they do."""
    if family(pair.a.layer) != family(pair.b.layer):
        return f"{pair.a.layer} against {pair.b.layer}"
    first, second = list(pair.a.inputs), list(pair.b.inputs)
    if len(first) != len(second):
        return f"{len(first)} inputs against {len(second)}"
    if pair.a.layer in COMMUTATIVE and len(first) == 2 and not _alike(step, first[0], second[0]):
        second.reverse()
    for one, two in zip(first, second, strict=True):
        if not _alike(step, one, two):
            return step.takes(one, two)
        if pair.a.layer not in INDEX_TAKERS and _counted_otherwise(step, one, two):
            return _as_a_number(step, one)
    for role in pair.a.parameters.keys() & pair.b.parameters.keys():
        one, two = pair.a.parameters[role], pair.b.parameters[role]
        if not _alike(step, one, two):
            return f"{step.names[0]}'s {role} is {one}, {step.names[1]}'s is {two}"
    return _roles_of_one(step, pair)


def _counted_otherwise(step: Inspected, one: str, two: str) -> bool:
    """Whether two values are the same classes or indices, counted from another number: as numbers
    they are not the same."""
    bases = [side.side.trace.index_base for side in (step.a, step.b)]
    a, b = step.a.value(one), step.b.value(two)
    if bases[0] == bases[1] or a is None or b is None or a.size != b.size:
        return False
    if not all(value.dtype.kind in "iu" for value in (a, b)):
        return False
    x, y = (value.astype(np.int64).ravel() for value in (a, b))
    return not np.array_equal(x, y) and np.array_equal(x - bases[0], y - bases[1])


def _as_a_number(step: Inspected, one: str) -> str:
    bases = [side.side.trace.index_base for side in (step.a, step.b)]
    return (
        f"{one} counts from {bases[0]} in {step.names[0]} and from {bases[1]} in {step.names[1]}, "
        f"and {AS_A_NUMBER}"
    )


def _roles_of_one(step: Inspected, pair: StageMatch) -> str:
    """Weights that one side's stage alone has, if with the other side's inputs it does not return
    what the other side's does: a loss with weights of classes, and one without."""
    roles = pair.a.parameters, pair.b.parameters
    if pair.a.layer not in LOSSES or roles[0].keys() == roles[1].keys():
        return ""
    inputs = {
        f"forward/{two}": step.a.arrays[f"forward/{one}"]
        for one, two in zip(pair.a.inputs, pair.b.inputs, strict=True)
        if f"forward/{one}" in step.a.arrays
    }
    found = step.own[1].computed(pair.b, Overlaid(step.own[1].arrays, inputs))
    right = step.own[0].stage(pair.a)
    if found is None or right is None:
        return ""
    pairs = zip(right.outputs.values(), found.outputs.values(), strict=False)
    if all(difference_of(x.numpy(), y.numpy()).needed <= step.rtol for x, y in pairs):
        return ""
    alone = [
        f"{name} alone has its {role} ({stage.parameters[role]})"
        for name, stage, other in zip(step.names, (pair.a, pair.b), roles[::-1], strict=True)
        for role in stage.parameters
        if role not in other
    ]
    return ", ".join(alone)


def _alike(step: Inspected, one: str, two: str) -> bool:
    """Whether two values, or parameters, belong together and have not parted, or are equal."""
    own = step.a.side.own(one), step.b.side.own(two)
    match = step.parameter_of.get(own[0])
    if match is not None and match.b == (own[1],):
        return True  # a start that parted was found before
    if step.network.values.get(one) == two:
        return True
    return _same_function(step, one, two)


def _same_function(step: Inspected, one: str, two: str) -> bool:
    """Whether two values are equal up to rounding, or the stages that each side alone has return
    for the other side's values what the other side has."""
    a, b = step.a.value(one), step.b.value(two)
    if a is None or b is None:
        return False
    if difference_of(a, b).needed <= step.rtol:
        return True
    alone = [
        (step.chains[side].value(name), there)
        for side, (name, there) in enumerate(((one, b), (two, a)))
        if step.chains[side].is_alone(name)
    ]
    return bool(alone) and all(
        computed is not None and difference_of(computed, there).needed <= step.rtol
        for computed, there in alone
    )


def _other_takers(step: Inspected, quantity: PortQuantity) -> str:
    """Why the stages that a gradient comes from do not agree; empty if they do. Those that one side
    alone has have returned the same as the other side's: else the two had parted before."""
    names = quantity.value
    if quantity.parameter is not None:
        if max(len(quantity.parameter.a), len(quantity.parameter.b)) > 1:
            return "it is kept in several arrays on one side"
        names = quantity.parameter.a[0], quantity.parameter.b[0]
    first, second = (reached(step, side, name) for side, name in enumerate(names))
    for stage in first.values():
        pair = step.network.partner[stage.name]
        if pair.b.name not in second:
            return taken_by(step.names[0], stage)
        why = _other_inputs(step, pair)
        if why:
            return why
        declared = stage_differences(pair, *step.own, what="gradients")
        if declared:
            return declared[0]
    known = {step.network.partner[name].b.name for name in first}
    for stage in second.values():
        if stage.name not in known:
            return taken_by(step.names[1], stage)
    return _other_gradient(step, names)


def _other_gradient(step: Inspected, names: tuple[str, str]) -> str:
    """Which side's stages, of which the other side has no like, hand another gradient back: what
    they return may be the same, as it is with `detach`; empty if none do."""
    for side, (name, there) in enumerate((names, names[::-1])):
        alone = _alone_after(step, side, name)
        if not alone:
            continue
        found = step.chains[side].gradient(name, step.own[side].loss)
        if found is not None and step.own[1 - side].is_gradient(there, found):
            continue
        own = step.own[side]
        cut = [stage for stage in alone if not own.has_gradient(stage)]
        listed = ", ".join(f"{stage.name} ({stage.layer})" for stage in (cut or alone)[:MOST_ALONE])
        if cut:
            return f"in {step.names[side]} no gradient flows through {listed}"
        if found is None:
            return f"the gradient of {step.names[side]}'s {listed} cannot be computed again"
        return f"{step.names[side]}'s {listed} hand back another gradient"
    return ""


MOST_ALONE = 4  # stages that are named


def _alone_after(step: Inspected, side: int, name: str) -> list[ProgramStage]:
    """The stages that one side alone has, and that take a value, or what comes of it there."""
    own, only = step.own[side], step.network.only[side]
    found: list[ProgramStage] = []
    waiting = [name]
    while waiting:
        for stage in own.step.takers.get(waiting.pop(), ()):
            if stage in only and stage not in found:
                found.append(stage)
                waiting += stage.outputs
    return found


def reached(step: Inspected, side: int, name: str) -> dict[str, ProgramStage]:
    """The stages with a partner that take a value, directly or after stages that one side alone
    has, and that backward has passed, by name.

    Arguments:
        step: The step.
        side: 0 for the first side, 1 for the second.
        name: The value.
    """
    own, only = step.own[side], step.network.only[side]
    found: dict[str, ProgramStage] = {}
    waiting, seen = [name], {name}
    while waiting:
        for stage in own.step.takers.get(waiting.pop(), ()):
            if not own.has_gradient(stage):
                continue
            if stage not in only:
                found[stage.name] = stage
                continue
            further = [output for output in stage.outputs if output not in seen]
            waiting += further
            seen.update(further)
    return found


def taken_by(side: str, stage: ProgramStage) -> str:
    """That one side alone takes a value in a stage, in words."""
    return f"only {side} takes it in {stage.name} ({stage.layer})"
