"""Recording a run: a trace with the values of every stage, for a comparison later or elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyvae.engines.engine import Engine
from pyvae.errors import UserError
from pyvae.files.arrays import write_arrays
from pyvae.files.reading import says
from pyvae.files.writing import output_folder
from pyvae.model.run import Run, as_runs
from pyvae.model.settings import Settings
from pyvae.model.stages import Probe, is_buffer
from pyvae.model.start import start_name
from pyvae.recipes import Recipe
from pyvae.runs.run_folder import RunFolder
from pyvae.trace.program import is_program_trace
from pyvae.trace.trace import Trace
from pyvae.trace.trace_folder import HEADER
from pyvae.training.callbacks import Callback, Progress
from pyvae.training.feeds import batches
from pyvae.training.inputs import check_run
from pyvae.training.loop import start, train

__all__ = ["record_traces", "write_draws"]


def record_traces(
    folder: RunFolder | Path | str,
    runs: Run | Sequence[Run],
    engine: Engine,
    callbacks: Sequence[Callback | Callable[[Progress], object]] = (),
    *,
    probed: Container[int] = (),
    follow: Path | str | None = None,
    draws: bool = False,
) -> list[Trace]:
    """Trains runs and writes a trace of each, for a comparison later or elsewhere.

    A trace of a recipe that is there is replaced; that of a program, which cannot be computed
    again from its settings, is not.

    Arguments:
        folder: Gets the trace, or, of several runs, a folder for each, with its objective's name. A
            `RunFolder` also writes `run.json`.
        runs: What is trained, each with another objective.
        engine: Computes the steps.
        callbacks: As for `pyvae.train`, for every run.
        probed: The steps (from 1) of which every stage is written, too.
        follow: A trace from whose state every step starts; it must have been probed throughout.
        draws: Also write what a run is given, into `draws`.

    Returns:
        The traces, complete.

    Raises:
        UserError: If the folder cannot be written, holds the trace of a program, or another run
            writes into it, the trace to follow does not fit, or the engine cannot be used in this
            way.
    """
    runs = as_runs(runs)
    folder = folder if isinstance(folder, RunFolder) else RunFolder(folder)
    out = folder.path
    places = [out / run.settings.objective if len(runs) > 1 else out for run in runs]
    replaced = {out, *places}  # nothing of it is removed before everything is known to fit
    _check_replaced(replaced)
    leaders = [None if follow is None else _leader(Path(follow), run, replaced) for run in runs]
    for run in runs:
        if draws and run.settings.rng != "injected":
            raise UserError(
                f"--draws cannot be used with --rng {run.settings.rng}", "use --rng injected"
            )
        check_run(run)
        start(engine, run)  # raises an error if it cannot
    with folder:
        folder.write_about(runs, [engine])
        for place in replaced:
            Trace.remove(output_folder(place), keep_folder=True)
        return [
            _record(run, engine, place, callbacks, probed, leader, draws)
            for run, place, leader in zip(runs, places, leaders, strict=True)
        ]


def _record(
    run: Run,
    engine: Engine,
    folder: Path,
    callbacks: Sequence[Callback | Callable[[Progress], object]],
    probed: Container[int],
    leader: Trace | None,
    draws: bool,
) -> Trace:
    trace = Trace.of_run(run, engine)
    trace.mode = "free" if leader is None else "resync"
    probes = _Probes(trace, folder, probed)
    state = None if leader is None else _states(leader, run.recipe)
    try:
        train(run, engine, [probes, *callbacks], trace=trace, probe=probes.probe, state=state)
    finally:
        if trace.steps:
            trace.save(folder)
    if draws:
        write_draws(run, folder / "draws")
    return trace


def write_draws(run: Run, folder: Path) -> None:
    """Writes all that a run is given, for an engine in another language.

    `initial.safetensors` has the parameters before the first step, and `step-000001.safetensors`
    and so on have, for each step, `input` (B, 784), the noise, and dropout masks as 0 (drop) and 1
    (keep).

    Arguments:
        run: What is trained.
        folder: Is made if need be.
    """
    output_folder(folder)
    settings = run.settings
    if run.start is not None:
        initial = {k: np.array(v, settings.dtype) for k, v in run.start.parameters.items()}
    else:
        drawn = run.recipe.initial_parameters(settings.seed, settings.latent_dim, **settings.hyper)
        initial = {name: value.numpy() for name, value in drawn.items()}
    write_arrays(folder / "initial.safetensors", initial)
    for step, x, draws in batches(run):
        arrays = {
            name: draw.astype(np.uint8) if draw.dtype == bool else draw
            for name, draw in draws.items()
        }
        write_arrays(folder / f"step-{step:06d}.safetensors", {"input": x.numpy()} | arrays)


class _Probes(Callback):
    """Hands out a dict for each probed step, and writes it when the step is done."""

    def __init__(self, trace: Trace, folder: Path, probed: Container[int]) -> None:
        self.trace, self.folder, self.probed = trace, folder, probed
        self.seen: Probe | None = None

    def probe(self, step: int) -> Probe | None:
        self.seen = {} if step in self.probed else None
        return self.seen

    def on_step(self, now: Progress) -> None:
        if self.seen is not None:
            self.trace.save_probe(self.folder, now.step, self.seen)
            self.seen = None


def _check_replaced(folders: Collection[Path]) -> None:
    """Raises UserError where the trace of a program, or what is no trace, would be replaced."""
    for folder in sorted(folders):
        if (folder / HEADER).exists() and not says(folder / HEADER, "format"):
            raise UserError(
                f"folder '{folder}' has a file {HEADER} that is no trace",
                "choose another folder with --out",
            )
        if is_program_trace(folder):
            raise UserError(
                f"folder '{folder}' holds the trace of a program",
                "choose another folder with --out",
            )


def _leader(follow: Path, run: Run, replaced: Collection[Path]) -> Trace:
    """The trace to follow, after checking that it holds the state before every step."""
    settings = run.settings
    folder = follow if (follow / "trace.json").is_file() else follow / settings.objective
    trace = Trace.load(folder)
    if folder.resolve() in {path.resolve() for path in replaced}:
        raise UserError(f"'{folder}' is the trace to follow", "write to another folder")
    found, wanted = _followed(trace.recipe, trace.settings), _followed(run.recipe.name, settings)
    for name, value in wanted.items():
        if found.get(name) != value:
            raise UserError(
                f"the trace to follow, '{folder}', has {name.replace('_', ' ')} {found.get(name)}, "
                f"and this run {value}",
                "follow a trace of the same run",
            )
    begun = {} if run.start is None else run.start.describe()
    if trace.start.get("sha256") != begun.get("sha256"):
        raise UserError(
            f"the trace to follow, '{folder}', starts from {start_name(trace.start)} parameters, "
            f"and this run from {start_name(begun)}",
            "follow a trace of the same run",
        )
    missing = [step for step in range(1, run.steps) if step not in trace.probed]
    if missing:
        raise UserError(
            f"'{folder}' was not probed in step {missing[0]}", "record it again with --probe all"
        )
    return trace


def _followed(recipe: str, settings: Settings) -> dict[str, Any]:
    """What has to be alike in a run and the one that it follows."""
    names = ("objective", "latent_dim", "batch_size", "learning_rate", "dtype", "seed", "rng")
    about = {name: getattr(settings, name) for name in names}
    return {"recipe": recipe} | about | dict(settings.hyper)


def _states(leader: Trace, recipe: Recipe) -> Callable[[int], Probe | None]:
    """What each step starts from: the leader's state after the step before."""
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
                    "record it again",
                )
        return found

    return state
