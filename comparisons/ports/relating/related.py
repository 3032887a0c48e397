"""How the values of two programs are related, in words."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from comparisons.diagnosis.relations import relation, shape_relation
from comparisons.diagnosis.relations.rows import FROM_ONE
from comparisons.ports.expected.layers.activations import ACTIVATIONS
from comparisons.ports.expected.layers.losses import LOSSES
from comparisons.ports.expected.layers.normalisation import NORMALISATION
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import GIVEN_RTOL, Judged
from comparisons.ports.judging.quantities import PortQuantity
from comparisons.ports.matching.layouts import SAME_LAYOUT, Layout, find_layout
from comparisons.ports.relating.constants import factors_of, numbers_of
from comparisons.ports.relating.following import holding_relations

__all__ = ["both_values", "effects", "parted_values", "related", "relation_of"]

ROUNDING = 1e-6  # of what comes from outside: it may have been made in float32


def both_values(step: Inspected, judged: Judged) -> tuple[NDArray, NDArray]:
    """Both sides' values of what was judged, indices counted from 0."""
    a, b = step.values(judged.quantity)
    if a is None or b is None:
        raise KeyError(judged.quantity.key)  # it was not judged
    return a, b


def related(step: Inspected, judged: Judged) -> Iterator[str]:
    """Yields how both sides' values are related, or what else is to be said of them."""
    a, b = both_values(step, judged)
    passing = judged.quantity.passing
    if passing == "start" and (step.drift or judged.why.endswith("does not")):
        yield judged.why
        return
    if passing == "start" and judged.quantity.parameter is not None:
        layout = find_layout(a, b)
        if layout is not None and layout != SAME_LAYOUT:
            yield _stored(step, judged.quantity.parameter.a[0], layout)
            return
    words = relation_of(step, judged)
    rounding = _rounding(passing)
    words = holding_relations(
        step, judged, words, lambda x, y: _relation(step, judged, x, y, rounding)
    )
    if passing in ("start", "untrained"):  # nothing has been picked by an index yet
        words = [one.removesuffix(FROM_ONE) for one in words]
    yield from words
    if words or a.shape != b.shape:
        return
    few, total = int((a != b).sum()), a.size
    two_values = _of_two_values(step.names, a, b) if passing in ("input", "draw") else ""
    if two_values:
        yield two_values
    elif passing in ("start", "untrained", "input", "draw") and 5 * few <= 2 * total:
        differ = "differs" if few == 1 else "differ"
        yield f"{few:,} of {total:,} numbers {differ}{_in_which(a != b)}"
    elif passing in ("start", "untrained") and total > 1:
        yield (
            f"other numbers: standard deviation {float(np.std(a, ddof=1)):.3g} in {step.names[0]}, "
            f"{float(np.std(b, ddof=1)):.3g} in {step.names[1]}"
        )
    if passing == "parameter gradient":
        yield from _of_before(step, judged, a.astype(np.float64), b.astype(np.float64))
    elif passing in ("input", "forward", "loss", "backward"):
        yield from _stale(step, judged, a, b)


def _in_which(apart: NDArray) -> str:
    """The few columns, or rows, in which all differences are."""
    if apart.ndim < 2:
        return ""
    for axis, what in ((1, "column"), (0, "row")):
        others = tuple(at for at in range(apart.ndim) if at != axis)
        places = np.flatnonzero(apart.any(axis=others)) + 1
        count = apart.shape[axis]
        if not len(places) or 2 * len(places) > count:
            continue
        if 2 * apart.sum() * count < apart.size * len(places) or apart.sum() < 2:
            continue  # few of their numbers
        if len(places) == 1:
            return f", all in {what} {places[0]} of {count}"
        if len(places) == 2:
            return f", all in {what}s {places[0]} and {places[1]} of {count}"
    return ""


def _of_two_values(names: tuple[str, str], a: NDArray, b: NDArray) -> str:
    """Of zeros and ones, or of another two numbers: that one side has the larger one more often."""
    kinds = np.unique(np.concatenate([a.ravel(), b.ravel()]))
    if len(kinds) != 2 or a.size < FEWEST_OF_TWO:
        return ""
    more = [int((a > b).sum()), int((b > a).sum())]
    if bool(more[0]) == bool(more[1]):
        return ""
    side = 0 if more[0] else 1
    low, high = (str(bool(one)).lower() if a.dtype.kind == "b" else f"{one:g}" for one in kinds)
    return (
        f"{names[side]} has {high} in {more[side]:,} of {a.size:,} places where {names[1 - side]} "
        f"has {low}, and nowhere the other way round (another threshold, or > where it is >=?)"
    )


FEWEST_OF_TWO = 4  # of which it is told
GATES = {"lstm": "ifgo", "gru": "rzn"}  # in the order of PyTorch and R torch


