"""Two engines side by side, step by step.

*Free*: each goes its own way from step 1. *Re-synchronised*: each step starts from the state
(parameters, Adam's moments, number of steps) of the engine under test, so that neither rounding
nor a mistake is carried from one step to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Generator
from contextlib import closing
from dataclasses import dataclass

from comparisons.agreement import STAGE_RULES
from comparisons.localisation import Divergence, first_divergence
from comparisons.probes import StageAgreement, compare_probes
from pyvae.data import ImageData
from pyvae.engine import Engine
from pyvae.recipes import Recipe
from pyvae.settings import Settings
from pyvae.stages import LOSS_STAGES, Probe
from pyvae.trace import Trace
from pyvae.training import Progress, training_steps

__all__ = ["Pair", "locate", "lockstep"]


@dataclass(frozen=True)
class Pair:
    """One step of both engines.

    Attributes:
        step: Counted from 1.
        under_test, reference: Where each stands; its losses.
        probes: What they saw, if the step was probed.
    """

    step: int
    under_test: Progress
    reference: Progress
    probes: tuple[Probe, Probe] | None


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
    """
    trace_a, trace_b = traces or (
        Trace.of_run(under_test, recipe, settings, data),
        Trace.of_run(reference, recipe, settings, data),
    )
    probes: list[Probe | None] = [None, None]
    state: Probe | None = None

    def asked(side: int) -> Callable[[int], Probe | None]:
        def probe(step: int) -> Probe | None:
            probes[side] = {} if step in probed else None
            return probes[side]

        return probe

    run_a = training_steps(under_test, recipe, settings, data, trace_a, probe=asked(0))
    run_b = training_steps(
        reference, recipe, settings, data, trace_b, probe=asked(1), state=lambda step: state
    )
    with closing(run_a), closing(run_b):
        for step in range(1, settings.total_steps(len(data)) + 1):
            state = under_test.state() if resync and step > 1 else None
            a, b = next(run_a), next(run_b)
            seen = None if probes[0] is None or probes[1] is None else (probes[0], probes[1])
            yield Pair(step, a, b, seen)
        for run in (run_a, run_b):  # latent means and samples
            next(run, None)


def locate(
    under_test: Engine,
    reference: Engine,
    recipe: Recipe,
    settings: Settings,
    data: ImageData,
    observe: Callable[[Pair], object] | None = None,
) -> tuple[list[StageAgreement], Divergence | None]:
    """Finds the first step, stage and element in which two engines part.

    Both run again from the start, each step from the state of the engine under test, until
    losses, moments or parameters differ after a step; then once more up to that step, to look
    into it and the one before. Nothing is repeated within a run: an engine that keeps something
    from step to step (a mask, a gradient) would not show its mistake twice.

    Returns:
        The stages of the step at fault and the divergence; ([], None) if every step agrees
        when both start it from the same state.
    """
    names = (under_test.name, reference.name)
    rule = STAGE_RULES[settings.dtype]
    step = _first_step_apart(under_test, reference, recipe, settings, data, observe)
    if step is None:
        return [], None
    previous = None
    with closing(
        lockstep(
            under_test, reference, recipe, settings, data, resync=True, probed={step - 1, step}
        )
    ) as pairs:
        for pair in pairs:
            if pair.step == step and pair.probes is not None:
                agreements = compare_probes(*pair.probes, recipe, settings, step, rule)
                return agreements, first_divergence(
                    agreements, pair.probes, names, recipe, settings, previous, resync=True
                )
            previous = pair.probes
    return [], None


def _first_step_apart(
    under_test: Engine,
    reference: Engine,
    recipe: Recipe,
    settings: Settings,
    data: ImageData,
    observe: Callable[[Pair], object] | None,
) -> int | None:
    rule = STAGE_RULES[settings.dtype]
    with closing(lockstep(under_test, reference, recipe, settings, data, resync=True)) as pairs:
        for pair in pairs:
            if observe is not None:
                observe(pair)
            ends = [
                _end_of_step(engine, progress)
                for engine, progress in (
                    (under_test, pair.under_test), (reference, pair.reference),
                )
            ]  # fmt: skip
            keys = set(ends[0]) | set(ends[1])
            agreements = compare_probes(ends[0], ends[1], recipe, settings, pair.step, rule, keys)
            if not all(agreement.agrees for agreement in agreements):
                return pair.step
    return None


def _end_of_step(engine: Engine, progress: Progress) -> Probe:
    """What is known of a step without a probe: its losses, and the state after it."""
    losses = progress.losses.cpu().double().numpy()
    total, reconstruction, regulariser = (losses[i : i + 1].reshape(()) for i in range(3))
    parts = zip(LOSS_STAGES, (reconstruction, regulariser, total), strict=True)
    end = {f"forward/{name}": value for name, value in parts}
    return end | {key: value for key, value in engine.state().items() if key != "step"}
