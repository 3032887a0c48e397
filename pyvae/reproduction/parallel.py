"""Training the runs of write-ups side by side, in other processes or on other machines."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from pyvae.data.images import ImageData
from pyvae.engines.allocator import keep_freed_memory
from pyvae.engines.devices import choose_device
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.files.writing import output_folder
from pyvae.model.run import Run
from pyvae.model.settings import Settings
from pyvae.parallel.jobs import Job, Workers, read_back
from pyvae.recipes import get_recipe
from pyvae.reproduction.planned_runs import PlannedRun, Sets, sets_of
from pyvae.runs.keep import kept_training
from pyvae.runs.kept_run import KeptRun
from pyvae.terminal.job_progress import RunsProgress
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Progress

__all__ = ["train_side_by_side"]


def train_side_by_side(
    runs: Sequence[PlannedRun],
    sets: Sets,
    folder: Path,
    device: str,
    workers: Workers,
    console: Console,
    say: Callable[[str], object],
) -> dict[Path, Trace]:
    """Trains all runs that are not done yet, or what is left of them.

    Arguments:
        runs: Which; of several in one folder, which are the same, one.
        sets: Images to train on and to test with.
        folder: That all runs' folders are in.
        device: Where each is trained: `auto` is on all workers what it is here.
        workers: Who trains.
        console, say: Show the progress.

    Returns:
        The traces, by their folders.

    Raises:
        UserError: If a run fails, or cannot be read; those that are done stay, the others go on
            from their last checkpoints when they are asked for again.
    """
    device = choose_device(device).type
    traces: dict[Path, Trace] = {}
    missing: dict[str, PlannedRun] = {}
    jobs: list[Job] = []
    images: dict[str, ImageData] = {}
    for run in runs:
        if run.folder in traces or str(run.folder) in missing:
            continue
        train, test = sets_of(run.planned, sets)
        done = _read(run, train, device, say)
        if done is not None:
            traces[run.folder] = done
            continue
        given = {f"{train.name}, to train on": train}
        if run.planned.test:
            given[f"{test.name}, to test with"] = test
        images |= given
        missing[str(run.folder)] = run
        what = (run.planned.recipe, run.settings, run.folder.resolve(), device)
        arguments = (*what, run.planned.checkpoint_every)
        jobs.append(Job(str(run.folder), run.title, _train, arguments, tuple(given)))
    if not jobs:
        return traces
    say(f"{len(jobs)} run{'s' if len(jobs) > 1 else ''} by {workers}")
    with (
        RunsProgress(console, len(jobs), lines=True) as progress,
        closing(workers.run(jobs, images, output_folder(folder))) as finished,
    ):
        for job, result, where in finished:
            run = missing[job.key]
            for line in result.said:
                say(line)
            train = sets_of(run.planned, sets)[0]
            trace = read_back(partial(_read, run, train, device), run.folder, where)
            traces[run.folder] = trace
            progress.add(f"{run.title}: {result.words(run.settings)}", where=where)
    return traces


def _read(
    run: PlannedRun, train: ImageData, device: str, say: Callable[[str], object] = lambda line: None
) -> Trace | None:
    """The trace of a run that is done; None of another."""
    recipe = get_recipe(run.planned.recipe)
    trace = Trace.of_run(Run(recipe, run.settings, train), PyTorchEngine(device))
    kept = KeptRun(run.folder, trace)
    if not kept.complete:
        return None
    say(f"{run.folder.name}: {kept.found}")
    return trace


class _Trained(NamedTuple):
    """What a worker did: steps, in how many seconds, and what it had to say."""

    steps: int
    seconds: float
    said: list[str]

    def words(self, settings: Settings) -> str:
        steps = f"{self.steps} step{'' if self.steps == 1 else 's'}"
        speed = self.steps * settings.batch_size / self.seconds
        return f"{steps} in {self.seconds:.0f} s, {speed:,.0f} images/s"


def _train(
    recipe: str,
    settings: Settings,
    folder: Path,
    device: str,
    checkpoint_every: int,
    images: Sequence[ImageData],
    ask: Callable[[], object],
) -> _Trained:
    """In a worker: one run, or what an earlier worker has left of it."""
    if device == "cpu":
        keep_freed_memory()
    train, *tests = images
    started = time.monotonic()
    said: list[str] = []
    steps = 0

    def observe(progress: Progress) -> None:
        nonlocal steps
        steps += 1
        ask()

    kept_training(
        recipe, settings, train, folder,
        test=tests[0] if tests else None, device=device, checkpoint_every=checkpoint_every,
        observe=observe, say=said.append,
    )  # fmt: skip
    return _Trained(steps, time.monotonic() - started, said)
