"""Two engines side by side, step by step.

*Free*: each goes its own way from step 1. *Re-synchronised*: each step starts from the state
(parameters, running statistics, Adam's moments, number of steps) of the engine under test, so that
neither rounding nor a mistake is carried from one step to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np

from comparisons.agreement.stage import StageAgreement
from comparisons.agreement.tolerances import is_normalised, probe_rule, stage_rule
from comparisons.diagnosis.first_divergence import Divergence, first_divergence
from comparisons.runs.failures import EngineFailure, Guarded
from comparisons.stages.compare import compare_probes
from pyvae.data.images import ImageData
from pyvae.engines.engine import DivergedError, Engine
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.run import Run
from pyvae.model.settings import Settings
from pyvae.model.stages import Probe
from pyvae.recipes import Recipe
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Progress
from pyvae.training.loop import training_steps

__all__ = ["Look", "Pair", "StepFailure", "compare_ends", "locate", "lockstep", "look", "look_into"]


@dataclass(frozen=True)
class Pair:
    """One step of both engines.

    Attributes:
        step: Counted from 1.
        progress: Where each stands, under test first; empty if one failed in this step.
        probes: What they saw, if the step was probed; from one that failed, until then.
        failures: By engine, why it failed; empty if both took the step.
    """

    step: int
    progress: tuple[Progress, ...]
    probes: tuple[Probe, Probe] | None
    failures: dict[str, Exception] = field(default_factory=dict)


class StepFailure(Exception):  # noqa: N818 (a finding, not a mistake of the caller)
    """One engine or both could not take a step.

    Attributes:
        failures: By engine, why.
        steps: By engine, in which step, counted from 1.
    """

    def __init__(self, failures: dict[str, Exception], steps: dict[str, int]) -> None:
        super().__init__(f"step {min(steps.values())}")
        self.failures, self.steps = failures, steps


def lockstep(
    under_test: Engine,
    reference: Engine,
    recipe: Recipe,
    settings: Settings,
    data: ImageData,
    *,
    resync: bool,
    probed: Container[int] = (),
    traces: tuple[Trace, Trace] | None = None,
) -> Generator[Pair, None, None]:
    """Runs two engines through the same run, one step of each in turn.

    Arguments:
        under_test, reference: The engines.
        recipe, settings, data: What both do.
        resync: Start every step of the reference from the state of the engine under test.
        probed: The steps to be probed, counted from 1.
        traces: Are filled as the run goes.

    Yields:
        One `Pair` for each step. If an engine fails in a step that is the last, whatever the
        failure was: what the engines saw until then tells more than its message.

    Raises:
        RProcessError: If the R process died or did not answer.
    """
    trace_a, trace_b = traces or (
        Trace.of_run(Run(recipe, settings, data), under_test),
        Trace.of_run(Run(recipe, settings, data), reference),
    )
    engines = Guarded(under_test), Guarded(reference)
    probes: list[Probe | None] = [None, None]
    state: Probe | None = None

    def asked(side: int) -> Callable[[int], Probe | None]:
        def probe(step: int) -> Probe | None:
            probes[side] = {} if step in probed else None
            return probes[side]

        return probe

    run_a = training_steps(Run(recipe, settings, data), engines[0], trace_a, probe=asked(0))
    run_b = training_steps(
        Run(recipe, settings, data), engines[1], trace_b, probe=asked(1), state=lambda step: state
    )
    with closing(run_a), closing(run_b):
        for step in range(1, settings.total_steps(len(data)) + 1):
            state = under_test.state() if resync and step > 1 else None
            probes[:] = [None, None]
            progress: list[Progress] = []
            failures: dict[str, Exception] = {}
            for engine, run in ((under_test, run_a), (reference, run_b)):
                try:
                    progress.append(next(run))
                except (EngineFailure, DivergedError) as error:
                    failures[engine.name] = error
            seen = None if probes[0] is None or probes[1] is None else (probes[0], probes[1])
            if failures:
                yield Pair(step, (), seen, failures)
                return
            yield Pair(step, tuple(progress), seen)
        failures = {}
        for engine, run in ((under_test, run_a), (reference, run_b)):  # latent means and samples
            try:
                next(run, None)
            except EngineFailure as error:
                failures[engine.name] = error
        if failures:
            yield Pair(step, (), None, failures)


@dataclass(frozen=True)
class Look:
    """What was found in one step: where the reference stands, the agreement of its stages (none
    for a step that was not probed), and where they part first."""

    progress: Progress
    agreements: Sequence[StageAgreement]
    divergence: Divergence | None


def look(
    under_test: Engine,
    reference: Engine,
    recipe: Recipe,
    settings: Settings,
    data: ImageData,
    *,
    last: int,
    resync: bool,
    probed: Container[int],
    traces: tuple[Trace, Trace] | None = None,
    exact: bool = False,
) -> Generator[Look, None, None]:
    """Compares the stages of the probed steps up to the last; where they are re-synchronised and
    not probed, what is known without a probe: losses, moments, parameters.

    Raises:
        StepFailure: If an engine fails.
    """
    run = (under_test, reference, recipe, settings, data)
    previous = None
    with closing(lockstep(*run, resync=resync, probed=probed, traces=traces)) as pairs:
        for pair in pairs:
            if pair.failures:
                raise StepFailure(pair.failures, dict.fromkeys(pair.failures, pair.step))
            agreements: list[StageAgreement] = []
            divergence = None
            if pair.probes is not None:
                normalised = is_normalised(recipe.stages)
                rule = probe_rule(settings.dtype, pair.step, resync, exact, normalised)
                agreements = compare_probes(*pair.probes, recipe, settings, pair.step, rule)
                names = (under_test.name, reference.name)
                divergence = first_divergence(
                    agreements, pair.probes, names, recipe, settings, previous, resync
                )
            elif resync:
                agreements = compare_ends(pair, *run[:4], exact)
            previous = pair.probes
            yield Look(pair.progress[1], agreements, divergence)
            if pair.step == last and traces is None:
                return


def locate(
    under_test: Engine,
    reference: Engine,
    recipe: Recipe,
    settings: Settings,
    data: ImageData,
    observe: Callable[[Progress], object] | None = None,
    exact: bool = False,
) -> tuple[list[StageAgreement], Divergence | None]:
    """Finds the first step, stage and element in which two engines part.

    Looks into the first step, where most mistakes show. If there is nothing, both run again,
    each step from the state of the engine under test, until losses, moments or parameters differ
    after a step; then once more up to that step, to look into it and the one before. Nothing is
    repeated within a run: an engine that keeps something from step to step (a mask, a gradient)
    would not show its mistake twice.

    Returns:
        The stages of the step at fault and the divergence; ([], None) if every step agrees
        when both start it from the same state.
    """
    run = (under_test, reference, recipe, settings, data)
    found = look_into(1, *run, exact)
    if found[1] is None:
        step = _first_step_apart(*run, exact, observe)
        if step is not None:
            found = look_into(step, *run, exact)
    return found if found[1] is not None else ([], None)


def look_into(
    step: int,
    under_test: Engine,
    reference: Engine,
    recipe: Recipe,
    settings: Settings,
    data: ImageData,
    exact: bool,
) -> tuple[list[StageAgreement], Divergence | None]:
    """The stages of one step, both engines having begun it from the same state, and the first that
    parts; its name is confirmed by the next step, if there is one."""
    run = (under_test, reference, recipe, settings, data)
    previous = None
    with closing(lockstep(*run, resync=True, probed={step - 1, step, step + 1})) as pairs:

        def following() -> tuple[Probe, Probe] | None:
            after = next(pairs, None)
            return None if after is None or after.failures else after.probes

        for pair in pairs:
            if pair.step == step and pair.probes is not None and all(pair.probes):
                rule = stage_rule(settings.dtype, exact, is_normalised(recipe.stages))
                agreements = compare_probes(*pair.probes, recipe, settings, step, rule)
                names = (under_test.name, reference.name)
                return agreements, first_divergence(
                    agreements, pair.probes, names, recipe, settings, previous, resync=True,
                    following=following,
                )  # fmt: skip
            previous = pair.probes
    return [], None


def _first_step_apart(
    under_test: Engine,
    reference: Engine,
    recipe: Recipe,
    settings: Settings,
    data: ImageData,
    exact: bool,
    observe: Callable[[Progress], object] | None,
) -> int | None:
    run = (under_test, reference, recipe, settings, data)
    with closing(lockstep(*run, resync=True)) as pairs:
        for pair in pairs:
            if pair.failures:
                return pair.step
            if observe is not None:
                observe(pair.progress[1])
            if not all(agreement.agrees for agreement in compare_ends(pair, *run[:4], exact)):
                return pair.step
    return None


def compare_ends(
    pair: Pair,
    under_test: Engine,
    reference: Engine,
    recipe: Recipe,
    settings: Settings,
    exact: bool,
) -> list[StageAgreement]:
    """Compares what is known of a step without a probe: its losses, and the state after it; by
    the rule of steps that both start from one state."""
    ends = []
    for engine, progress in zip((under_test, reference), pair.progress, strict=True):
        losses = progress.losses.cpu().double().numpy()
        terms = zip(OBJECTIVES[settings.objective].terms, losses, strict=True)
        end: Probe = {f"forward/{name}": np.array(value) for name, value in terms}
        ends.append(end | {key: v for key, v in engine.state().items() if key != "step"})
    rule = stage_rule(settings.dtype, exact, is_normalised(recipe.stages))
    keys = set(ends[0]) | set(ends[1])
    return compare_probes(ends[0], ends[1], recipe, settings, pair.step, rule, keys)
