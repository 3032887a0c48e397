"""Judges a step again whose two sides are one function of the parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.judging.declared import stage_differences
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judge import judge_step
from comparisons.ports.judging.judged import Judged
from comparisons.ports.judging.one_function import without_pairs
from comparisons.ports.judging.own import distance
from comparisons.ports.judging.whole.both import functions_of
from comparisons.ports.judging.whole.function import Evaluated, StepFunction
from comparisons.ports.judging.whole.same import UPDATED, end_alike, same_step
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
        given up; None if the two sides are no one function, or that tells no more.
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
            break
        given_up += pairs
        tried = replace(tried, network=without_pairs(tried, pairs), judged=[])
        found = judge_step(tried)
    if found is None or given_up or found.quantity.passing in (*UPDATED, "buffer"):
        return tried, found, given_up
    return None


def _may_go(step: Inspected, first: Judged) -> list[StageMatch]:
    """The pairs that part in the same pass as the first, and may be no pairs."""
    parted: dict[str, list[Judged]] = {}
    for one in step.judged:
        pair = one.quantity.stage
        if one.verdict == "parted" and one.quantity.passing == first.quantity.passing and pair:
            parted.setdefault(pair.a.name, []).append(one)
    found = {
        judged[0].quantity.stage: judged
        for judged in parted.values()
        if judged[0].quantity.stage is not None
    }
    pairs = [pair for pair, judged in found.items() if _may_be_none(step, pair, judged[0])]
    sides = [_Known.of(step, side, [found[pair] for pair in pairs]) for side in (0, 1)]
    known = [side for side in sides if side is not None]
    return [
        pair
        for pair in pairs
        if (len(known) == 2 and _may_differ(known, found[pair]))
        or all(_ends_alike(step, one) for one in found[pair])
    ]


def _ends_alike(step: Inspected, judged: Judged) -> bool:
    """Whether nothing but the same last values is computed of what parts of a pair."""
    if judged.quantity.passing != "forward":
        return False
    right = all(one is not None and one.is_right for one in step.residuals(judged.quantity))
    return right and end_alike(step, *judged.quantity.value)


def _may_differ(sides: Sequence[_Known], judged: list[Judged]) -> bool:
    """Whether what parts of a pair may do so: it is what it should be for the parameters of either
    side, and is felt in the loss or a gradient. What a mask, a limit or a factor of 0 hides on both
    sides may be a mistake that only other data show; what is hidden on one side alone has another
    like there, or the two would not be one function."""
    return all(all(side.is_right(one) for side in sides) for one in judged) and all(
        any(side.is_felt(one) for side in sides) for one in judged
    )


def _may_be_none(step: Inspected, pair: StageMatch, judged: Judged) -> bool:
    """Whether two stages may be no pair: neither comes from outside, and what hands a gradient back
    is declared alike, which may make a difference for other data."""
    passing = judged.quantity.passing
    if pair.how == "map":
        return False
    if passing == "input":
        return _has_another_shape(step, pair)
    if {pair.a.layer, pair.b.layer} & {*OUTSIDE}:
        return False
    for one, two in matched_outputs(pair) if passing == "backward" else ():
        theirs = step.b.takers.get(two, ())
        for stage in step.a.takers.get(one, ()):
            both = step.network.partner.get(stage.name)
            if both is None or both.b not in theirs:
                continue
            if stage_differences(both, *step.own, what="gradients"):
                return False
    return True


def _has_another_shape(step: Inspected, pair: StageMatch) -> bool:
    if {pair.a.layer, pair.b.layer} != {"input"} or any(
        stage.options.get(name)
        for stage in (pair.a, pair.b)
        for name in ("grad_fn", "without_gradients")
    ):
        return False
    values = [(step.a.value(one), step.b.value(two)) for one, two in matched_outputs(pair)]
    return all(a is not None and b is not None and a.shape != b.shape for a, b in values)


@dataclass
class _Known:
    """What one side's step makes of its parameters, on the way to the loss.

    Attributes:
        step: The step of both.
        side: Which of them.
        function: Its own.
        starts: Its parameters.
        found: The values that are in question, and their gradients.
    """

    step: Inspected
    side: int
    function: StepFunction
    starts: dict[str, NDArray]
    found: Evaluated

    @classmethod
    def of(cls, step: Inspected, side: int, judged: list[list[Judged]]) -> _Known | None:
        """None if it cannot be computed."""
        function, arrays = functions_of(step)[side].as_recorded(), step.own[side].step.arrays
        starts = {
            n: arrays[f"start/{n}"]
            for one in step.parameters
            for n in (one.a, one.b)[side]
            if one.kind == "parameter" and f"gradient/{n}" in arrays
        }
        names = {one.quantity.value[side] for each in judged for one in each}
        names = {name for name in names if function.leads_to_loss(name)}
        found = function.at(starts, wanted=names)
        return None if found is None else cls(step, side, function, starts, found)

    def is_right(self, judged: Judged) -> bool:
        """Whether it leads to the loss, and is what the stages before it make of the parameters, or
        those after it of the loss."""
        name, kind = judged.quantity.value[self.side], judged.quantity.passing
        if name not in self.found.values:
            return False
        recorded = self.step.own[self.side].step.arrays.get(
            f"{'gradient' if kind == 'backward' else 'forward'}/{name}"
        )
        value = (self.found.slopes if kind == "backward" else self.found.values)[name]
        if recorded is None or recorded.size != value.size:
            return False
        x, y = recorded.astype(np.float64).ravel(), value.astype(np.float64).ravel()
        largest = float(np.abs(y[np.isfinite(y)]).max(initial=0))
        if distance(x, y) <= self.step.rtol * largest:
            return True
        residual = self.step.residuals(judged.quantity)[self.side]
        return residual is not None and residual.is_right

    def is_felt(self, judged: Judged) -> bool:
        """Whether the loss or a gradient moves with what differs."""
        quantity, found = judged.quantity, self.found
        if quantity.passing == "backward":
            return True
        name = quantity.value[self.side]
        values = self.step.a.value(quantity.value[0]), self.step.b.value(quantity.value[1])
        value = values[self.side]
        if value is None or values[0] is None or values[1] is None:
            return False
        if value.dtype.kind != "f" or self.function.is_only_derived(name):
            return True
        differs = _where(values[0], values[1], self.step.rtol, value)
        if found.slopes[name][differs].any():
            return True
        size = float(np.abs(value[np.isfinite(value)]).max(initial=0)) or 1.0
        moved = np.random.default_rng(1).uniform(0.1, 1, value.shape) * size * differs
        other = self.function.at(self.starts, {name: moved})
        return other is not None and (
            other.loss != found.loss
            or any((other.gradients[n] != found.gradients[n]).any() for n in self.starts)
        )


def _where(a: NDArray, b: NDArray, rtol: float, value: NDArray) -> NDArray:
    """Where two sides differ by more than the rule; everywhere if they have other shapes, or it is
    for another reason that they part."""
    if a.shape != b.shape:
        return np.ones(value.shape, bool)
    x, y = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        near = np.abs(x - y) <= rtol * max(np.abs(x).max(initial=0), np.abs(y).max(initial=0))
    apart = ~(near | (x == y))
    return apart if apart.any() else np.ones(value.shape, bool)
