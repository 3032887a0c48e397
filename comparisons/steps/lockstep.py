"""Two engines side by side, step by step.

*Free*: each goes its own way from step 1, or from a step that both begin from one state.
*Re-synchronised*: each step starts from the state (parameters, running statistics, Adam's moments,
number of steps) of the engine under test, so that neither rounding nor a mistake is carried from
one step to the next.
"""

from __future__ import annotations

from collections.abc import Container, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from comparisons.diagnosis.place import Probes
from comparisons.steps.failures import EngineFailure, Guarded
from comparisons.steps.pair import Pair
from pyvae.engines.engine import DivergedError, Engine
from pyvae.model.stages import Probe
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Progress
from pyvae.training.loop import training_steps

__all__ = ["StepFailure", "StepOfBoth", "lockstep"]


@dataclass(frozen=True)
class StepOfBoth:
    """One step of both engines.

    Attributes:
        step: Counted from 1.
        progress: Where each stands, under test first; empty if one failed in this step.
        probes: What their stages returned, if the step is inspected; from one that failed, until
            then.
        failures: By engine, why it failed; empty if both took the step.
    """

    step: int
    progress: tuple[Progress, ...]
    probes: Probes | None
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

    @classmethod
    def of_step(cls, both: StepOfBoth) -> StepFailure:
        """The failure of a step that was taken side by side."""
        return cls(both.failures, dict.fromkeys(both.failures, both.step))


class _Recorder:
    """What the stages of one engine return, in the steps that are inspected."""

    def __init__(self, inspect: Container[int]) -> None:
        self.inspect = inspect
        self.probe: Probe | None = None

    def begin(self, step: int) -> Probe | None:
        """What a step's stages are to be written into; None if it is not inspected."""
        self.probe = {} if step in self.inspect else None
        return self.probe

    def end(self, engine: Engine) -> None:
        """The next step starts from an engine's state, whatever its step has returned."""
        if self.probe is not None:
            probe = self.probe
            probe.update((key, value) for key, value in engine.state().items() if key in probe)


def lockstep(
    pair: Pair,
    *,
    resync: bool,
    inspect: Container[int] = (),
    traces: tuple[Trace, Trace] | None = None,
    join: Container[int] = (),
) -> Generator[StepOfBoth, None, None]:
    """Runs two engines through the same run, one step of each in turn.

    Arguments:
        pair: The engines, and the run.
        resync: Start every step of the reference from the state of the engine under test.
        inspect: The steps, counted from 1, in which all stages are recorded.
        traces: Are filled as the run goes.
        join: Steps that the reference begins from the state of the engine under test where it does
            not begin all of them so; asked before each, and after the last for the one that would
            follow: what is computed after it then is computed from that state.

    Yields:
        One `StepOfBoth` for each step. If an engine fails in a step that is the last, whatever the
        failure was: what its stages returned until then tells more than its message.

    Raises:
        EngineError: If an engine's process died or did not answer.
    """
    trace_a, trace_b = traces or pair.new_traces()
    a, b = _Recorder(inspect), _Recorder(inspect)
    state: Probe | None = None
    run_a = training_steps(pair.run, Guarded(pair.under_test), trace_a, probe=a.begin)
    run_b = training_steps(
        pair.run, Guarded(pair.reference), trace_b, probe=b.begin, state=lambda step: state
    )
    sides = ((pair.under_test, run_a, a), (pair.reference, run_b, b))
    with closing(run_a), closing(run_b):
        for step in range(1, pair.run.steps + 1):
            state = pair.under_test.state() if (resync and step > 1) or step in join else None
            a.probe = b.probe = None
            progress: list[Progress] = []
            failures: dict[str, Exception] = {}
            for engine, run, recorder in sides:
                try:
                    progress.append(next(run))
                    recorder.end(engine)
                except (EngineFailure, DivergedError) as error:
                    failures[engine.name] = error
            seen = None if a.probe is None or b.probe is None else (a.probe, b.probe)
            if failures:
                yield StepOfBoth(step, (), seen, failures)
                return
            yield StepOfBoth(step, tuple(progress), seen)
        state = pair.under_test.state() if pair.run.steps + 1 in join else None
        failures = _complete(sides, state)
        if failures:
            yield StepOfBoth(step, (), None, failures)


def _complete(
    sides: Sequence[tuple[Engine, Iterator[Progress], _Recorder]], state: Probe | None
) -> dict[str, Exception]:
    """Has latent means and samples computed, the reference's from a state, if one is given; says
    who failed."""
    failures: dict[str, Exception] = {}
    for engine, run, _ in sides:
        try:
            if state is not None and engine is sides[1][0]:
                Guarded(engine).restore(state)
            next(run, None)
        except EngineFailure as error:
            failures[engine.name] = error
    return failures
