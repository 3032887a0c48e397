"""Two saved traces that part where rounding decides a kink.

A pre-activation may be zero up to rounding, so that its gradient passes in one run and not in the
other (`comparisons.beyond_steps.across_kinks`). Two engines then go on from one state. Of a trace
nobody can ask that; but one that recorded the step knows the state after it. PyTorch makes the run
once more for each of the two traces, and after each recorded step whose differences from the
trace's follow from kinks goes on from the trace's own state. If it then gives both traces, to their
ends, all that the two differ in follows from these kinks.

Where the step was not recorded, PyTorch's own run shows whether there is a kink, and where.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from comparisons.agreement.arrays import Agreement
from comparisons.agreement.stage import StageAgreement
from comparisons.agreement.tolerances import (
    Rule,
    is_normalised,
    rule_of_step,
    run_rules,
    stage_rule,
)
from comparisons.beyond_steps.across_kinks import (
    NEITHER_IS_WRONG,
    SUDDEN,
    are_telling,
    steps_words,
    where_kinks_are,
)
from comparisons.diagnosis.first_divergence import Divergence, first_divergence
from comparisons.diagnosis.place import InspectedStep, Probes
from comparisons.saved.probes import read_probe
from comparisons.stages.compare import compare_probes
from comparisons.stages.kinks import nearly_on_a_kink
from comparisons.steps.comparison import TINY, Comparison, compare_whole_runs
from comparisons.steps.progress import ProgressOf
from pyvae.engines.adam import ADAMS
from pyvae.engines.engine import DivergedError
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError, choose
from pyvae.model.run import Run
from pyvae.model.stages import Probe
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Progress
from pyvae.training.loop import training_steps

__all__ = ["MOST_STEPS", "PastKinks", "look_past_kinks"]

MOST_STEPS = 2000  # of a run that is made again
LOOKED_INTO = 50  # steps before the one that parts, for kinks that were not recorded
AGAIN = "PyTorch, run again"
TELL = "compare the two engines themselves: pyvae compare goes on past such a step"


@dataclass(frozen=True)
class PastKinks:
    """What was found.

    Attributes:
        proven: The comparison of what PyTorch gives with both traces, if it gives them; else None.
        divergence: Else the first stage that a trace has recorded and PyTorch does not give.
        note: What is to be said where it is not; empty if no kink was found.
    """

    proven: Comparison | None = None
    divergence: Divergence | None = None
    note: str = ""


@dataclass
class _Followed:
    """PyTorch's run beside a trace.

    Attributes:
        trace: The recorded one.
        joined: After which steps PyTorch went on from the trace's own state.
        stages: Of the steps that the trace recorded, PyTorch under test.
        parted: The first step that PyTorch does not give, or the one after the last where that is
            known of their ends alone; None if it gives all.
        divergence: The stage that it does not give first, if that was recorded.
        quantities: Of the whole run; empty if that was not finished.
    """

    trace: Trace
    joined: set[int] = field(default_factory=set)
    stages: list[StageAgreement] = field(default_factory=list)
    divergence: Divergence | None = None
    parted: int | None = None
    quantities: dict[str, Agreement] = field(default_factory=dict)

    @property
    def is_telling(self) -> bool:
        """Whether PyTorch has gone on by itself for long enough to tell a mistake."""
        return are_telling(self.joined, self.trace.steps)

    @property
    def is_proven(self) -> bool:
        """Whether all that it differs in follows from kinks."""
        return self.parted is None and self.is_telling


def look_past_kinks(comparison: Comparison, run: Run | None, progress: ProgressOf) -> PastKinks:
    """Tells whether kinks that rounding decides are all that drives two traces apart.

    Arguments:
        comparison: Of the two, which disagree, with the stages of the steps that both recorded.
        run: What both trained; None if its images cannot be had.
        progress: Shows the progress of what is named.
    """
    a, b, place = comparison.under_test, comparison.reference, comparison.divergence
    recorded = {
        one.step
        for one in comparison.stages
        if one.kinks and (place is None or one.step < place.step)
    }
    both = {0, *a.probed} & {0, *b.probed}
    is_placed = place is not None and place.step - 1 in both and place.passing != "start"
    if not _is_asked(comparison) or (is_placed and not recorded):
        return PastKinks()
    if run is None or run.recipe.optimizer is not None:
        where = where_kinks_are(comparison.stages, recorded)
        note = f"{where}: {NEITHER_IS_WRONG}. To tell whether that is all that differs, {TELL}"
        return PastKinks(note=note if recorded else "")
    followed = [_follow(trace, run, progress) for trace in (a, b)]
    joined = sorted(followed[0].joined | followed[1].joined)
    if joined and all(one.is_proven for one in followed):
        return PastKinks(_proven(comparison, followed, joined))
    found = [one.divergence for one in followed if one.divergence is not None and joined]
    return PastKinks(divergence=next(iter(found), None), note=_not_proven(followed, run, progress))


def _is_asked(comparison: Comparison) -> bool:
    """Whether kinks are looked for: not where rounding decides them all the time, every bit has to
    be equal, or no step is a trace's own."""
    settings = comparison.under_test.settings
    free = comparison.mode == "free" and settings.rng == "injected" and not comparison.exact
    return free and settings.dtype == "float64" and comparison.under_test.steps <= MOST_STEPS


