"""Writing traces of one engine, for a comparison later or elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from pyvae.data.images import ImageData
from pyvae.engines.engine import Engine
from pyvae.errors import UserError
from pyvae.files.arrays import write_arrays
from pyvae.files.writing import output_folder
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.run import Run
from pyvae.model.settings import Settings
from pyvae.model.stages import Probe, is_buffer
from pyvae.recipes import Recipe
from pyvae.runs.folder_lock import FolderLock
from pyvae.runs.run_json import write_run
from pyvae.terminal.step_progress import RunProgress
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Progress
from pyvae.training.feeds import batches
from pyvae.training.loop import start, train

__all__ = ["write_draws", "write_traces"]


def write_traces(
    engine: Engine,
    recipe: Recipe,
    runs: Sequence[Settings],
    data: ImageData,
    out: Path,
    probed: Container[int],
    follow: Path | None,
    console: Console,
    with_draws: bool = False,
    arguments: Sequence[str] = (),
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
        with_draws: Write what the run is given as well, into `draws`.
        arguments: The command that does this, for `run.json`; without, there is none.

    Raises:
        UserError: If the folder cannot be written or another run writes into it, the trace to
            follow does not fit, or the engine cannot be used in this way.
    """
    folders = [out / settings.objective if len(runs) > 1 else out for settings in runs]
    replaced = {out, *folders}  # nothing of it is removed before all is known to fit
    leaders = []
    for settings in runs:
        steps = settings.total_steps(len(data))
        leader = None if follow is None else _leader(follow, recipe, settings, steps, replaced)
        leaders.append(leader)
        if with_draws and settings.rng != "injected":
            raise UserError(
                f"--draws with --rng {settings.rng}", "leave it out", expected="--rng injected"
            )
        start(engine, recipe, settings)  # can it?
    with FolderLock(out):
        if arguments:
            about = {engine.name: engine.environment()}
            write_run(out, arguments, recipe.name, runs, data.describe(), about)
        for folder in replaced:
            Trace.remove(output_folder(folder), keep_folder=True)
        for settings, folder, leader in zip(runs, folders, leaders, strict=True):
            trace = Trace.of_run(Run(recipe, settings, data), engine)
            trace.mode = "free" if leader is None else "resync"
            title = f"{OBJECTIVES[settings.objective].title} in {engine.name}"
            try:
                with RunProgress(title, settings.batch_size, console) as progress:
                    writer = _Writer(trace, folder, probed, progress.observe)
                    train(
                        Run(recipe, settings, data), engine,
                        trace=trace, callbacks=[writer.observe], probe=writer.probe,
                        state=None if leader is None else _states(leader, recipe),
                    )  # fmt: skip
            finally:
                if trace.steps:
                    trace.save(folder)
            if with_draws:
                write_draws(recipe, settings, data, folder / "draws")


def write_draws(recipe: Recipe, settings: Settings, data: ImageData, folder: Path) -> None:
    """Writes all that a run is given, for an engine in another language: `initial.safetensors`
    (the parameters before the first step) and for each step `step-000001.safetensors` with
    `input` (B, 784), the noise, and dropout masks as 0 (drop) and 1 (keep).

    Arguments:
        recipe, settings, data: Of the run.
        folder: Is made.
    """
    output_folder(folder)
    initial = recipe.initial_parameters(settings.seed, settings.latent_dim, **settings.hyper)
    write_arrays(folder / "initial.safetensors", {k: v.numpy() for k, v in initial.items()})
    for step, x, draws in batches(Run(recipe, settings, data)):
        arrays = {
            name: draw.astype(np.uint8) if draw.dtype == bool else draw
            for name, draw in draws.items()
        }
        write_arrays(folder / f"step-{step:06d}.safetensors", {"input": x.numpy()} | arrays)


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


def _leader(
    follow: Path, recipe: Recipe, settings: Settings, steps: int, replaced: Collection[Path]
) -> Trace:
    """The trace to follow, after checking that it tells the state before every step."""
    folder = follow if (follow / "trace.json").is_file() else follow / settings.objective
    trace = Trace.load(folder)
    if folder.resolve() in {path.resolve() for path in replaced}:
        raise UserError(f"'{folder}' is the trace to follow", expected="another folder to write to")
    if trace.recipe != recipe.name:
        raise UserError(f"'{folder}' has recipe {trace.recipe}", expected=recipe.name)
    for name in ("objective", "latent_dim", "batch_size", "learning_rate", "dtype", "seed", "rng"):
        found, wanted = getattr(trace.settings, name), getattr(settings, name)
        if found != wanted:
            raise UserError(
                f"'{folder}' has {name.replace('_', ' ')} {found}", expected=str(wanted)
            )
    for name, wanted in settings.hyper.items():
        found = trace.settings.hyper.get(name)
        if found != wanted:
            raise UserError(
                f"'{folder}' has {name.replace('_', ' ')} {found}", expected=str(wanted)
            )
    missing = [step for step in range(1, steps) if step not in trace.probed]
    if missing:
        raise UserError(
            f"'{folder}' was not probed in step {missing[0]}",
            "write it again with --probe all",
            expected=f"a probe of every step from 1 to {steps - 1}",
        )
    return trace


def _states(leader: Trace, recipe: Recipe) -> Callable[[int], Probe | None]:
    """What a step starts from: where the leader stood after the step before."""
    initial = recipe.initial_parameters(
        leader.settings.seed, leader.settings.latent_dim, **leader.settings.hyper
    )
    shapes = {
        f"{kind}/{name}": tuple(value.shape)
        for name, value in initial.items()
        for kind in (("buffer",) if is_buffer(name) else ("parameter", "moment1", "moment2"))
    }

    def state(step: int) -> Probe | None:
        if step == 1:
            return None
        found = leader.state_after(step - 1)
        for key, shape in shapes.items():
            if key not in found or found[key].shape != shape:
                raise UserError(
                    f"'{leader.folder}' has no {key} {shape} in its probe of step {step - 1}",
                    "write it again",
                    expected="all that docs/trace-format.md lists",
                )
        return found

    return state
