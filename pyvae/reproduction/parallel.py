"""Training the runs of write-ups in parallel, in other processes or on other machines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pyvae.data.images import ImageData
from pyvae.engines.allocator import keep_freed_memory
from pyvae.engines.devices import choose_device
from pyvae.files.writing import output_folder
from pyvae.model.run import Run
from pyvae.model.settings import Settings
from pyvae.parallel.jobs import Job, Workers, read_back
from pyvae.recipes import get_recipe
from pyvae.reproduction.planned import PlannedRun
from pyvae.reproduction.report import Report
from pyvae.reproduction.training import read_finished, train_planned
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Progress

__all__ = ["train_in_parallel"]


def train_in_parallel(
    runs: Iterable[PlannedRun], folder: Path, device: str, workers: Workers, report: Report
) -> dict[Path, Trace]:
    """Trains all runs that are not done yet, or what is left of them.

    Arguments:
        runs: The runs. Those that share a folder are the same run, which is trained once.
        folder: That all runs' folders are in.
        device: Where each is trained: `auto` is on all workers what it is here.
        workers: Who trains.
        report: Gets the progress.

    Returns:
        The traces, by their folders.

    Raises:
        UserError: If a run fails or cannot be read. Finished runs stay; the others go on from
            their last checkpoints when they are asked for again.
    """
    device = choose_device(device).type
    traces: dict[Path, Trace] = {}
    missing: dict[str, PlannedRun] = {}
    for run in {run.folder: run for run in runs}.values():
        finished = read_finished(run, device, report.log)
        if finished is None:
            missing[str(run.folder)] = run
        else:
            traces[run.folder] = finished
    if not missing:
        return traces
    images: dict[str, ImageData] = {}
    jobs = []
    for run in missing.values():
        given = _images(run)
        images |= given
        jobs.append(_job(run, device, tuple(given)))
    report.log(f"{len(jobs)} run{'s' if len(jobs) > 1 else ''} by {workers}")
    with (
        report.parallel(len(jobs)) as on_run,
        closing(workers.run(jobs, images, output_folder(folder))) as results,
    ):
        for job, result, where in results:
            run = missing[job.key]
            for line in result.lines:
                report.log(line)
            traces[run.folder] = read_back(partial(read_finished, run, device), run.folder, where)
            on_run(f"{run.title}: {result.summary(run.run.settings)}", where)
    return traces


def _images(planned: PlannedRun) -> dict[str, ImageData]:
    """What a run's job is given, by the key under which workers share it."""
    given = {f"{planned.run.data.name}, to train on": planned.run.data}
    if planned.test is not None:
        given[f"{planned.test.name}, to test with"] = planned.test
    return given


def _job(planned: PlannedRun, device: str, images: tuple[str, ...]) -> Job:
    run = planned.run
    arguments = (
        run.recipe.name, run.settings, planned.folder.resolve(), planned.checkpoint_every, device
    )  # fmt: skip
    return Job(str(planned.folder), planned.title, _train, arguments, images)


class _Result(NamedTuple):
    """What a worker did: steps, in how many seconds, and its lines for a reader."""

    steps: int
    seconds: float
    lines: list[str]

    def summary(self, settings: Settings) -> str:
        steps = f"{self.steps} step{'' if self.steps == 1 else 's'}"
        speed = self.steps * settings.batch_size / self.seconds
        return f"{steps} in {self.seconds:.0f} s, {speed:,.0f} images/s"


def _train(
    recipe: str,
    settings: Settings,
    folder: Path,
    checkpoint_every: int,
    device: str,
    images: Sequence[ImageData],
    on_step: Callable[[], object],
) -> _Result:
    """In a worker: one run, or what an earlier worker has left of it."""
    if device == "cpu":
        keep_freed_memory()
    train, *tests = images
    planned = PlannedRun(
        Run(get_recipe(recipe), settings, train), folder, tests[0] if tests else None,
        checkpoint_every,
    )  # fmt: skip
    started = time.monotonic()
    lines: list[str] = []
    steps = 0

    def count(progress: Progress) -> None:
        nonlocal steps
        steps += 1
        on_step()

    train_planned(planned, device, [count], lines.append)
    return _Result(steps, time.monotonic() - started, lines)
