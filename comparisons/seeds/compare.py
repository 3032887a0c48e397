"""Two engines over many seeds, each with its own randomness: are they equivalent?"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from comparisons.runs.sides import Sides, open_sides
from comparisons.seeds.many_seeds import ManySeeds, SeedOptions
from comparisons.seeds.measures import RunOutcome
from comparisons.seeds.run_seeds import compare_outcomes, plan, run_seeds
from comparisons.seeds.saved_outcome import SeedRun
from comparisons.seeds.table import print_equivalence
from comparisons.seeds.write import write_many_seeds
from pyvae.files.writing import output_folder
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.run import Run, as_runs
from pyvae.parallel.jobs import Workers
from pyvae.parallel.processes import Processes
from pyvae.runs.folder_lock import FolderLock
from pyvae.runs.run_json import write_run
from pyvae.terminal.job_progress import JobProgress
from pyvae.training.loop import start

__all__ = ["equivalence"]


def equivalence(
    runs: Run | Sequence[Run],
    sides: Sides,
    out: Path | str,
    options: SeedOptions,
    workers: Workers | None = None,
    *,
    console: Console | None = None,
    lock: Callable[[], object] | None = None,
    arguments: Sequence[str] = (),
) -> ManySeeds:
    """Trains two engines over many seeds, each with its own randomness, and tests whether they are
    equivalent.

    Every run's outcome is written to `OUT/seeds`: what is there is not run again. Tables and a
    picture are left in `OUT`.

    Arguments:
        runs: What is trained: one run, or one for each objective; from its seed on.
        sides: The engines, from `comparisons.runs.sides.choose_sides`.
        out: The folder.
        options: Seeds, margins, threads, repetitions.
        workers: Who does the runs; by default a process for each core.
        console: Where progress and results are shown; None: nothing is shown.
        lock: Locks the folder, once both engines can be used; by default this function does.
        arguments: The words of the command that does this, for `run.json`.

    Raises:
        UserError: If an engine cannot be used, a run fails, or a folder cannot be written.

    Example:
        >>> both = choose_sides("pytorch", "base-r", "native", None, None, "conv")  # doctest: +SKIP
        >>> options = SeedOptions(seeds=5, margins=Margins(nats=2))  # doctest: +SKIP
        >>> found = equivalence(run, both, "own", options)  # doctest: +SKIP
        >>> found.verdict  # doctest: +SKIP
        'equivalent'
    """
    runs = as_runs(runs)
    shown = Console(quiet=True) if console is None else console
    about = _about(runs[0], sides, options.threads)
    planned = _plan(runs, sides, options, about)
    environment = {name: told["environment"] for name, told in about.items()}
    with FolderLock(Path(out)) if lock is None else nullcontext(lock()):
        folder = output_folder(Path(out))
        if arguments:
            settings, data = [run.settings for run in runs], runs[0].data.describe()
            name, file = runs[0].recipe.name, runs[0].recipe.file
            write_run(folder, arguments, name, settings, data, environment, file)
        shown.print(_introduction(runs[0], sides, options), soft_wrap=True)
        workers = workers or Processes(os.cpu_count() or 1, options.threads)
        with _Progress(shown, sum(map(len, planned))) as progress:
            outcomes = run_seeds(
                [one for repetition in planned for one in repetition], sides, runs[0].recipe,
                runs[0].data, folder / "seeds", workers, options.threads, progress.on_run,
            )  # fmt: skip
        compared = [compare_outcomes(one, outcomes, options.margins) for one in planned]
        found = ManySeeds(runs, sides, options, environment, compared)
        write_many_seeds(found, folder)
        _print(found, shown)
    return found


def _plan(
    runs: Sequence[Run], sides: Sides, options: SeedOptions, about: Mapping[str, Any]
) -> list[list[SeedRun]]:
    """The runs of each repetition, with seeds of their own."""
    planned = []
    for number in range(options.repetitions):
        first = 2 * options.seeds * number
        settings = [replace(run.settings, seed=run.settings.seed + first) for run in runs]
        planned.append(plan(sides, settings, options.seeds, about))
    return planned


def _about(run: Run, sides: Sides, threads: int) -> Mapping[str, Any]:
    """What the numbers depend on, by engine: its environment, and the data.

    Raises:
        UserError: If one cannot be used for this run.
    """
    with open_sides(sides, threads) as engines:
        for engine in engines:
            settings = replace(run.settings, rng=sides.rng(engine.name))
            start(engine, replace(run, settings=settings))
        return {
            engine.name: {"environment": engine.environment(), "data": run.data.describe()}
            for engine in engines
        }


def _introduction(run: Run, sides: Sides, options: SeedOptions) -> str:
    margin = f"{options.margins.nats:g} {run.objective.unit}".rstrip()
    return (
        f"{run.data.name}: {len(run.data):,} images, {run.steps} steps of "
        f"{run.settings.batch_size}, {run.settings.dtype}, {sides}, {options.seeds} seeds each "
        f"with their own randomness, margin {margin}"
    )


def _print(found: ManySeeds, console: Console) -> None:
    if found.options.repetitions > 1:
        for calibration in found.calibrations():
            console.print(str(calibration), soft_wrap=True)
        return
    for one in found.repetitions[0]:
        print_equivalence(OBJECTIVES[one.objective].title, one.results, console)


class _Progress(JobProgress):
    """Shows how many runs are done, and the newest one's loss as the table has it."""

    def __enter__(self) -> _Progress:
        super().__enter__()
        return self

    def on_run(self, run: SeedRun, outcome: RunOutcome, was_there: bool, where: str) -> None:
        about = OBJECTIVES[run.settings.objective]
        of_last_epoch = outcome.loss_per_image[outcome.epochs == outcome.epochs[-1]].mean()
        loss = f"{of_last_epoch:.2f} {about.unit}".rstrip()
        seed = f"{about.title} in {run.engine}, seed {run.settings.seed}"
        self.add(f"{seed}: {loss}, mean of the last epoch", was_there, where)
