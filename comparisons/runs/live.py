"""Running both engines through the same run."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Container, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from comparisons.agreement.arrays import Agreement, compare_arrays
from comparisons.agreement.stage import StageAgreement
from comparisons.agreement.tolerances import EVALUATION_RULES, EXACT, is_normalised
from comparisons.diagnosis.first_divergence import Divergence
from comparisons.runs.after_training import AFTER_TRAINING, part_after_training
from comparisons.runs.comparison import Comparison, compare_traces
from comparisons.runs.failures import EngineFailure, Guarded
from comparisons.runs.free_run import FreeRun, run_freely
from comparisons.runs.lockstep import StepFailure, locate, look, look_into
from comparisons.runs.rounding import Watcher, measure_rounding, rounding_note
from pyvae.data.images import ImageData
from pyvae.engines.engine import DivergedError, Engine
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.files.csv import csv_text
from pyvae.files.writing import output_folder, write_file
from pyvae.model.draws import Draws
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.run import Run
from pyvae.model.settings import Settings
from pyvae.model.stages import is_buffer
from pyvae.recipes import Recipe
from pyvae.runs.kept_run import KeptRun
from pyvae.runs.signals import stopping_between_steps
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Progress
from pyvae.training.checkpoint import Checkpoint
from pyvae.training.loop import start, train

__all__ = ["run_comparisons"]

INTERRUPTED = "interrupted"
SAME_START = "every step agrees when both engines start it from the same state"
NOT_MEASURED = (
    "what disagrees is within what a step may differ by, or a stage of a run in which each engine "
    "goes its own way: look at stages.csv, and compare in float64 or with --mode resync"
)
HIDDEN = (
    f"{SAME_START}, and a few steps in which each goes its own way do not: an engine keeps "
    "something from step to step that is not in its state (the maximum of AMSGrad, a second "
    "momentum, a schedule)"
)


def run_comparisons(
    under_test: Engine,
    reference: Engine,
    recipe: Recipe,
    runs: Sequence[Settings],
    data: ImageData,
    out: Path,
    watch: Callable[[str, Settings], AbstractContextManager[Watcher]],
    say: Callable[[str], object] = print,
    mode: str = "free",
    probed: Container[int] = (1,),
    exact: bool = False,
    *,
    resumed: bool = False,
    guard: Callable[[], bool] = lambda: False,
) -> list[Comparison]:
    """Runs both engines through every run on the same draws, and compares.

    Where they disagree they run again, as far as is needed to find the first place where they
    part. Traces are written to `out/traces/OBJECTIVE-ENGINE`. If a run is interrupted, what was
    computed so far is left in `out/interrupted` and the exception goes on; the same call later
    goes on from there (mode `free`).

    Arguments:
        under_test: The engine under test.
        reference: What it is held against.
        recipe, data: What is trained, on which images.
        runs: One for each objective.
        out: An existing folder.
        watch: Gives a context manager that shows the progress of what is named.
        say: Called with one line on an interrupted run: where its results are, or what is done
            with them.
        mode: `free`, or `resync`: each step starts from the state of the engine under test.
        probed: The steps (from 1) whose stages are compared.
        exact: Every bit has to be equal.
        resumed: Runs whose complete traces are in `out/traces` are not run again.
        guard: Asked after every step; True if `out` had been removed and was made again.
    """
    traces: list[Trace] = []
    runs_kept: list[KeptRun] = []
    comparisons = []
    try:
        for settings in runs:
            pair = (
                Trace.of_run(Run(recipe, settings, data), under_test),
                Trace.of_run(Run(recipe, settings, data), reference),
            )
            pair[1].mode = mode
            traces += pair
            done = out / "traces" if resumed else None
            kept = [_kept_run(out / INTERRUPTED, trace, mode == "resync", done) for trace in pair]
            runs_kept += kept
            run = _Run(under_test, reference, recipe, settings, data, pair, watch, exact, guard)
            comparisons.append(run.compare(mode, probed, kept, say))
    except BaseException:
        if any(trace.steps for trace in traces):
            say(f"kept what was computed: {_keep_interrupted(runs_kept, out)}")
        raise
    # what was kept goes when its results are safe
    _save_traces(traces, out / "traces")
    names = {_name(trace) for trace in traces}
    _clear_traces(out / "traces", lambda name: name not in names)
    mine = {run.folder.name for run in runs_kept}
    _clear_traces(out / INTERRUPTED, lambda name: name in mine)
    return comparisons


@dataclass(frozen=True)
class _Run:
    """One objective of a comparison."""

    under_test: Engine
    reference: Engine
    recipe: Recipe
    settings: Settings
    data: ImageData
    traces: tuple[Trace, Trace]
    watch: Callable[[str, Settings], AbstractContextManager[Watcher]]
    exact: bool
    guard: Callable[[], bool]

    @property
    def _all(self) -> tuple[Engine, Engine, Recipe, Settings, ImageData]:
        return self.under_test, self.reference, self.recipe, self.settings, self.data

    def compare(
        self,
        mode: str,
        probed: Container[int],
        kept: Sequence[KeptRun],
        say: Callable[[str], object],
    ) -> Comparison:
        steps = self.settings.total_steps(len(self.data))
        try:
            if mode == "resync":
                stages, divergence = self._side_by_side(
                    "re-synchronised", resync=True, probed=probed, last=steps, traces=self.traces
                )
            else:
                self._each_alone(kept, say)
                last = max((step for step in range(1, steps + 1) if step in probed), default=0)
                stages, divergence = self._side_by_side(
                    "stage by stage", resync=False, probed=probed, last=last
                )
            comparison = replace(
                compare_traces(*self.traces, self.exact),
                mode=mode,
                stages=stages,
                divergence=divergence,
            )
            if comparison.agrees:
                return self._looked_further(comparison)
            return self._placed(comparison)
        except StepFailure as failure:
            return self._failed(failure, mode)
        except EngineFailure as failure:  # in evaluation mode
            return self._failed(
                StepFailure({failure.engine: failure}, {failure.engine: steps}), mode
            )

    def _each_alone(self, kept: Sequence[KeptRun], say: Callable[[str], object]) -> None:
        """Trains both, as far as they come.

        Raises:
            StepFailure: If one cannot take a step; the other one then has taken it, or tried.
        """
        engines = (self.under_test, self.reference)
        failures: dict[str, Exception] = {}
        steps: dict[str, int] = {}
        for engine, run in zip(engines, kept, strict=True):
            if run.found:
                title = OBJECTIVES[self.settings.objective].title
                say(f"{title} in {engine.name}: {run.found}")
            if run.complete:
                continue
            try:
                self._alone(engine, run, min(steps.values(), default=None))
            except (EngineFailure, DivergedError) as error:
                failures[engine.name] = error
                steps[engine.name] = run.trace.steps + 1
        if failures:
            raise StepFailure(failures, steps)

    def _looked_further(self, comparison: Comparison) -> Comparison:
        """What agrees so far, asked for what such a run does not show: evaluation mode from one
        state where batch norm has drifted, what each side's own parameters give, and what an
        optimiser keeps to itself where every step was begun from the other's state."""
        if is_normalised(self.recipe.stages):
            quantities = {**comparison.quantities, "evaluation_mode": self._evaluated()}
            comparison = replace(comparison, quantities=quantities)
        after = self._after(judge=True)
        if after is not None:
            return replace(comparison, divergence=after)
        if comparison.mode != "resync":
            return comparison
        free = self._freely()
        quantities = {**comparison.quantities, "free_run": free.agreement}
        note = ""
        if not free.agreement.agrees:
            note = HIDDEN
        return replace(comparison, quantities=quantities, divergence=free.divergence, note=note)

    def _placed(self, comparison: Comparison) -> Comparison:
        """What disagrees, with the place where the two part, or what is known of it."""
        if _is_first(comparison):
            return self._named_again(comparison)
        after = self._after()
        if after is not None and comparison.disagreeing() <= AFTER_TRAINING:
            return replace(comparison, divergence=after)
        more, divergence = self._locate()
        comparison = replace(comparison, stages=[*comparison.stages, *more])
        if divergence is not None or after is not None:
            return replace(comparison, divergence=divergence or after)
        free = self._freely()
        if not free.agreement.agrees:
            quantities = {**comparison.quantities, "free_run": free.agreement}
            comparison = replace(comparison, quantities=quantities)
            return replace(comparison, divergence=free.divergence, note=HIDDEN)
        return replace(comparison, divergence=None, note=self._rounding_note(comparison))

    def _after(self, judge: bool = False) -> Divergence | None:
        return part_after_training(*self.traces, self.recipe, self.data, self.exact, judge)

    def _named_again(self, comparison: Comparison) -> Comparison:
        """With a name for the mistake that fits the next step, too."""
        found = comparison.divergence
        if found is None or not found.wrong:
            return comparison
        again = look_into(found.step, *self._all, self.exact)[1]
        if again is None or again.agreement.quantity != found.agreement.quantity:
            return comparison
        return replace(comparison, divergence=replace(found, words=again.words, wrong=again.wrong))

    def _rounding_note(self, comparison: Comparison) -> str:
        """What is said where every step agrees that both engines start from the same state."""
        if comparison.mode == "resync" or not comparison.disagreeing():
            return f"{SAME_START}; {NOT_MEASURED}"
        if self.exact:
            return f"{SAME_START}: what differs is computed outside of the steps"
        adam = getattr(self.under_test, "adam", "torch")
        plain = self.traces[0] if type(self.under_test) is PyTorchEngine else None
        try:
            rounding = measure_rounding(
                self.recipe, self.settings, self.data, self.watch, adam, plain
            )
        except DivergedError:
            return f"{SAME_START}; how far rounding goes cannot be measured: the run diverges"
        return f"{SAME_START}; {rounding_note(rounding, comparison)}"

    def _alone(self, engine: Engine, kept: KeptRun, last: int | None = None) -> None:
        """Trains one engine; ends after a step that the other one could not take."""
        with (
            stopping_between_steps() as told,
            self.watch(engine.name, self.settings) as watcher,
        ):

            def observe(progress: Progress) -> None:
                removed = self.guard()
                stop = told() and progress.step < progress.steps
                kept.observe(progress, now=stop or removed)
                kept.show(progress, watcher.observe)
                if stop:
                    raise KeyboardInterrupt
                if last is not None and progress.step >= last:
                    raise _EnoughError

            with suppress(_EnoughError):
                train(
                    Run(self.recipe, self.settings, self.data), Guarded(engine),
                    trace=kept.trace, callbacks=[observe], resume=kept.checkpoint,
                )  # fmt: skip
            stop = told()
        kept.finish()
        if stop:  # in the last step
            raise KeyboardInterrupt

    def _side_by_side(
        self, how: str, last: int, **options: Any
    ) -> tuple[list[StageAgreement], Divergence | None]:
        """The stages of all steps up to the last that is asked for, and where they part first."""
        stages: list[StageAgreement] = []
        divergence = None
        if last:
            with self._watched(how) as watcher:
                for seen in look(*self._all, last=last, exact=self.exact, **options):
                    stages += seen.agreements
                    divergence = divergence or seen.divergence
                    watcher.observe(seen.progress)
        return stages, divergence

    def _watched(self, how: str) -> AbstractContextManager[Watcher]:
        return self.watch(f"{self.under_test.name} and {self.reference.name}, {how}", self.settings)

    def _evaluated(self) -> Agreement:
        """Latent means and decoded images of both engines in evaluation mode, from the final
        parameters and running statistics of the engine under test."""
        dtype = self.settings.dtype
        state: dict[str, NDArray] = {"step": np.array(1)}
        for name, value in self.traces[0].parameters.items():
            if is_buffer(name):
                state[f"buffer/{name}"] = value
                continue
            state[f"parameter/{name}"] = value
            state |= {f"{moment}/{name}": np.zeros_like(value) for moment in ("moment1", "moment2")}
        size = self.settings.batch_size
        x = self.data.batch(np.arange(size), self.settings.torch_dtype)
        z = Draws(self.settings.seed, dtype).normal("samples", 0, (16, self.settings.latent_dim))
        seen = []
        for engine in (Guarded(self.under_test), Guarded(self.reference)):
            start(engine, self.recipe, self.settings)
            engine.restore(state)
            means = engine.latent_means(x, None, training=False)
            seen.append({"mu": means, "decoded": engine.decode(z)})
        rule = EXACT if self.exact else EVALUATION_RULES[dtype]
        return compare_arrays(seen[0], seen[1], rule, dtype)

    def _freely(self) -> FreeRun:
        return run_freely(*self._all, exact=self.exact)

    def _locate(self) -> tuple[list[StageAgreement], Divergence | None]:
        with self._watched("looking for where they part") as watcher:
            return locate(*self._all, observe=watcher.observe, exact=self.exact)

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
            compare_traces(*self.traces, self.exact),
            mode=mode,
            stages=stages,
            divergence=divergence,
            failure="; ".join(words),
        )


