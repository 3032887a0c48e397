"""Writing traces of one engine, for a comparison later or elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from pathlib import Path

from rich.console import Console

from pyvae.data import ImageData
from pyvae.engine import Engine
from pyvae.errors import UserError
from pyvae.files import output_folder
from pyvae.objectives import OBJECTIVES
from pyvae.progress import RunProgress
from pyvae.recipes import Recipe
from pyvae.settings import Settings
from pyvae.stages import Probe
from pyvae.trace import Trace
from pyvae.training import Progress, train

__all__ = ["write_traces"]


def write_traces(
    engine: Engine,
    recipe: Recipe,
    runs: Sequence[Settings],
    data: ImageData,
    out: Path,
    probed: Container[int],
    follow: Path | None,
    console: Console,
) -> None:
    """Trains and writes one trace for each run: into `out`, or, for several, into a folder of it
    for each objective. What was there of an earlier trace is replaced.

    Arguments:
        engine: Who computes.
        recipe, runs, data: What.
        out: The folder.
        probed: The steps (from 1) whose stages are written too.
        follow: A trace whose state every step starts from; it must have been probed throughout.
        console: Shows the progress.

    Raises:
        UserError: If the folder cannot be written, or the trace to follow does not fit.
    """
    folders = [out / settings.objective if len(runs) > 1 else out for settings in runs]
    leaders = [
        None if follow is None else _leader(follow, settings, settings.total_steps(len(data)))
        for settings in runs
    ]
    for settings, folder, leader in zip(runs, folders, leaders, strict=True):
        output_folder(folder)
        Trace.remove(folder)
        output_folder(folder)
        trace = Trace.of_run(engine, recipe, settings, data)
        trace.mode = "free" if leader is None else "resync"
        title = f"{OBJECTIVES[settings.objective].title} in {engine.name}"
        try:
            with RunProgress(title, settings.batch_size, console) as progress:
                writer = _Writer(trace, folder, probed, progress.observe)
                train(
                    engine, recipe, settings, data, trace=trace, observe=writer.observe,
                    probe=writer.probe, state=None if leader is None else _states(leader),
                )  # fmt: skip
        finally:
            if trace.steps:
                trace.save(folder)


class _Writer:
    """Hands out a dict for each probed step, and writes it when the step is done."""

    def __init__(
        self,
        trace: Trace,
        folder: Path,
        probed: Container[int],
        observe: Callable[[Progress], object],
    ) -> None:
        self.trace, self.folder, self.probed, self.then = trace, folder, probed, observe
        self.seen: Probe | None = None

    def probe(self, step: int) -> Probe | None:
        self.seen = {} if step in self.probed else None
        return self.seen

    def observe(self, progress: Progress) -> None:
        if self.seen is not None:
            self.trace.save_probe(self.folder, progress.step, self.seen)
            self.seen = None
        self.then(progress)


def _leader(follow: Path, settings: Settings, steps: int) -> Trace:
    """The trace to follow, after checking that it tells the state before every step."""
    folder = follow if (follow / "trace.json").is_file() else follow / settings.objective
    trace = Trace.load(folder)
    if trace.settings.objective != settings.objective:
        raise UserError(f"'{folder}' has objective {trace.settings.objective}", settings.objective)
    missing = [step for step in range(1, steps) if step not in trace.probed]
    if missing:
        raise UserError(
            f"'{folder}' was not probed in step {missing[0]}",
            f"a probe of every step from 1 to {steps - 1}",
            "write it again with --probe all",
        )
    return trace


def _states(leader: Trace) -> Callable[[int], Probe | None]:
    """What a step starts from: where the leader stood after the step before."""

    def state(step: int) -> Probe | None:
        return None if step == 1 else leader.state_after(step - 1)

    return state
