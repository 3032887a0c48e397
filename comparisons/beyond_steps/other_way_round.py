"""Re-synchronised steps, the other way round: each of the engine under test from the reference's
state.

An engine that is given a state may forget what it keeps to itself: a schedule that counts its own
steps, AMSGrad's maximum, an average of the weights. Where every step of the reference starts from
the state of the engine under test, nothing of that sort shows in the reference, whenever it begins.
The other way round the reference goes through all steps by itself, and each of them is held against
one that starts from the same state, by the same rule: rounding does not add up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from comparisons.agreement.arrays import Agreement
from comparisons.agreement.stage import StageAgreement
from comparisons.beyond_steps.after_training import part_after_training
from comparisons.beyond_steps.free_run import as_agreement
from comparisons.diagnosis.first_divergence import Divergence
from comparisons.steps.compare import compare_steps, differ_as_much
from comparisons.steps.comparison import compare_whole_runs
from comparisons.steps.locate import inspect_step
from comparisons.steps.pair import Pair
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Progress

__all__ = ["OtherWayRound", "compare_other_way_round"]


@dataclass(frozen=True)
class OtherWayRound:
    """What was found.

    Attributes:
        agreement: Of the quantity and step that come nearest to what is allowed, or are beyond.
        divergence: The first stage that parts, if one does; under test first.
        step: The first that parts; of what is computed after the last one, None.
        recorded: Whether it parts where its stages are recorded.
    """

    agreement: Agreement
    divergence: Divergence | None = None
    step: int | None = None
    recorded: bool = True


def compare_other_way_round(
    pair: Pair, on_step: Callable[[Progress], object] = lambda now: None
) -> OtherWayRound:
    """Compares all steps, each from the reference's state, and what is computed after the last.

    What is known of a step without its stages is compared. Steps that differ there are taken once
    more and inspected, up to the first that parts: rounding may have decided a kink in them.

    Arguments:
        pair: The engines, and the run.
        on_step: Called after every step of the first pass.

    Raises:
        StepFailure: If an engine fails.
    """
    back = pair.other_way_round
    traces = back.new_traces()
    worst = _Worst()
    apart: dict[int, Sequence[StageAgreement]] = {}
    steps = compare_steps(back, last=pair.run.steps, resync=True, inspect=(), traces=traces)
    with closing(steps):
        for found in steps:
            on_step(found.progress)
            if all(one.agrees for one in found.agreements):
                worst.take(found.agreements)
            else:
                apart[found.progress.step] = found.agreements
    parted = (apart and _inspected(back, apart, worst)) or _after_steps(pair, traces)
    return parted or OtherWayRound(worst.agreement(pair))


def _inspected(
    back: Pair, apart: Mapping[int, Sequence[StageAgreement]], worst: _Worst
) -> OtherWayRound | None:
    """The first of these steps that parts once its stages are compared, or differs less where they
    are recorded."""
    steps = compare_steps(back, last=max(apart), resync=True, inspect=apart)
    with closing(steps):
        for found in steps:
            step = found.progress.step
            if step not in apart:
                continue
            if found.divergence is not None:
                named = inspect_step(back, step)[1] or found.divergence
                named = _under_test_first(named)
                return OtherWayRound(_of_stage(back, named.agreement), named, step)
            if not differ_as_much(apart[step], found.agreements):
                ends = _Worst()
                ends.take(apart[step])
                return OtherWayRound(ends.agreement(back), step=step, recorded=False)
            worst.take(found.agreements)
    return None


def _after_steps(pair: Pair, traces: tuple[Trace, Trace]) -> OtherWayRound | None:
    """What is computed after the last step, if it parts: both then are in one state."""
    under_test, reference = traces[::-1]
    whole = compare_whole_runs(under_test, reference, pair.exact)
    after = part_after_training(under_test, reference, pair.run, pair.exact, judge=True)
    beyond = [one for one in whole.quantities.values() if not one.agrees]
    if after is not None:
        return OtherWayRound(_of_stage(pair, after.agreement), after)
    return OtherWayRound(beyond[0]) if beyond else None


class _Worst:
    """The agreement that comes nearest to what is allowed, or is furthest beyond it."""

    def __init__(self) -> None:
        self.one: StageAgreement | None = None

    def take(self, agreements: Sequence[StageAgreement]) -> None:
        for one in agreements:
            if self.one is None or _size(one) > _size(self.one):
                self.one = one

    def agreement(self, pair: Pair) -> Agreement:
        assert self.one is not None  # noqa: S101 (a run has a step, and a step has losses)
        return _of_stage(pair, self.one)


def _size(one: StageAgreement) -> float:
    if one.problem:
        return math.inf
    if not one.required_rtol:
        return 0.0
    return one.required_rtol / one.rtol if one.rtol else math.inf


def _of_stage(pair: Pair, one: StageAgreement) -> Agreement:
    return as_agreement(one, one.rtol, pair.run.settings.dtype)


def _under_test_first(found: Divergence) -> Divergence:
    """The same, told as of the pair itself."""

    def swapped(one: StageAgreement) -> StageAgreement:
        return replace(one, values=one.values[::-1])

    def around() -> Iterator[StageAgreement]:
        for one in found.around:
            yield agreement if one is found.agreement else swapped(one)

    agreement = swapped(found.agreement)
    return replace(
        found, agreement=agreement, names=found.names[::-1], around=tuple(around()), spreads={}
    )