def _failure_words(name: str, error: Exception, step: int) -> str:
    if not isinstance(error, EngineFailure):
        error = EngineFailure(name, error)
    return error.words(step)


class _EnoughError(Exception):
    """An engine has taken the step that the other one could not take."""


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
    """Whether the two cannot have parted earlier, in a step that was not looked into, nor by
    rounding that free steps have added up."""
    divergence = comparison.divergence
    if divergence is None or divergence.passing == "start":
        return False
    if divergence.step != 1 and comparison.mode != "resync":
        return False
    return divergence.step == min(one.step for one in comparison.stages if not one.agrees)


def _keep_interrupted(runs: Sequence[KeptRun], out: Path) -> Path:
    """Leaves what was computed in a folder of its own, apart from finished results."""
    runs = [run for run in runs if run.trace.steps]
    folder = output_folder(out / INTERRUPTED)
    history = pd.concat([run.trace.history() for run in runs], ignore_index=True)
    write_file(folder / "history.csv", csv_text(history))
    for run in runs:
        run.keep()
    return folder


def _kept_run(folder: Path, trace: Trace, resync: bool, done: Path | None) -> KeptRun:
    """Where a run is kept: with what there is of it, if it was interrupted; never in place of
    another run, which somebody may want to go on with. `done` is where it may be complete."""
    name = _name(trace)
    if resync:  # does not go on: nothing of an earlier run belongs into the trace
        run = KeptRun(folder / f"{name}-resync", replace(trace))
        run.trace = trace
        return run
    if done is not None:
        run = KeptRun(done / name, trace)
        if run.complete:
            return run
    for path in sorted(folder.glob("*/trace.json")):
        if re.fullmatch(rf"{re.escape(name)}(-\d+)?", path.parent.name):
            run = KeptRun(path.parent, trace)
            if run.complete or run.checkpoint:
                return run
    others = ""
    for number in itertools.count(1):
        run = KeptRun(folder / (f"{name}-{number}" if number > 1 else name), trace)
        if not run.taken:
            break
        others = others or run.found
    run.found = run.found or others  # why it starts again
    return run


def _clear_traces(folder: Path, is_old: Callable[[str], bool]) -> None:
    """Removes the traces of these names that an earlier comparison left, and nothing else: the
    folder is the user's."""
    found = [path.parent for path in folder.glob("*/trace.json")]
    mine = [path for path in found if is_old(path.name)]
    for path in mine:
        Checkpoint.remove(path)
        Trace.remove(path)
    if found and len(mine) == len(found):
        (folder / "history.csv").unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()


def _save_traces(traces: Sequence[Trace], folder: Path) -> None:
    for trace in traces:
        trace.save(output_folder(folder / _name(trace)))


def _name(trace: Trace) -> str:
    return f"{trace.settings.objective}-{trace.engine}"
