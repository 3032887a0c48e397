"""Runs of two engines over many seeds, each with its own randomness."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from comparisons.runs.sides import Sides, open_side
from comparisons.seeds.equivalence import Equivalence, Margins, compare_seeds
from comparisons.seeds.measures import RunOutcome
from comparisons.seeds.saved_outcome import SeedRun, load_outcome, save_outcome
from pyvae.data.images import ImageData
from pyvae.engines.allocator import keep_freed_memory
from pyvae.engines.engine import DivergedError, Engine
from pyvae.engines.registry import get_abilities
from pyvae.errors import UserError
from pyvae.files.writing import output_folder, remove_remains
from pyvae.model.run import Run
from pyvae.model.settings import Settings
from pyvae.parallel.jobs import Job, Workers, read_back
from pyvae.recipes import Recipe, open_recipe
from pyvae.trace.trace import Trace
from pyvae.training.loop import train

__all__ = ["SeedComparison", "close_engines", "compare_outcomes", "plan", "run_seeds"]

MOST_SEEDS = 10_000
SIDES = ("under-test", "reference")


@dataclass(frozen=True)
class SeedComparison:
    """One objective, run by both engines over their seeds.

    Attributes:
        objective: Its name.
        under_test, reference: The runs of each side.
        results: One `Equivalence` for each measure.
    """

    objective: str
    under_test: Sequence[RunOutcome]
    reference: Sequence[RunOutcome]
    results: list[Equivalence]


def plan(
    sides: Sides,
    runs: Sequence[Settings],
    seeds: int,
    about: Mapping[str, Any],
) -> list[SeedRun]:
    """Lists all runs of a comparison.

    The side under test takes `seeds` seeds from the settings' on, the reference the next ones:
    with the same seeds two engines on the same generator would go through the same run.

    Arguments:
        sides: The engines.
        runs: The settings, for each objective.
        seeds: Seeds of each side.
        about: What else the numbers depend on, by engine.

    Raises:
        UserError: If the number of seeds is out of its range, or an engine cannot take one.
    """
    if not 3 <= seeds <= MOST_SEEDS:
        raise UserError(f"--seeds {seeds}", expected=f"3 to {MOST_SEEDS}")
    planned = []
    for settings in runs:
        for number in range(seeds):
            for place, side in enumerate(SIDES):
                engine = (sides.under_test, sides.reference)[place]
                one = replace(
                    settings,
                    seed=settings.seed + place * seeds + number,
                    rng=sides.rng(engine),
                )
                largest = get_abilities(engine).largest_seed
                if one.seed > largest:
                    raise UserError(
                        f"--seed {settings.seed} with --seeds {seeds} gives {engine} seed "
                        f"{one.seed}, and its generator takes none above {largest}",
                        "choose a smaller --seed",
                    )
                planned.append(SeedRun(side, engine, one, dict(about[engine])))
    return planned


def run_seeds(
    planned: Sequence[SeedRun],
    sides: Sides,
    recipe: Recipe,
    data: ImageData,
    folder: Path,
    workers: Workers,
    threads: int,
    on_run: Callable[[SeedRun, RunOutcome, bool, str], object] = lambda *_: None,
) -> dict[str, RunOutcome]:
    """Does all runs that have not been done, each in a process of its own.

    Arguments:
        planned: The runs.
        sides, recipe, data: Who trains what on which images.
        folder: Where each run's outcome is written as soon as it is done.
        workers: Who does them, so many at a time.
        threads: Threads of each.
        on_run: Called with each run, its outcome, whether it had been done before, and the worker
            that did it (empty: one of this machine).

    Returns:
        The outcomes, by the runs' file names.

    Raises:
        UserError: If a run fails; those that are done stay.
    """
    outcomes: dict[str, RunOutcome] = {}
    missing: dict[str, SeedRun] = {}
    for run in planned:
        found = load_outcome(run, folder)
        if found is None:
            missing[run.file] = run
        else:
            outcomes[run.file] = found
            on_run(run, found, True, "")
    if not missing:
        return outcomes
    output_folder(folder)
    given = (folder.resolve(), recipe.reference, sides.adam, threads, workers.lasting)
    jobs = [
        Job(file, f"{run.engine}, seed {run.settings.seed}", _run_seed, (run, *given), ("all",))
        for file, run in missing.items()
    ]
    with closing(workers.run(jobs, {"all": data}, folder)) as done:
        for job, _, where in done:
            run = missing[job.key]
            outcome = read_back(partial(load_outcome, run, folder), folder / run.file, where)
            outcomes[run.file] = outcome
            on_run(run, outcome, False, where)
    remove_remains(folder)  # of a worker that was killed
    return outcomes


_engines: dict[Any, Engine] = {}
_open = ExitStack()


def _run_seed(
    run: SeedRun,
    folder: Path,
    recipe: str,
    adam: str,
    threads: int,
    lasting: bool,
    images: Sequence[ImageData],
    on_step: Callable[[], object],
) -> None:
    """Does one run, in a worker."""
    (data,) = images
    keep_freed_memory()
    try:
        engine = _engine(run, adam, threads)
        _check_environment(run, engine)
        chosen = open_recipe(recipe)
        trace = Trace.of_run(Run(chosen, run.settings, data), engine)
        try:
            train(
                Run(chosen, run.settings, data),
                engine,
                trace=trace,
                callbacks=[lambda progress: on_step()],
            )
        except DivergedError:  # a result like any other: it is said of the seed
            trace.losses = np.vstack([trace.losses, np.full((1, len(trace.terms)), np.nan)])
            trace.epochs = np.append(trace.epochs, trace.epochs[-1:] if trace.steps > 1 else 1)
            trace.latent_means["evaluation"] = np.full((1, run.settings.latent_dim), np.nan)
        save_outcome(run, trace, folder)
    finally:
        if lasting:  # nothing of ours stays in a process that goes on
            close_engines()


def _engine(run: SeedRun, adam: str, threads: int) -> Engine:
    """The engine of a run; R takes a second or more to start, so an engine serves all runs of its
    process."""
    key = run.engine, adam, threads
    if key not in _engines:
        _engines[key] = _open.enter_context(open_side(run.engine, adam, threads))
    return _engines[key]


def close_engines() -> None:
    """Closes the engines that the runs of this process have opened."""
    _engines.clear()
    _open.close()


def _check_environment(run: SeedRun, engine: Engine) -> None:
    """Checks that a run's engine has the versions that its outcome says it was computed with."""
    expected, found = run.about.get("environment"), engine.environment()
    for name, version in (expected or {}).items():
        if found.get(name) != version:
            raise UserError(
                f"{run.engine} has {name} {found.get(name) or '(none)'} on {platform.node()}, but "
                f"{version} where the command was given",
                "install the same version there",
            )


def compare_outcomes(
    planned: Sequence[SeedRun],
    outcomes: Mapping[str, RunOutcome],
    margins: Margins,
) -> list[SeedComparison]:
    """Compares the runs of both sides, objective by objective.

    Raises:
        UserError: If there are too few seeds.
    """
    compared = []
    for objective in dict.fromkeys(run.settings.objective for run in planned):
        pair = [
            [
                _with_own_name(outcomes[run.file], planned, run.side)
                for run in planned
                if run.settings.objective == objective and run.side == side
            ]
            for side in SIDES
        ]
        results = compare_seeds(pair[0], pair[1], margins)
        compared.append(SeedComparison(objective, pair[0], pair[1], results))
    return compared


def _with_own_name(outcome: RunOutcome, planned: Sequence[SeedRun], side: str) -> RunOutcome:
    """Gives the two sides of an engine that is compared with itself two names."""
    if len({run.engine for run in planned}) > 1:
        return outcome
    return replace(outcome, engine=f"{outcome.engine} ({'AB'[SIDES.index(side)]})")
