"""What one program alone does to a parameter: whatever its size, that is no rounding."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.judging.judged import EPSILON
from comparisons.ports.judging.own import Own
from comparisons.ports.judging.quantities import PortQuantity
from comparisons.ports.matching.parameters import ParameterMatch
from comparisons.ports.side import RecordedStep

__all__ = [
    "changed_between_steps", "given_on_one_side", "other_state_before", "other_state_kept",
    "states_that_follow", "trained_on_one_side", "why_without_gradient",
]  # fmt: skip

Both = tuple[RecordedStep, RecordedStep]
ROUNDINGS = 4  # as far as a norm may be from the bound at which it is clipped


def trained_on_one_side(both: Both, quantity: PortQuantity) -> str:
    """Why one side alone has a parameter's gradient: it is frozen, or not the optimiser's, on the
    other side; empty if that is not known.

    Arguments:
        both: The step of both sides.
        quantity: The gradient.
    """
    one = quantity.parameter
    if one is None or quantity.passing != "parameter gradient":
        return ""
    lacking, kind = why_without_gradient(both, one)
    name, side = ((one.a, one.b)[lacking][0], both[lacking].side.name) if kind else ("", "")
    return {
        "": "",
        "frozen": f"{name} is frozen in {side}",
        "other": f"in this step {side}'s optimiser has other parameters (another order?)",
        "not listed": f"{name} is not among the parameters of {side}'s optimiser",
        "no gradient": f"{name} gets no gradient in {side}",
    }[kind]


def why_without_gradient(both: Both, one: ParameterMatch) -> tuple[int, str]:
    """Why one side alone has a parameter's gradient.

    Arguments:
        both: The step of both sides.
        one: The parameter.

    Returns:
        Which side lacks it, and why: it is `frozen`, `not listed` among the optimiser's parameters,
        the optimiser of this step is another (`other`), or backward leaves `no gradient`. Empty if
        that is not known, or both have it.
    """
    values = one.values(both[0].arrays, both[1].arrays, "gradient/{}")
    if (values[0] is None) == (values[1] is None):
        return 0, ""
    lacking = 0 if values[0] is None else 1
    step, other = both[lacking], both[1 - lacking]
    names, others = (one.a, one.b) if lacking == 0 else (one.b, one.a)
    if not _trainable(step, names) and _trainable(other, others):
        return lacking, "frozen"
    listed = [_listed(each, of) for each, of in ((step, names), (other, others))]
    if listed == [False, True]:
        turned = not _trained(step) & _trained(other)
        if turned and _trained_elsewhere(step, names):
            return lacking, "other"
        return lacking, "not listed"
    stays = [_stays(step, names), _stays(other, others)]
    if stays == [True, False] and any(f"gradient/{n}" in step.arrays for n in _trained(step)):
        return lacking, "no gradient"
    return lacking, ""


def _trainable(step: RecordedStep, names: Iterable[str]) -> bool:
    found = {one.name: one.trainable for one in step.side.trace.parameters}
    return all(found.get(name, True) for name in names)


def _trained(step: RecordedStep) -> set[str]:
    groups = step.about.optimiser.groups if step.about.optimiser is not None else ()
    return {name for group in groups for name in group.parameters}


def _trained_elsewhere(step: RecordedStep, names: Iterable[str]) -> bool:
    """Whether an optimiser of another step has a parameter."""
    return all(
        any(
            name in group.parameters
            for one in step.side.trace.steps
            for group in (one.optimiser.groups if one.optimiser is not None else ())
        )
        for name in names
    )


def _listed(step: RecordedStep, names: Iterable[str]) -> bool | None:
    """Whether the optimiser has a parameter; None if it is not known what it has."""
    trained = _trained(step)
    return all(name in trained for name in names) if trained else None


def _stays(step: RecordedStep, names: Iterable[str]) -> bool:
    """Whether the step leaves a parameter as it was; false if that is not recorded."""
    pairs = [(step.arrays.get(f"start/{n}"), step.arrays.get(f"parameter/{n}")) for n in names]
    return all(x is not None and y is not None and np.array_equal(x, y) for x, y in pairs)


def other_state_before(both: Both, one: ParameterMatch, rtol: float) -> str:
    """Why two optimisers do not go on from the same state, in the first step that was recorded;
    empty if they do.

    Arguments:
        both: The step of both sides.
        one: The parameter.
        rtol: What a state may be off, relative to its largest magnitude.
    """
    kept = []
    for step, name in zip(both, (one.a[0], one.b[0]), strict=True):
        start = f"before/{name}."
        kept.append({key.removeprefix(start) for key in step.arrays if key.startswith(start)})
    for key in sorted(kept[0] | kept[1]):
        values = one.values(both[0].arrays, both[1].arrays, f"before/{{}}.{key}")
        there = [value is not None and bool(value.any()) for value in values]
        if there[0] != there[1]:
            has, lacks = (both[there.index(known)].side.name for known in (True, False))
            return (
                f"{lacks}'s optimiser starts without a state where {has}'s goes on from one: "
                "a resume without the optimiser's state"
            )
        if values[0] is None or values[1] is None:
            continue
        x, y = (v.astype(np.float64).ravel() for v in values if v is not None)
        if x.size != y.size or np.abs(x - y).max(initial=0) > rtol * np.abs(x).max(initial=0):
            return f"the two optimisers start from different states ({key})"
    return ""


def other_state_kept(
    own: tuple[Own, Own], one: ParameterMatch, rtol: float, followed: Collection[str] = ()
) -> str:
    """Why two optimisers do not go on from the same state, of which one goes by names of the
    program's own; empty if they do.

    Arguments:
        own: The step of both sides, with PyTorch's names of states.
        one: The parameter.
        rtol: What a state may be off, relative to its largest magnitude.
        followed: States, as PARAMETER.KEY, that earlier gradients give on both sides.
    """
    if max(len(one.a), len(one.b)) > 1:
        return "it is kept in several arrays on one side"
    first, second = own[0].state_before(one.a[0]), own[1].state_before(one.b[0])
    names = [side.step.side.name for side in own]
    if first is None or second is None:
        return "an optimiser's state before the step was not recorded"
    for key in sorted(first.keys() | second.keys()):
        x, y = first.get(key), second.get(key)
        if (x is None or y is None) and key == "step":
            continue  # it may be counted for all parameters together
        if f"{one.name}.{key}" in followed:
            continue
        if (x is None or y is None) and _are_same([x, y], rtol):
            continue  # not kept yet, or nothing but zeros
        if x is None or y is None:
            lacks = names[0 if x is None else 1]
            return f"{lacks}'s optimiser has no {key} before the step, or none that can be told"
        x, y = (v.astype(np.float64).ravel() for v in (x, y))
        if x.size != y.size or np.abs(x - y).max(initial=0) > rtol * np.abs(x).max(initial=0):
            return (
                f"what {names[1]}'s optimiser keeps as {key} before the step is not what "
                f"{names[0]}'s does"
            )
    return ""


def states_that_follow(
    own: tuple[Own, Own], parameters: Iterable[ParameterMatch], rtol: float, before: Collection[str]
) -> set[str]:
    """The states that a step leaves and that both sides' gradients give, from where they were the
    same: whatever they differ by follows from that of the gradients.

    Arguments:
        own: The step of both sides.
        parameters: Those of the step.
        rtol: What a state may be off, relative to its largest magnitude.
        before: Those of which that was known before the step.

    Returns:
        Each as PARAMETER.KEY, by the first side's names.
    """
    found = set()
    for one in parameters:
        if one.kind != "parameter" or max(len(one.a), len(one.b)) > 1:
            continue
        names = one.a[0], one.b[0]
        states = [side.state_before(name) for side, name in zip(own, names, strict=True)]
        start = f"state/{names[0]}."
        keys = [key.removeprefix(start) for key in own[0].step.arrays if key.startswith(start)]
        for key in keys if None not in states else ():
            values = [state.get(key) for state in states if state is not None]
            same = f"{one.name}.{key}" in before or _are_same(values, rtol)
            if same and all(
                side.keeps_what_gradients_give(name, key)
                for side, name in zip(own, names, strict=True)
            ):
                found.add(f"{one.name}.{key}")
    return found


def _are_same(values: Sequence[NDArray | None], rtol: float) -> bool:
    """Whether two states agree; one that is not kept yet is zero."""
    kept = [value.astype(np.float64).ravel() for value in values if value is not None]
    if len(kept) < len(values):
        return not any(value.any() for value in kept)
    x, y = kept
    if x.size != y.size:
        return False
    return bool(np.abs(x - y).max(initial=0) <= rtol * np.abs(x).max(initial=0))


def given_on_one_side(both: Both, one: ParameterMatch, precision: str) -> bool:
    """Whether one side alone changes a gradient between backward and the optimiser.

    Two runs that clip may be on either side of the bound by rounding: one of that size that
    makes numbers smaller alone is none.

    Arguments:
        both: The step of both sides.
        one: The parameter.
        precision: The coarser type of number.
    """
    changes = []
    for step, names in zip(both, (one.a, one.b), strict=True):
        left = [step.arrays.get(f"gradient/{name}") for name in names]
        given = [step.arrays.get(f"given/{name}") for name in names]
        if any(old is None for old in left):
            return False  # it is not known what backward left
        changes.append(
            [(old, new) for old, new in zip(left, given, strict=True)
             if old is not None and new is not None and not _equal(old, new)]
        )  # fmt: skip
    if bool(changes[0]) == bool(changes[1]):
        return False
    return any(not _at_the_bound(old, new, precision) for old, new in changes[0] or changes[1])


def _equal(a: NDArray, b: NDArray) -> bool:
    return a.shape == b.shape and np.array_equal(a, b, equal_nan=True)


def _at_the_bound(before: NDArray, after: NDArray, precision: str) -> bool:
    if before.shape != after.shape:
        return False
    x, y = before.astype(np.float64), after.astype(np.float64)
    allowed = ROUNDINGS * EPSILON[precision] * float(np.abs(x).max(initial=0))
    if not float(np.abs(x - y).max(initial=0)) <= allowed:
        return False
    return bool((np.abs(y) <= np.abs(x)).all()) and bool((x * y >= 0).all())


def changed_between_steps(before: Both, now: Both, one: ParameterMatch) -> list[bool]:
    """Which side changes a parameter or buffer after the optimiser's step and before the next.

    Arguments:
        before, now: Two steps that follow each other.
        one: The parameter.
    """
    changed = []
    for earlier, step, names in zip(before, now, (one.a, one.b), strict=True):
        pairs = [
            (earlier.arrays.get(f"{one.kind}/{name}"), step.arrays.get(f"start/{name}"))
            for name in names
        ]
        changed.append(any(_differ(old, new) for old, new in pairs))
    return changed


def _differ(old: NDArray | None, new: NDArray | None) -> bool:
    if old is None or new is None or old.size != new.size:
        return False
    if old.dtype != new.dtype and {old.dtype.kind, new.dtype.kind} == {"f"}:
        kind = min(old.dtype, new.dtype, key=lambda one: one.itemsize)
        old, new = old.astype(kind), new.astype(kind)  # written in two types of number
    return not np.array_equal(old.ravel(), new.ravel(), equal_nan=True)
