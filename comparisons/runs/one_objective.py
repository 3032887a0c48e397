"""One objective of a comparison: both engines run, the verdict, and where they part."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from comparisons.agreement.stage import StageAgreement
from comparisons.beyond_steps.across_kinks import (
    explains_kinks,
    run_across_kinks,
    run_other_way_round,
)
from comparisons.beyond_steps.after_training import AFTER_TRAINING, part_after_training
from comparisons.beyond_steps.evaluation_mode import compare_in_evaluation_mode
from comparisons.beyond_steps.free_run import FreeRun, run_freely
from comparisons.beyond_steps.other_way_round import OtherWayRound, compare_other_way_round
from comparisons.beyond_steps.rounding import measure_rounding, rounding_note
from comparisons.diagnosis.first_divergence import Divergence
from comparisons.steps.compare import compare_steps, differ_as_much
from comparisons.steps.comparison import Comparison, compare_whole_runs
from comparisons.steps.failures import EngineFailure, Guarded
from comparisons.steps.locate import Found, inspect_step, locate
from comparisons.steps.lockstep import StepFailure
from comparisons.steps.pair import Pair
from comparisons.steps.progress import ProgressOf, shown
from pyvae.engines.engine import DivergedError, Engine
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.run import Run
from pyvae.runs.callbacks.keep import Keep
from pyvae.runs.callbacks.stop_on_signal import StopOnSignal
from pyvae.runs.kept_run import KeptRun
from pyvae.runs.run_folder import RunFolder
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Callback, Progress
from pyvae.training.loop import train

__all__ = ["OneObjective"]

SAME_START = "every step agrees when both engines start it from the same state"
NOT_MEASURED = (
    "what disagrees is within the tolerance of a single step, or arose while each engine went its "
    "own way: look at stages.csv, and compare in float64 or with --mode resync"
)
HIDDEN = (
    f"{SAME_START}, but not where each goes its own way for a few steps: an engine keeps something "
    "from step to step that is not in its state (the maximum of AMSGrad, a second momentum, a "
    "schedule)"
)
DRIVEN = (
    "Adam makes as much of gradients that are rounding alone as of any other, and drives the two "
    "apart ({}): whether more than what follows differs cannot be told; compare in float64"
)
OTHER_WAY = (
    "every step agrees when {1} starts it from the state of {0}; when {0} starts from that of {1}, "
    "{2} does not"
)
FORGETS = (
    "look for what {1} keeps from step to step, and forgets when it is given a state (a schedule, "
    "an average of the weights, the maximum of AMSGrad)"
)
GIVEN = "look for what {0} makes of a state that it is given"
NOT_RECORDED = (
    "taken again, with its stages recorded, it does: look for what an engine does otherwise in a "
    "step that is not recorded"
)


@dataclass(frozen=True)
class OneObjective:
    """One objective of a comparison.

    Attributes:
        pair: The engines, and the run.
        kept: Where the run of each is kept, with its trace.
        progress: Shows how far what is named has come.
        log: Called with a line on what was found of an earlier run.
        folder: The comparison's: made again if it was removed meanwhile.
    """

    pair: Pair
    kept: Sequence[KeptRun]
    progress: ProgressOf
    log: Callable[[str], object]
    folder: RunFolder

    def compare(self, mode: str, inspect: Container[int]) -> Comparison:
        """Runs both engines, compares, and finds the place where they part.

        Arguments:
            mode: `free`, or `resync`: each step starts from the state of the engine under test.
            inspect: The steps whose stages are compared.
        """
        steps = self.pair.run.steps
        try:
            if mode == "resync":
                stages, divergence = self._resynchronised(inspect)
            else:
                self._each_alone()
                last = max((step for step in range(1, steps + 1) if step in inspect), default=0)
                stages, divergence = self._side_by_side(inspect, last, resync=False)
            comparison = replace(
                compare_whole_runs(*self._traces, self.pair.exact),
                mode=mode,
                stages=stages,
                divergence=divergence,
            )
            if not comparison.agrees and mode != "resync":
                comparison = self._across_kinks(comparison, inspect) or comparison
            if not comparison.agrees:
                return self._placed(comparison)
            asked = self._ask_further(comparison)
            return asked if asked.agrees or not asked.joined_after else replace(asked, note="")
        except StepFailure as failure:
            return self._failed(failure, mode)
        except EngineFailure as failure:  # in evaluation mode
            alone = StepFailure({failure.engine: failure}, {failure.engine: steps})
            return self._failed(alone, mode)

    @property
    def _traces(self) -> tuple[Trace, Trace]:
        under_test, reference = self.kept
        return under_test.trace, reference.trace

    def _each_alone(self) -> None:
        """Trains both, as far as they come.

        Raises:
            StepFailure: If one cannot take a step; the other one then has taken it, or tried.
        """
        failures: dict[str, Exception] = {}
        steps: dict[str, int] = {}
        for engine, kept in zip(self.pair.engines, self.kept, strict=True):
            if kept.found:
                self.log(f"{_title(self.pair.run)} in {engine.name}: {kept.found}")
            if kept.complete:
                continue
            try:
                self._alone(engine, kept, min(steps.values(), default=None))
            except (EngineFailure, DivergedError) as error:
                failures[engine.name] = error
                steps[engine.name] = kept.trace.steps + 1
        if failures:
            raise StepFailure(failures, steps)

    def _alone(self, engine: Engine, kept: KeptRun, last: int | None) -> None:
        """Trains one engine; ends after a step that the other one could not take."""
        callbacks = [
            self.progress(engine.name, self.pair.run),
            _EndAfter(last),
            StopOnSignal(),
            Keep(kept, self.folder, temporary=True),
        ]
        with suppress(_EnoughError):
            train(
                self.pair.run, Guarded(engine), callbacks,
                trace=kept.trace, resume=kept.checkpoint,
            )  # fmt: skip

    def _side_by_side(self, inspect: Container[int], last: int, *, resync: bool) -> Found:
        """The stages of all steps up to the last that is asked for, and where they part first."""
        stages: list[StageAgreement] = []
        divergence = None
        if not last:
            return stages, divergence
        title = "re-synchronised" if resync else "stage by stage"
        traces = self._traces if resync else None
        with shown(title, self.pair, self.progress) as callback:
            for found in compare_steps(
                self.pair, last=last, resync=resync, inspect=inspect, traces=traces
            ):
                stages += found.agreements
                divergence = divergence or found.divergence
                callback.on_step(found.progress)
        return stages, divergence

    def _resynchronised(self, inspect: Container[int]) -> Found:
        """All steps, each from the state of the engine under test. Those that differ without being
        inspected are, in a second pass, up to the first that parts: rounding may have decided a
        kink in them."""
        stages, divergence = self._side_by_side(inspect, self.pair.run.steps, resync=True)
        apart = {one.step for one in stages if not one.agrees and one.step not in inspect}
        if not apart or divergence or not explains_kinks(self.pair):
            return stages, divergence
        ends = {step: [one for one in stages if one.step == step] for step in apart}
        again: dict[int, Sequence[StageAgreement]] = {}
        with shown("looking for where they part", self.pair, self.progress) as callback:
            for found in compare_steps(self.pair, last=max(apart), resync=True, inspect=apart):
                callback.on_step(found.progress)
                step, divergence = found.progress.step, found.divergence
                explained = step not in apart or differ_as_much(ends[step], found.agreements)
                if step in apart and (explained or divergence is not None):
                    again[step] = found.agreements
                if divergence is not None or not explained:
                    break
        stages = [one for one in stages if one.step not in again]
        stages += [one for agreements in again.values() for one in agreements]
        return sorted(stages, key=lambda one: one.step), divergence

    def _ask_further(self, comparison: Comparison) -> Comparison:
        """What agrees so far is compared in what such a run does not show.

        That is evaluation mode from one state, where batch norm has drifted; what each side's own
        parameters give; and, where every step started from the other's state, what an optimiser
        keeps to itself: in a few free steps, and in all steps the other way round.
        """
        quantities = dict(comparison.quantities)
        if self.pair.is_normalised:
            quantities["evaluation_mode"] = compare_in_evaluation_mode(self.pair, self._traces[0])
            comparison = replace(comparison, quantities=quantities)
        after = self._after_training(judge=True)
        if after is not None:
            return replace(comparison, divergence=after)
        if comparison.mode != "resync":
            return comparison
        free = run_freely(self.pair)
        undecided = free.undecided and free.divergence is None  # all steps both ways round tell
        if not undecided:
            quantities["free_run"] = free.agreement
            if not free.agreement.agrees:
                return replace(
                    comparison, quantities=quantities, divergence=free.divergence,
                    note=_free_note(free),
                )  # fmt: skip
        back = self._other_way_round()
        quantities["other_way_round"] = back.agreement
        note = f"where each goes its own way, {free.kinks}" if free.kinks else ""
        if not back.agreement.agrees:
            note = self._other_way_note(back)
        return replace(comparison, quantities=quantities, divergence=back.divergence, note=note)

    def _other_way_round(self) -> OtherWayRound:
        with shown("the other way round", self.pair, self.progress) as callback:
            return compare_other_way_round(self.pair, callback.on_step)

    def _other_way_note(self, back: OtherWayRound) -> str:
        names = self.pair.names
        where = "what is computed after the last one" if back.step is None else f"step {back.step}"
        under_test = back.divergence is not None and back.divergence.wrong == names[0]
        what = (GIVEN if under_test else FORGETS) if back.recorded else NOT_RECORDED
        return f"{OTHER_WAY}: {what}".format(*names, where)

    def _placed(self, comparison: Comparison) -> Comparison:
        """What disagrees, with the place where the two part, or what is known of it."""
        if _is_first(comparison):
            return self._named_again(comparison)
        after = self._after_training()
        if after is not None and comparison.disagreeing() <= AFTER_TRAINING:
            return replace(comparison, divergence=after)
        more, divergence = self._locate()
        comparison = replace(comparison, stages=[*comparison.stages, *more])
        if divergence is not None or after is not None:
            return replace(comparison, divergence=divergence or after)
        bare = next((one.step for one in comparison.stages if not one.agrees), None)
        if bare is not None and comparison.mode == "resync" and explains_kinks(self.pair):
            note = f"step {bare} does not agree; {NOT_RECORDED}"
            return replace(comparison, note=note)
        free = run_freely(self.pair)
        if not free.agreement.agrees:
            quantities = {**comparison.quantities, "free_run": free.agreement}
            comparison = replace(comparison, quantities=quantities)
            return replace(comparison, divergence=free.divergence, note=_free_note(free))
        return replace(comparison, divergence=None, note=self._rounding_note(comparison))

    def _across_kinks(self, comparison: Comparison, inspect: Container[int]) -> Comparison | None:
        """The same where both go on from one state after each step in which rounding has decided a
        kink; None if kinks are not all that drives the two apart."""
        if not explains_kinks(self.pair):
            return None
        kept = self._traces
        title = "looking for kinks that rounding decides"
        with shown(title, self.pair, self.progress) as callback:
            across = run_across_kinks(self.pair, inspect, callback.on_step)
        if across is None or not (across.is_telling and _same_bits(across.traces[0], kept[0])):
            return None
        title = "past these kinks, the other way round"
        with shown(title, self.pair, self.progress) as callback:
            back = run_other_way_round(self.pair, across.steps, callback.on_step)
        if back is None:
            return None
        again = back[1].losses
        if not np.array_equal(again, kept[1].losses[: len(again)]):
            return None
        if not compare_whole_runs(back[0], kept[1], self.pair.exact).agrees:
            return None
        stages = [one for one in across.stages if one.step in inspect]
        found = replace(
            compare_whole_runs(*across.traces, self.pair.exact),
            mode=comparison.mode,
            stages=stages,
            joined_after=across.steps,
            note=f"{across.words()}{comparison.apart_words()}",
        )
        return found if found.agrees else None

    def _after_training(self, judge: bool = False) -> Divergence | None:
        return part_after_training(*self._traces, self.pair.run, self.pair.exact, judge)

    def _named_again(self, comparison: Comparison) -> Comparison:
        """With a name for the mistake that fits the next step, too."""
        found = comparison.divergence
        if found is None or not found.wrong:
            return comparison
        again = inspect_step(self.pair, found.step)[1]
        if again is None or again.agreement.quantity != found.agreement.quantity:
            return comparison
        return replace(comparison, divergence=replace(found, words=again.words, wrong=again.wrong))

    def _rounding_note(self, comparison: Comparison) -> str:
        """What is said where every step agrees that both engines start from the same state."""
        if comparison.mode == "resync" or not comparison.disagreeing():
            return f"{SAME_START}; {NOT_MEASURED}"
        if self.pair.exact:
            return f"{SAME_START}; what differs is computed outside of the steps"
        under_test = self.pair.under_test
        adam = getattr(under_test, "adam", "torch")
        plain = self._traces[0] if type(under_test) is PyTorchEngine else None
        try:
            rounding = measure_rounding(self.pair.run, self.progress, adam, plain)
        except DivergedError:
            return (
                f"{SAME_START}; the effect of rounding cannot be measured, since the run diverges"
            )
        return f"{SAME_START}; {rounding_note(rounding, comparison)}"

    def _locate(self) -> Found:
        with shown("looking for where they part", self.pair, self.progress) as callback:
            return locate(self.pair, callback.on_step)

    def _failed(self, failure: StepFailure, mode: str) -> Comparison:
        """What one engine could not compute, and the other could, with the place where they part.

        Raises:
            Exception: What both raised, where they part nowhere before, or only by rounding.
        """
        error, *others = failure.failures.values()
        stages, divergence = self._locate()
        alike = divergence is not None and _is_alike(divergence)
        if alike or (others and divergence is None):
            raise error.error if isinstance(error, EngineFailure) else error
        words = [
            _failure_words(name, error, failure.steps[name])
            for name, error in failure.failures.items()
        ]
        return replace(
            compare_whole_runs(*self._traces, self.pair.exact),
            mode=mode,
            stages=stages,
            divergence=divergence,
            failure="; ".join(words),
        )


def _free_note(free: FreeRun) -> str:
    """What is said of steps in which each engine goes its own way; empty if there is nothing."""
    if free.agreement.agrees:
        return f"where each goes its own way, {free.kinks}" if free.kinks else ""
    if free.undecided:
        return (
            f"{SAME_START}, but where each goes its own way {free.kinks}, and too few steps are "
            "left to tell a mistake from what follows: compare more steps"
        )
    if free.driven:
        return f"{SAME_START}, but where each goes its own way {DRIVEN.format(free.driven)}"
    return HIDDEN


def _same_bits(a: Trace, b: Trace) -> bool:
    """Whether a run was repeated: what is said of the second holds for the first."""
    names = a.parameters.keys()
    return (
        np.array_equal(a.losses, b.losses)
        and names == b.parameters.keys()
        and all(np.array_equal(a.parameters[name], b.parameters[name]) for name in names)
    )


def _title(run: Run) -> str:
    """The objective, and what the run starts from, if that is not initial parameters."""
    title = run.objective.title
    return title if run.start is None else f"{title} ({run.start.name})"


def _failure_words(name: str, error: Exception, step: int) -> str:
    if not isinstance(error, EngineFailure):
        error = EngineFailure(name, error)
    return error.words(step)


class _EnoughError(Exception):
    """An engine has taken the step that the other one could not take."""


class _EndAfter(Callback):
    """Ends a run after a step, incomplete as it is: it has no latent means."""

    def __init__(self, last: int | None) -> None:
        self.last = last

    def on_step(self, now: Progress) -> None:
        if self.last is not None and now.step >= self.last:
            raise _EnoughError


def _is_alike(divergence: Divergence) -> bool:
    """Whether two runs that both end do not part before: by rounding alone, or both in numbers
    that are not finite."""
    agreement = divergence.agreement
    spoilt = bool(agreement.problem) and agreement.problem == "{} against {}".format(
        *agreement.values
    )
    if spoilt and not any(math.isfinite(value) for value in agreement.values):
        return True
    return any(word.startswith("rounding:") for word in divergence.words)


def _is_first(comparison: Comparison) -> bool:
    """Whether the two cannot have parted earlier, in a step that was not inspected, nor by
    rounding that free steps have added up."""
    divergence = comparison.divergence
    if divergence is None or divergence.passing == "start":
        return False
    if divergence.step != 1 and comparison.mode != "resync":
        return False
    return divergence.step == min(one.step for one in comparison.stages if not one.agrees)
