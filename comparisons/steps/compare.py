"""The stages of the steps of a run, compared as both engines take them."""

from __future__ import annotations

from collections.abc import Container, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from comparisons.agreement.stage import StageAgreement
from comparisons.agreement.tolerances import rule_of_step
from comparisons.diagnosis.first_divergence import Divergence, first_divergence
from comparisons.stages.compare import compare_probes
from comparisons.steps.lockstep import StepFailure, StepOfBoth, lockstep
from comparisons.steps.pair import Pair
from pyvae.model.stages import Probe
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Progress

__all__ = ["StepComparison", "compare_ends", "compare_steps", "differ_as_much"]


@dataclass(frozen=True)
class StepComparison:
    """What was found in one step.

    Attributes:
        progress: Where the reference stands.
        agreements: Of the step's stages; none of a step that was not inspected, but for its end
            where it was re-synchronised.
        divergence: Where the two part first, if they do.
    """

    progress: Progress
    agreements: Sequence[StageAgreement]
    divergence: Divergence | None


def compare_steps(
    pair: Pair,
    *,
    last: int,
    resync: bool,
    inspect: Container[int],
    traces: tuple[Trace, Trace] | None = None,
) -> Generator[StepComparison, None, None]:
    """Compares the stages of the inspected steps up to the last; where steps are re-synchronised
    and not inspected, what is known without: losses, moments, parameters.

    Arguments:
        pair: The engines, and the run.
        last: The last step that is compared; with traces both go on to the end.
        resync, inspect, traces: As for `lockstep`.

    Raises:
        StepFailure: If an engine fails.
    """
    dtype = pair.run.settings.dtype
    previous = None
    with closing(lockstep(pair, resync=resync, inspect=inspect, traces=traces)) as steps:
        for both in steps:
            if both.failures:
                raise StepFailure.of_step(both)
            agreements: list[StageAgreement] = []
            divergence = None
            if both.probes is not None:
                rule = rule_of_step(dtype, both.step, resync, pair.exact, pair.is_normalised)
                step = pair.inspected(both.step, both.probes, previous, resync)
                agreements = step.compare(rule)
                divergence = first_divergence(step, agreements)
            elif resync:
                agreements = compare_ends(pair, both)
            previous = both.probes
            yield StepComparison(both.progress[1], agreements, divergence)
            if both.step == last and traces is None:
                return


def compare_ends(pair: Pair, both: StepOfBoth, drifted: bool = False) -> list[StageAgreement]:
    """Compares what is known of a step that is not inspected: its losses, and the state after it;
    by the rule of steps that both start from one state.

    Arguments:
        pair: The engines, and the run.
        both: The step.
        drifted: Whether they did not start it from one.
    """
    ends = []
    for engine, progress in zip(pair.engines, both.progress, strict=True):
        losses = progress.losses.cpu().double().numpy()
        terms = zip(pair.run.objective.terms, losses, strict=True)
        end: Probe = {f"forward/{name}": np.array(value) for name, value in terms}
        ends.append(end | {key: v for key, v in engine.state().items() if key != "step"})
    a, b = ends
    recipe, settings = pair.run.recipe, pair.run.settings
    keys = set(a) | set(b)
    return compare_probes(a, b, recipe, settings, both.step, pair.rule, keys, pair.taken, drifted)


def differ_as_much(ends: Sequence[StageAgreement], inspected: Sequence[StageAgreement]) -> bool:
    """Whether a step that was taken once more, to be inspected, differs as much as it did before:
    only then what explains its differences explains those. An engine may compute otherwise where
    nothing is recorded.

    Arguments:
        ends: What was known of the step without its stages.
        inspected: The same step's stages.
    """
    again = {one.quantity.key: one for one in inspected}
    apart = {one.quantity.key for one in ends if not one.agrees}
    for one in ends:
        key, name = one.quantity.key, one.quantity.name
        follows = one.quantity.passing == "parameter" and not apart.isdisjoint(
            {f"moment1/{name}", f"moment2/{name}"}
        )
        if one.agrees or follows:  # Adam divides by its moments: rounding makes much of them
            continue
        if one.problem or key not in again:
            return False
        if not abs(one.raw_max_abs - again[key].raw_max_abs) <= one.rtol * one.largest:
            return False
    return True
