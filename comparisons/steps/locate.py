"""The first step, stage and element in which two engines part."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Generator
from contextlib import closing

from comparisons.agreement.stage import StageAgreement
from comparisons.diagnosis.first_divergence import Divergence, first_divergence
from comparisons.diagnosis.place import Probes
from comparisons.steps.compare import compare_ends
from comparisons.steps.lockstep import StepOfBoth, lockstep
from comparisons.steps.pair import Pair
from pyvae.training.callbacks import Progress

__all__ = ["inspect_step", "locate"]

Found = tuple[list[StageAgreement], Divergence | None]


def locate(pair: Pair, on_step: Callable[[Progress], object] = lambda now: None) -> Found:
    """Finds the first step, stage and element in which two engines part.

    The first step is inspected, where most mistakes show. If there is nothing, both run again,
    each step from the state of the engine under test, until losses, moments or parameters differ
    after a step; then once more up to that step, to inspect it and the one before. Where what
    differs there follows from rounding alone (a kink that it decides), all steps after it are
    inspected; not in float32, where most runs have such steps. Nothing is repeated within a run: an
    engine that keeps something from step to step (a mask, a gradient) would not show its mistake
    twice.

    Arguments:
        pair: The engines, and the run.
        on_step: Called after every step of the search.

    Returns:
        The stages of the step at fault and the divergence; ([], None) if every step agrees
        when both start it from the same state.
    """
    found = inspect_step(pair, 1)
    if found[1] is None:
        step = _first_step_apart(pair, on_step)
        if step is not None:
            found = inspect_step(pair, step)
            if found[1] is None and pair.run.settings.dtype == "float64":
                found = _inspect_after(pair, step)
    return found if found[1] is not None else ([], None)


def inspect_step(pair: Pair, step: int) -> Found:
    """The stages of one step, both engines having begun it from the same state, and the first that
    parts; its name is confirmed by the next step, if there is one."""
    return next(_inspected(pair, [step], {step - 1, step, step + 1}), ([], None))


def _inspect_after(pair: Pair, step: int) -> Found:
    """The same of the first later step that parts, if one does."""
    later = range(step + 1, pair.run.steps + 1)
    found = _inspected(pair, later, range(step, pair.run.steps + 1))
    return next((one for one in found if one[1] is not None), ([], None))


def _inspected(
    pair: Pair, which: Container[int], probed: Container[int]
) -> Generator[Found, None, None]:
    """The stages of steps that both engines began from the same state, in turn."""
    previous = None
    taken: list[StepOfBoth] = []  # ahead, to confirm a name
    with closing(lockstep(pair, resync=True, inspect=probed)) as steps:

        def following() -> Probes | None:
            if not taken:
                taken.extend(itertools.islice(steps, 1))
            after = taken[0] if taken else None
            return None if after is None or after.failures else after.probes

        while (both := taken.pop() if taken else next(steps, None)) is not None:
            if both.step in which and both.probes is not None and all(both.probes):
                inspected = pair.inspected(both.step, both.probes, previous, True, following)
                agreements = inspected.compare(pair.rule)
                yield agreements, first_divergence(inspected, agreements)
            previous = both.probes


def _first_step_apart(pair: Pair, on_step: Callable[[Progress], object]) -> int | None:
    with closing(lockstep(pair, resync=True)) as steps:
        for both in steps:
            if both.failures:
                return both.step
            on_step(both.progress[1])
            if not all(agreement.agrees for agreement in compare_ends(pair, both)):
                return both.step
    return None
