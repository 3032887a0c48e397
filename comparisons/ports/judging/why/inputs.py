"""Why the inputs of two stages that belong together do not agree."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.expected.layers.losses import LOSSES
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import difference_of
from comparisons.ports.matching.kinds import family
from comparisons.ports.matching.matched import StageMatch
from comparisons.ports.side import INDEX_TAKERS, Overlaid

__all__ = ["AS_A_NUMBER", "COMMUTATIVE", "other_inputs", "same_function"]

AS_A_NUMBER = "is taken as a number here, not as a class or an index"
COMMUTATIVE = ("add", "mul", "eq", "maximum", "minimum")


def other_inputs(step: Inspected, pair: StageMatch) -> str:
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
    return same_function(step, one, two)


def same_function(step: Inspected, one: str, two: str) -> bool:
    """Whether two values are equal up to rounding, or the stages that each side alone has return
    for the other side's values what the other side has."""
    a, b = step.a.value(one), step.b.value(two)
    if a is None or b is None:
        return False
    names = one, two

    def agree(x: NDArray, y: NDArray) -> bool:
        return difference_of(*step.as_meant(names, (x, y))).needed <= step.rtol

    if agree(a, b):
        return True
    computed = [
        (step.chains[0].value(one), b) if step.chains[0].is_alone(one) else None,
        (a, step.chains[1].value(two)) if step.chains[1].is_alone(two) else None,
    ]
    alone = [pair for pair in computed if pair is not None]
    return bool(alone) and all(x is not None and y is not None and agree(x, y) for x, y in alone)