def _follow(trace: Trace, run: Run, progress: ProgressOf) -> _Followed:
    """PyTorch's run beside a trace, up to the first step that it does not give."""
    found = _Followed(trace)
    made = Trace.of_run(run, _engine(trace))
    callback = progress(f"pytorch, beside the trace of {trace.engine}", run)
    rule = run_rules(run.settings.dtype, False, is_normalised(run.recipe.stages))["loss"]
    callback.on_start(run, made)
    apart = 0.0  # what the losses differed by since both were in one state
    before: Probes | None = None
    steps = _beside(trace, run, made, found.joined, trace.probed)
    try:
        with closing(steps):
            for now, seen in steps:
                callback.on_step(now)
                theirs = float(trace.losses[now.step - 1, 0])
                apart = max(apart, _relative(float(now.losses[0]), theirs))
                step = None if seen is None else _recorded(trace, run, now.step, seen, before)
                fresh = now.step == 1 or now.step - 1 in found.joined  # both in one state
                stages = [] if step is None else _compare(step, run, None if fresh else apart)
                found.stages += stages
                if not (apart <= rule.rtol and all(one.agrees for one in stages)):
                    found.parted = now.step
                    if step is not None:
                        found.divergence = first_divergence(step, stages)
                    return found
                before = None if step is None else (dict(step.probes[0]), step.probes[1])
                if step is not None and any(one.kinks for one in stages):
                    found.joined.add(now.step)
                    before = step.probes[1], step.probes[1]
                    apart = 0.0
    except DivergedError:
        found.parted = made.steps + 1
        return found
    finally:
        callback.on_end(None, None)
    found.quantities = compare_whole_runs(made, trace).quantities
    if not all(one.agrees for one in found.quantities.values()):
        found.parted = trace.steps + 1
    return found


def _beside(
    trace: Trace, run: Run, made: Trace, joined: Container[int], inspect: Container[int]
) -> Generator[tuple[Progress, Probe | None], None, None]:
    """PyTorch's steps, each with what its stages returned if it is inspected.

    Arguments:
        trace: The recorded run.
        run: What is trained.
        made: PyTorch's trace of it.
        joined: After which steps PyTorch goes on from the trace's own state.
        inspect: The steps that are inspected.
    """
    seen: Probe = {}

    def probe(step: int) -> Probe | None:
        seen.clear()
        return seen if step in inspect else None

    def state(step: int) -> Mapping[str, NDArray] | None:
        if step - 1 not in joined:
            return None
        taken = 0 if run.start is None else run.start.taken
        return trace.state_after(step - 1) | {"step": np.array(taken + step - 1)}

    steps = training_steps(run, _engine(trace), made, probe=probe, state=state)
    with closing(steps):
        for now in steps:
            yield now, seen if now.step in inspect else None


def _engine(trace: Trace) -> PyTorchEngine:
    try:
        adam = choose("adam", trace.environment.get("adam", "torch"), ADAMS)
    except UserError:
        adam = "torch"
    return PyTorchEngine("cpu", adam, kernels="torch")


def _recorded(
    trace: Trace, run: Run, step: int, seen: Probe, before: Probes | None
) -> InspectedStep:
    """A step that a trace has recorded, PyTorch under test."""
    start = run.start
    if step == 1 and start is not None and start.taken:
        state = start.state(run.settings.dtype)
        before = state, state
    taken = 0 if start is None else start.taken
    return InspectedStep(
        run.recipe, run.settings, step, (AGAIN, trace.engine), (seen, read_probe(trace, step)),
        before, environments=({}, trace.environment), data=run.data, taken=taken,
    )  # fmt: skip


def _compare(step: InspectedStep, run: Run, apart: float | None) -> list[StageAgreement]:
    """The stages of a step. The two may differ by somewhat more than they did before it, and by no
    more than free runs do.

    Arguments:
        step: What both returned.
        run: What is trained.
        apart: What their losses have differed by; None if both began the step in one state.
    """
    dtype, normalised = run.settings.dtype, is_normalised(run.recipe.stages)
    rule = stage_rule(dtype, False, normalised)
    if apart is None:
        return step.compare(rule)
    starts = {key for key in step.probes[0] if key.startswith("start/")}
    before = compare_probes(
        *step.probes, run.recipe, run.settings, step.step, rule, starts, step.taken
    )
    drift = max(apart, *(math.inf if one.problem else one.required_rtol for one in before))
    most = rule_of_step(dtype, step.step, False, normalised=normalised).rtol
    return step.compare(Rule(min(max(rule.rtol, SUDDEN * drift), most), rule.scale))


def _relative(a: float, b: float) -> float:
    return abs(a - b) / max(abs(a), abs(b), TINY)


