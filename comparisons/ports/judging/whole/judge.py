"""Judges a step again whose two sides are one function of the parameters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judge import judge_step
from comparisons.ports.judging.judged import Judged
from comparisons.ports.judging.one_function import without_pairs
from comparisons.ports.judging.whole.function import StepFunction
from comparisons.ports.judging.whole.same import UPDATED, same_step
from comparisons.ports.matching.matched import StageMatch, matched_outputs

__all__ = ["judge_as_one"]

Found = tuple[Inspected, Judged | None, list[StageMatch]]
OUTSIDE = ("input", "draw")
ON_THE_WAY = ("input", "forward", "backward")  # passings whose pairs may be no pairs
OF_ALL = (*ON_THE_WAY, "loss", "parameter gradient", "given gradient", "state", "parameter")


def judge_as_one(step: Inspected, first: Judged) -> Found | None:
    """Judges a step again without what differs on the way to a loss and gradients that are the same
    function of the parameters on both sides.

    Arguments:
        step: The step, as it was judged.
        first: Its first quantity that parts.

    Returns:
        The step as it was judged last, its first quantity that parts now, and the pairs that were
        given up; None if the two sides are no one function, or something else differs.
    """
    if first.quantity.passing not in OF_ALL:
        return None
    whole = same_step(step)
    if whole is None or (whole.is_plain and first.quantity.passing in UPDATED):
        return None
    tried = replace(step, whole=whole, judged=[])
    found: Judged | None = judge_step(tried)
    given_up: list[StageMatch] = []
    while found is not None and found.quantity.passing in ON_THE_WAY:
        pairs = _may_go(tried, found)
        if not pairs:
            return None
        given_up += pairs
        tried = replace(tried, network=without_pairs(tried, pairs), judged=[])
        found = judge_step(tried)
    if found is not None and found.quantity.passing not in (*UPDATED, "buffer"):
        return None
    return tried, found, given_up


def _may_go(step: Inspected, first: Judged) -> list[StageMatch]:
    """The pairs that part in the same pass as the first, and may be no pairs; none if it is not one
    of them."""
    parted: dict[str, list[Judged]] = {}
    for one in step.judged:
        pair = one.quantity.stage
        if one.verdict == "parted" and one.quantity.passing == first.quantity.passing and pair:
            parted.setdefault(pair.a.name, []).append(one)
    functions = StepFunction(step.own[0]), StepFunction(step.own[1])
    gone = [
        pair
        for judged in parted.values()
        if (pair := judged[0].quantity.stage) is not None and _is_no_pair(step, functions, judged)
    ]
    return gone if first.quantity.stage in gone else []


def _is_no_pair(
    step: Inspected, functions: tuple[StepFunction, StepFunction], judged: list[Judged]
) -> bool:
    """Whether what parts of a pair may differ: it leads to the loss on both sides, and is felt
    there."""
    pair, passing = judged[0].quantity.stage, judged[0].quantity.passing
    if pair is None or pair.how == "map":
        return False
    outside = {pair.a.layer, pair.b.layer} & {*OUTSIDE}
    if passing == "input" and not _has_another_shape(step, pair):
        return False
    if passing != "input" and outside:
        return False
    for side, stage in enumerate((pair.a, pair.b)):
        if stage.name not in functions[side].before_loss:
            return False
    return passing == "backward" or all(
        _is_felt(step, functions[side], side, one) for one in judged for side in (0, 1)
    )


def _has_another_shape(step: Inspected, pair: StageMatch) -> bool:
    if {pair.a.layer, pair.b.layer} != {"input"} or any(
        stage.options.get(name)
        for stage in (pair.a, pair.b)
        for name in ("grad_fn", "without_gradients")
    ):
        return False
    values = [(step.a.value(one), step.b.value(two)) for one, two in matched_outputs(pair)]
    return all(a is not None and b is not None and a.shape != b.shape for a, b in values)


def _is_felt(step: Inspected, function: StepFunction, side: int, judged: Judged) -> bool:
    """Whether the loss or a gradient moves with what differs: of what a mask, a limit or a factor
    of 0 hides it says nothing that they agree."""
    name = judged.quantity.value[side]
    own = step.own[side]
    values = step.a.value(judged.quantity.value[0]), step.b.value(judged.quantity.value[1])
    value = values[side]
    if value is None or values[0] is None or values[1] is None:
        return False
    if value.dtype.kind != "f":
        return True
    differs = _where(values[0], values[1], step.rtol, value)
    starts = {
        n: own.step.arrays[f"start/{n}"]
        for one in step.parameters
        for n in (one.a, one.b)[side]
        if one.kind == "parameter" and f"gradient/{n}" in own.step.arrays
    }
    found = function.at(starts, slopes=[name])
    if found is None:
        return False
    if found.slopes[name][differs].any():
        return True
    size = float(np.abs(value[np.isfinite(value)]).max(initial=0)) or 1.0
    moved = np.where(differs, size * np.random.default_rng(1).uniform(0.1, 1, value.shape), 0.0)
    other = function.at(starts, {name: moved})
    return other is not None and (
        other.loss != found.loss
        or any((other.gradients[n] != found.gradients[n]).any() for n in starts)
    )


def _where(a: NDArray, b: NDArray, rtol: float, value: NDArray) -> NDArray:
    """Where two sides differ; everywhere if they have other shapes."""
    if a.shape != b.shape:
        return np.ones(value.shape, bool)
    x, y = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        near = np.abs(x - y) <= rtol * max(np.abs(x).max(initial=0), np.abs(y).max(initial=0))
    return ~(near | (x == y))