def _stored(step: Inspected, name: str, layout: Layout) -> str:
    """How the second side stores a parameter that is called so on the first side."""
    takers = {stage.layer for stage in step.a.takers.get(name, ())}
    gates = next((GATES[layer] for layer in takers if layer in GATES), "")
    if not layout.blocks or len(layout.blocks) != len(gates):
        return f"{step.names[1]} has it {layout}"
    there = ", ".join(gates[block] for block in np.argsort(layout.blocks))
    words = f"{step.names[1]} has its gates in the order {there} where it is {', '.join(gates)}"
    return f"{words}; it is transposed" if layout.axes else words


def relation_of(step: Inspected, judged: Judged) -> list[str]:
    """The relation of both sides' values alone; nothing if there is none."""
    a, b = both_values(step, judged)
    return _relation(step, judged, a, b, _rounding(judged.quantity.passing))


def _rounding(passing: str) -> float:
    return ROUNDING if passing in ("start", "untrained", "input", "draw") else 0.0


def _relation(
    step: Inspected, judged: Judged, a: NDArray, b: NDArray, rounding: float
) -> list[str]:
    rtol = judged.rtol or GIVEN_RTOL[step.precision]
    x, y = (torch.from_numpy(np.array(value, dtype=np.float64)) for value in (a, b))
    if x.shape != y.shape:
        return shape_relation(step.names, x, y, rtol)
    words = relation(
        step.names, x, y, factors_of(step), rtol,
        numbers=numbers_of(step, judged), rounding=rounding,
    )  # fmt: skip
    return [one for one in words if not _says_little(step, judged, one)]


def _says_little(step: Inspected, judged: Judged, words: str) -> bool:
    """Whether a relation is true by itself, or of values that were exchanged: what softmax and
    norms send back has a mean of zero, and a divergence takes the log of one distribution."""
    quantity = judged.quantity
    if quantity.passing == "input":
        takers = step.a.takers.get(quantity.value[0], ())
        return "log(x)" in words and any(stage.layer in LOSSES for stage in takers)
    gradient = "gradient" in quantity.passing or quantity.passing == "backward"
    return gradient and "own mean" in words


def effects(step: Inspected, judged: Judged) -> Iterator[str]:
    """Yields how the values are related that one side's stages make and those that the other side
    has in their place: what comes of stages that one side alone has."""
    for one, two in parted_values(step, judged.quantity):
        a, b = step.a.value(one), step.b.value(two)
        if a is None or b is None or a.shape != b.shape or {a.dtype.kind, b.dtype.kind} != {"f"}:
            continue
        alone = [*step.chains[0].stages(one), *step.chains[1].stages(two)]
        if any(stage.layer in ACTIVATIONS or stage.layer in NORMALISATION for stage in alone):
            continue  # what comes of it is in its name
        words = _relation(step, judged, a, b, 0.0)
        there = "" if judged.quantity.passing == "loss" else f" ({one}; in {step.names[1]} {two})"
        yield from (f"{word}{there}" for word in words)


def parted_values(step: Inspected, quantity: PortQuantity) -> Iterator[tuple[str, str]]:
    """Yields the values that stand in each other's place, and were computed by other stages on both
    sides."""
    pairs: list[tuple[str, str]] = []
    if quantity.passing == "loss":
        pairs = [(step.own[0].loss, step.own[1].loss)]
    elif quantity.passing == "forward" and quantity.stage is not None:
        pairs = list(zip(quantity.stage.a.inputs, quantity.stage.b.inputs, strict=False))
    for one, two in pairs:
        computed = one in step.a.producer and two in step.b.producer
        if computed and step.network.values.get(one) != two:
            yield one, two


def _of_before(step: Inspected, judged: Judged, a: NDArray, b: NDArray) -> Iterator[str]:
    """A gradient that still has the step before in it, as backward left it or as it was clipped."""
    one = judged.quantity.parameter
    if step.before is None or one is None:
        return
    arrays = step.before[0].arrays, step.before[1].arrays
    left, given = (one.values(*arrays, key) for key in ("gradient/{}", "given/{}"))
    for side, difference in enumerate((b - a, a - b)):
        last = left[1 - side] if given[1 - side] is None else given[1 - side]
        if last is None or last.shape != a.shape:
            continue
        before = last.astype(np.float64)
        if np.abs(np.abs(difference) - np.abs(before)).max() <= 1e-3 * np.abs(before).max():
            name = step.names[1 - side]
            yield f"{name} adds the gradient of the step before (is zero_grad missing?)"
            return


def _stale(step: Inspected, judged: Judged, a: NDArray, b: NDArray) -> Iterator[str]:
    """A value that is the step before's."""
    if step.before is None or a.size < 2:
        return
    earlier = judged.quantity.arrays(*step.before)
    for name, now, last in zip(step.names, (a, b), earlier, strict=True):
        if last is not None and last.shape == now.shape and np.array_equal(now, last):
            yield f"{name} has what it had in the step before"