def _proven(
    comparison: Comparison, followed: Sequence[_Followed], joined: Sequence[int]
) -> Comparison:
    """The comparison of both traces with PyTorch's runs beside them: of every quantity and stage
    the one of the two that comes nearer to what is allowed."""
    a, b = (one.quantities for one in followed)
    quantities = {name: max(a[name], b[name], key=_share) for name in a if name in b}
    stages = _of_both(followed, lambda one: one.required_rtol / (one.rtol or TINY))
    after = steps_words(joined)
    note = (
        f"{_where(followed, joined)}: {NEITHER_IS_WRONG}. PyTorch, run again beside each trace and "
        f"going on from the state that it recorded after {after}, gives both to their ends"
        f"{comparison.apart_words()}"
    )
    return replace(
        comparison, quantities=quantities, stages=stages, divergence=None,
        joined_after=tuple(joined), note=note,
    )  # fmt: skip


def _share(one: Agreement) -> float:
    return one.required_rtol / (one.rule.rtol or TINY)


def _of_both(
    followed: Sequence[_Followed], size: Callable[[StageAgreement], float]
) -> list[StageAgreement]:
    """Of every stage that was compared with either trace's the larger one, in order."""
    stages: dict[tuple[int, str], StageAgreement] = {}
    for beside in followed:
        for one in beside.stages:
            key = one.step, one.quantity.key
            stages[key] = max(stages.get(key, one), one, key=size)
    return sorted(stages.values(), key=lambda one: one.step)


def _where(followed: Sequence[_Followed], joined: Container[int]) -> str:
    """Where rounding decides kinks in these steps."""
    return where_kinks_are(_of_both(followed, lambda one: one.kinks), joined)


def _not_proven(followed: Sequence[_Followed], run: Run, progress: ProgressOf) -> str:
    """What is said of kinks that are there, recorded or not; empty if there are none."""
    words = []
    joined = {step for beside in followed for step in beside.joined}
    if joined:
        words.append(f"{_where(followed, joined)}: {NEITHER_IS_WRONG}")
    words += [_not_given(one, joined) for one in followed if one.parted and joined]
    if not all(one.is_telling for one in followed):
        words.append("too few steps in a row are left to tell a mistake from what follows")
    near: dict[int, dict[str, int]] = {}
    for one in followed:
        if one.parted:
            near |= _look_into(one, run, progress)
    if near:
        steps = sorted(near)
        places = {layer: None for step in steps for layer in near[step]}
        recorded = sorted({*steps, *(step for one in followed for step in one.trace.probed)})
        probe = ",".join(str(step) for step in recorded)
        again = f"record both traces again with --probe {probe}" if run.start is None else TELL
        words.append(
            f"in {steps_words(steps)}, which was not recorded, PyTorch's own run has a "
            f"pre-activation that is zero, or two pooled pixels that are equal, up to rounding (in "
            f"{' and '.join(places)}): which way a gradient takes there may be all that differs. "
            f"To tell, {again}"
        )
    return "; ".join(words)


def _not_given(followed: _Followed, joined: Iterable[int]) -> str:
    """From where on PyTorch does not give a trace, and which steps would show it."""
    trace, parted = followed.trace, followed.parted or 0
    words = "that is not all: PyTorch, run again"
    if followed.joined:
        after = steps_words(sorted(followed.joined))
        words += f" and going on from the state that {trace.engine} recorded after {after}"
    if parted > trace.steps:
        return f"{words}, does not give the end of its trace"
    whose = "its" if followed.joined else f"{trace.engine}'s"
    words += f", does not give {whose} trace from step {parted} on"
    if followed.divergence is not None:
        return words
    first = max(step for step in (1, *joined) if step < parted or step == 1)
    again = f": record both again with --probe {first}-{parted} to see why"
    return words if trace.start else f"{words}{again}"


def _look_into(followed: _Followed, run: Run, progress: ProgressOf) -> dict[int, dict[str, int]]:
    """The kinks that rounding may decide in steps that a trace has not recorded, before the one in
    which PyTorch and it part: by step, how many in which layer."""
    trace, last = followed.trace, followed.parted
    assert last is not None  # noqa: S101 (asked of those that part)
    look_into = {*range(max(1, last - LOOKED_INTO), last)} - {*trace.probed}
    if not look_into:
        return {}
    rtol = stage_rule(run.settings.dtype, False, is_normalised(run.recipe.stages)).rtol
    made = Trace.of_run(run, _engine(trace))
    callback = progress("pytorch, looking for kinks", run)
    callback.on_start(run, made)
    found = {}
    steps = _beside(trace, run, made, followed.joined, look_into)
    try:
        with closing(steps):
            for now, seen in steps:
                callback.on_step(now)
                near = {} if seen is None else nearly_on_a_kink(seen, run.recipe.stages, rtol)
                if near:
                    found[now.step] = near
                if now.step >= max(look_into):
                    break
    except DivergedError:
        return found
    finally:
        callback.on_end(None, None)
    return found
