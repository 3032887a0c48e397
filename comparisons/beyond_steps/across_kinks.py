"""Two free runs that part where rounding decides a kink.

A pre-activation may be zero, or two pixels of a max-pooling window equal, up to rounding. One
engine then passes a gradient where the other does not, and neither is wrong
(`comparisons.stages.kinks`). What follows is no rounding any more: two free runs differ from there
on by as much as a mistake would make them. So they are run once more, and after each such step one
goes on from the state of the other.

Nothing is taken for a kink that merely looks like one: every step after which the two were given
one state is inspected, stage by stage, all of its differences have to follow from kinks that are
seen in it, and it has to differ as much as it did where nothing was recorded. All other steps stay
free. After the last step, what is computed from the trained network begins from one state, too. An
engine that is given a state may forget what it keeps from step to step, a schedule of its own, say:
so the runs are made both ways round, and in each of them one engine goes through all of its steps
by itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Container, Iterable, Sequence, Set
from contextlib import closing
from dataclasses import dataclass, field

from comparisons.agreement.stage import StageAgreement
from comparisons.agreement.tolerances import Rule, rule_of_step
from comparisons.steps.compare import compare_ends, differ_as_much
from comparisons.steps.failures import EngineFailure, Guarded
from comparisons.steps.lockstep import lockstep
from comparisons.steps.pair import Pair
from pyvae.engines.engine import DivergedError
from pyvae.model.stages import Probe
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Progress
from pyvae.training.loop import training_steps

__all__ = [
    "FREE_STEPS",
    "NEITHER_IS_WRONG",
    "SUDDEN",
    "AcrossKinks",
    "are_telling",
    "explains_kinks",
    "run_across_kinks",
    "run_other_way_round",
    "steps_words",
    "where_kinks_are",
]

FREE_STEPS = 5  # in a row, that show what an engine keeps to itself
SUDDEN = 10.0  # times what the two differed by after the step before
NEITHER_IS_WRONG = (
    "a pre-activation is zero, or two pixels that are pooled are equal, up to rounding, and "
    "neither engine is wrong"
)


@dataclass(frozen=True)
class AcrossKinks:
    """What was found, one way round.

    Attributes:
        traces: Of both, first that of the engine that went through all steps by itself.
        steps: Those in which kinks were decided by rounding: both began the next from one state.
        stages: The agreement of all stages of these steps, and of those that were asked for.
        ends: What was known after each other step: losses, moments, parameters.
    """

    traces: tuple[Trace, Trace]
    steps: tuple[int, ...]
    stages: Sequence[StageAgreement]
    ends: Sequence[StageAgreement]

    @property
    def is_telling(self) -> bool:
        """Whether there are steps enough without a kink. The last may have one: what is computed
        after it then begins from one state, both ways round."""
        return are_telling(self.steps, self.traces[0].steps, last_too=True)

    def words(self) -> str:
        """Where the kinks are, and what was done about them."""
        return (
            f"{self.where()}: {NEITHER_IS_WRONG}. "
            f"After {steps_words(self.steps)} both went on from the state of "
            f"{self.traces[0].engine}"
        )

    def where(self) -> str:
        """Where the kinks are."""
        return where_kinks_are(self.stages, self.steps)


def where_kinks_are(stages: Iterable[StageAgreement], steps: Container[int]) -> str:
    """Where rounding decides kinks in these steps, in words."""
    found: dict[str, list[StageAgreement]] = {}
    for one in stages:
        if one.kinks and one.step in steps:
            found.setdefault(one.kinks_at, []).append(one)
    places = " and ".join(
        f"{layer} ({sum(one.kinks for one in its):,} in {steps_words(one.step for one in its)})"
        for layer, its in found.items()
    )
    return f"rounding decides whether a gradient passes in {places}"


def steps_words(steps: Iterable[int]) -> str:
    """`step 1`, or `steps 1, 3 and 4`."""
    *rest, last = [str(step) for step in dict.fromkeys(steps)]
    return f"steps {', '.join(rest)} and {last}" if rest else f"step {last}"


@dataclass
class _Found:
    """A run whose steps are free but for those after a sudden one.

    Attributes:
        drift: By sudden step, how far the two were apart before it, relative.
        sudden: What was known after each sudden step.
        joined: The steps that the reference begins from the other's state; that after the last, if
            what is computed after it begins from it.
        ends: What was known after the other steps.
    """

    drift: dict[int, float] = field(default_factory=dict)
    sudden: dict[int, list[StageAgreement]] = field(default_factory=dict)
    joined: set[int] = field(default_factory=set)
    ends: list[StageAgreement] = field(default_factory=list)


def explains_kinks(pair: Pair) -> bool:
    """Whether kinks are looked for: in float32 rounding decides them all the time, and what it
    makes of a run is measured (`comparisons.beyond_steps.rounding`); where every bit has to be
    equal nothing is explained."""
    return not pair.exact and pair.run.settings.dtype == "float64"


def run_across_kinks(
    pair: Pair,
    inspect: Container[int] = (),
    on_step: Callable[[Progress], object] = lambda now: None,
) -> AcrossKinks | None:
    """Runs both engines, each on its own but for steps after which rounding has decided a kink.

    Arguments:
        pair: The engines, and the run.
        inspect: Further steps whose stages are compared.
        on_step: Called after every step of the run that is kept.

    Returns:
        What was found; None if it is not kinks alone that drive the two apart: they part in no
        step suddenly, or in one whose differences do not follow from kinks, or an engine fails.
    """
    if not explains_kinks(pair):
        return None
    asked = {step for step in range(1, pair.run.steps + 1) if step in inspect}
    first = _run(pair, only_first=True)
    if first is None or not first.drift:
        return None
    stages = _kinks_alone(pair, first, set(first.drift))
    if stages is None:
        return None
    traces = pair.new_traces()
    found = _run(pair, traces, on_step)
    if found is None:
        return None
    if asked | found.drift.keys() != first.drift.keys():
        stages = _kinks_alone(pair, found, asked | found.drift.keys())
    steps = tuple(found.drift)
    if stages is None:
        return None
    return AcrossKinks(traces, steps, stages, found.ends)


def run_other_way_round(
    pair: Pair,
    steps: Container[int],
    on_step: Callable[[Progress], object] = lambda now: None,
) -> tuple[Trace, Trace] | None:
    """Runs the engine under test through all steps, from the reference's state after each of these.

    Arguments:
        pair: The engines, and the run.
        steps: Those in which rounding decided a kink.
        on_step: Called after every step of the engine under test.

    Returns:
        Its trace, and that of the reference, which ends with the last of these steps; None if an
        engine fails.
    """
    states: dict[int, Probe] = {}
    traces = pair.new_traces()
    under_test, reference = (Guarded(engine) for engine in pair.engines)
    every = range(1, pair.run.steps + 1)
    last = max(step for step in every if step in steps)
    given = training_steps(
        pair.run, under_test, traces[0], state=lambda step: states.pop(step, None)
    )
    giving = training_steps(pair.run, reference, traces[1])
    try:
        with closing(given), closing(giving):
            for step in every:
                if step <= last:
                    next(giving)
                    if step in steps:
                        states[step + 1] = reference.state()
                on_step(next(given))
            if last == pair.run.steps:
                under_test.restore(states[last + 1])
            next(given, None)  # latent means and samples
    except (EngineFailure, DivergedError):
        return None
    return traces


def _run(
    pair: Pair,
    traces: tuple[Trace, Trace] | None = None,
    on_step: Callable[[Progress], object] = lambda now: None,
    only_first: bool = False,
) -> _Found | None:
    """Takes all steps, or those up to the first sudden one; None if an engine fails, or numbers are
    not finite."""
    found = _Found()
    before = 0.0
    with closing(lockstep(pair, resync=False, join=found.joined, traces=traces)) as steps:
        for both in steps:
            if both.failures:
                return None
            on_step(both.progress[1])
            ends = compare_ends(pair, both, drifted=both.step > 1)
            if any(end.problem for end in ends):
                return None
            apart = max(end.required_rtol for end in ends)
            if apart > max(pair.rule.rtol, SUDDEN * before):
                found.drift[both.step] = before
                found.sudden[both.step] = ends
                found.joined.add(both.step + 1)
                before = 0.0
                if only_first:
                    return found
            else:
                found.ends += ends
                before = max(before, apart)
    return found


def _kinks_alone(pair: Pair, found: _Found, inspected: Set[int]) -> list[StageAgreement] | None:
    """The stages of these steps; None if a sudden one has differences that do not follow from kinks
    in it."""
    run = pair.run
    last = max(inspected)
    agreements: list[StageAgreement] = []
    previous = None
    steps = lockstep(pair, resync=False, join=found.joined, inspect=inspected)
    with closing(steps):
        for both in steps:
            if both.failures:
                return None
            if both.probes is not None:
                step = pair.inspected(both.step, both.probes, previous)
                rule = rule_of_step(
                    run.settings.dtype, both.step, False, pair.exact, pair.is_normalised
                )
                if both.step in found.drift:
                    least = pair.rule.rtol
                    rule = Rule(max(least, SUDDEN * found.drift[both.step]), pair.rule.scale)
                stages = step.compare(rule)
                agreements += stages
                sudden = found.sudden.get(both.step)
                if sudden is not None and not (
                    _are_kinks(stages) and differ_as_much(sudden, stages)
                ):
                    return None
            previous = both.probes
            if both.step == last:
                break
    return agreements


def _are_kinks(stages: Sequence[StageAgreement]) -> bool:
    return all(one.agrees for one in stages) and any(one.kinks for one in stages)


def are_telling(joined_after: Collection[int], steps: int, last_too: bool = False) -> bool:
    """Whether the steps of a run are enough to tell a mistake, where one goes on from the other's
    state after some: enough steps in a row are free, and the last is none of those, unless what is
    computed after it begins from the other's state as well."""
    if steps in joined_after and not (last_too and steps > 1):
        return False
    return _longest_free(joined_after, steps) >= min(FREE_STEPS, steps - 1)


def _longest_free(joined_after: Iterable[int], steps: int) -> int:
    """The most steps in a row that no join interrupts."""
    bounds = [0, *sorted(joined_after), steps]
    return max(end - begin for begin, end in itertools.pairwise(bounds))
