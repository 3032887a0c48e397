"""Running both engines through the same run."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Container, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from comparisons.agreement import EVALUATION_RULES, EXACT, Agreement, compare_arrays, is_normalised
from comparisons.comparison import Comparison, compare_traces
from comparisons.localisation import Divergence
from comparisons.lockstep import FAILURES, locate, look
from comparisons.stage_agreement import StageAgreement
from pyvae.checkpoint import Checkpoint
from pyvae.data import ImageData
from pyvae.draws import Draws
from pyvae.engine import DivergedError, Engine
from pyvae.errors import UserError
from pyvae.files import output_folder, write_file
from pyvae.objectives import OBJECTIVES
from pyvae.recipes import Recipe
from pyvae.resume import KeptRun
from pyvae.settings import Settings
from pyvae.stages import is_buffer
from pyvae.stopping import stopping_between_steps
from pyvae.trace import Trace, csv_text
from pyvae.training import Progress, start, train
from r_bridge.worker import RProcessError

__all__ = ["run_comparisons"]

INTERRUPTED = "interrupted"
DRIFT = (
    "every step agrees when both engines start it from the same state: no single stage is at "
    "fault, the difference has grown from rounding"
)


class Watcher(Protocol):
    """Shows a run's progress."""

    def observe(self, progress: Progress) -> None: ...


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
                Trace.of_run(under_test, recipe, settings, data),
                Trace.of_run(reference, recipe, settings, data),
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
                for engine, run in zip((self.under_test, self.reference), kept, strict=True):
                    if run.found:
                        title = OBJECTIVES[self.settings.objective].title
                        say(f"{title} in {engine.name}: {run.found}")
                    if not run.complete:
                        self._alone(engine, run)
                last = max((step for step in range(1, steps + 1) if step in probed), default=0)
                stages, divergence = self._side_by_side(
                    "stage by stage", resync=False, probed=probed, last=last
                )
        except RProcessError:
            raise
        except FAILURES as error:
            raise self._failed(error) from error
        comparison = replace(
            compare_traces(*self.traces, self.exact),
            mode=mode,
            stages=stages,
            divergence=divergence,
        )
        if comparison.agrees and is_normalised(self.recipe.stages):
            with_evaluation = {
                **comparison.quantities,
                "evaluation_mode": self._evaluated(),
            }
            return replace(comparison, quantities=with_evaluation)
        if comparison.agrees or _is_first(divergence, stages):
            return comparison
        more, divergence = self._locate()
        note = DRIFT if divergence is None else ""
        return replace(comparison, stages=[*stages, *more], divergence=divergence, note=note)

    def _alone(self, engine: Engine, kept: KeptRun) -> None:
        with (
            stopping_between_steps() as told,
            self.watch(engine.name, self.settings) as watcher,
        ):

            def observe(progress: Progress) -> None:
                removed = self.guard()
                stop = told() and progress.step < progress.steps
                kept.observe(progress, now=stop or removed)
                watcher.observe(progress)
                if stop:
                    raise KeyboardInterrupt

            train(
                engine, self.recipe, self.settings, self.data,
                trace=kept.trace, observe=observe, resume=kept.checkpoint,
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
            names = f"{self.under_test.name} and {self.reference.name}, {how}"
            with self.watch(names, self.settings) as watcher:
                for seen in look(*self._all, last=last, exact=self.exact, **options):
                    stages += seen.agreements
                    divergence = divergence or seen.divergence
                    watcher.observe(seen.progress)
        return stages, divergence

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
        for engine in (self.under_test, self.reference):
            start(engine, self.recipe, self.settings)
            engine.restore(state)
            means = engine.latent_means(x, None, training=False)
            seen.append({"mu": means, "decoded": engine.decode(z)})
        rule = EXACT if self.exact else EVALUATION_RULES[dtype]
        return compare_arrays(seen[0], seen[1], rule, dtype)

    def _locate(self) -> tuple[list[StageAgreement], Divergence | None]:
        names = f"{self.under_test.name} and {self.reference.name}, looking for where they part"
        with self.watch(names, self.settings) as watcher:
            return locate(*self._all, observe=watcher.observe, exact=self.exact)

    def _failed(self, error: Exception) -> Exception:
        """The error of an engine that gave up, with the place where the two part, if they do."""
        _, divergence = self._locate()
        if divergence is None:
            return error
        if isinstance(error, DivergedError) and _is_rounding(divergence):
            return error  # both diverge: where numbers leave their range rounding is no mistake
        looks_like = "; ".join(divergence.words)
        return UserError(
            " ".join(str(error).split()),
            "",
            f"the two part first at {divergence.sentence()}" + (looks_like and f": {looks_like}"),
        )


def _is_rounding(divergence: Divergence) -> bool:
    return any(word.startswith("rounding:") for word in divergence.words)


def _is_first(divergence: Divergence | None, stages: Sequence[StageAgreement]) -> bool:
    """Whether the two cannot have parted earlier, in a step that was not looked into."""
    if divergence is None or divergence.passing == "start":
        return False
    return divergence.step == min(stage.step for stage in stages if not stage.agrees)


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
