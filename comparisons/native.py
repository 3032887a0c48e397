"""Two engines, each with its own randomness, over many seeds: run side by side in processes."""

from __future__ import annotations

import multiprocessing
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from comparisons.equivalence import Equivalence, Margins, compare_seeds
from comparisons.measures import RunOutcome
from comparisons.outcomes import SeedRun, load_outcome, save_outcome
from comparisons.sides import Sides, open_engine
from pyvae.data import ImageData
from pyvae.engine import DivergedError, Engine
from pyvae.errors import UserError
from pyvae.files import output_folder
from pyvae.recipes import Recipe, get_recipe
from pyvae.settings import Settings
from pyvae.trace import Trace
from pyvae.training import train
from r_bridge.engines import BaseREngine, RTorchEngine

__all__ = ["Native", "compare_native", "plan", "run_seeds"]

MOST_SEEDS = 10_000
SIDES = ("under-test", "reference")
LARGEST_SEEDS = {engine.name: engine.largest_seed for engine in (BaseREngine, RTorchEngine)}


@dataclass(frozen=True)
class Native:
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
    patches: Mapping[str, str] | None = None,
) -> list[SeedRun]:
    """All runs of a comparison.

    The side under test takes `seeds` seeds from the settings' on, the reference the next ones:
    with the same seeds two engines on the same generator would go through the same run.

    Arguments:
        sides: The engines.
        runs: The settings, for each objective.
        seeds: Seeds of each side.
        about: What else the numbers depend on, by engine.
        patches: R code by side, to try a change.

    Raises:
        UserError: If the number of seeds is out of its range, or an engine cannot take one.
    """
    if not 3 <= seeds <= MOST_SEEDS:
        raise UserError(f"--seeds {seeds}", f"3 to {MOST_SEEDS}")
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
                if one.seed > LARGEST_SEEDS.get(engine, one.seed):
                    raise UserError(
                        f"--seed {settings.seed} with --seeds {seeds}: {engine} would have seed "
                        f"{one.seed}",
                        f"none above {LARGEST_SEEDS[engine]}",
                        "choose a smaller --seed",
                    )
                patch = (patches or {}).get(side, "")
                planned.append(SeedRun(side, engine, one, dict(about[engine]), patch))
    return planned


def run_seeds(
    planned: Sequence[SeedRun],
    sides: Sides,
    recipe: Recipe,
    data: ImageData,
    folder: Path,
    jobs: int,
    threads: int,
    observe: Callable[[SeedRun, RunOutcome, bool], object] = lambda *_: None,
) -> dict[str, RunOutcome]:
    """Does all runs that are not there yet, so many at a time, each in a process of its own.

    Arguments:
        planned: The runs.
        sides, recipe, data: Who trains what on which images.
        folder: Where each run's outcome is written as soon as it is done.
        jobs: Processes.
        threads: Threads of each.
        observe: Called with each run, its outcome, and whether it was there before.

    Returns:
        The outcomes, by the runs' file names.

    Raises:
        UserError: If a run fails; those that are done stay.
    """
    outcomes: dict[str, RunOutcome] = {}
    missing = []
    for run in planned:
        found = load_outcome(run, folder)
        if found is None:
            missing.append(run)
        else:
            outcomes[run.file] = found
            observe(run, found, True)
    if not missing:
        return outcomes
    output_folder(folder)
    with tempfile.TemporaryDirectory() as shared:
        # as a file: of what a process is handed, it takes all before the next one is started
        images = Path(shared) / "images.npz"
        arrays = {"pixels": data.pixels, "labels": data.labels}
        there = {name: value.numpy() for name, value in arrays.items() if value is not None}
        np.savez(images, **there)  # type: ignore[arg-type]
        pool = ProcessPoolExecutor(
            min(jobs, len(missing)),
            multiprocessing.get_context("spawn"),
            _prepare,
            (recipe.name, sides.adam, threads, data.name, images, data.source),
        )
        try:
            for run in _done(pool, missing, folder):
                outcome = load_outcome(run, folder)
                if outcome is None:
                    raise UserError(f"'{folder / run.file}' was written and cannot be read")
                outcomes[run.file] = outcome
                observe(run, outcome, False)
        except BrokenProcessPool as error:
            raise UserError(
                "a process that trained a seed was ended from outside; the system may have been "
                "out of memory",
                "",
                "run the same command again: seeds that are done are not repeated (fewer --jobs "
                "need less memory)",
            ) from error
        finally:
            # not waited for: what is under way is not wanted any more, or there is nothing
            mine = processes_of(pool)
            pool.shutdown(wait=False, cancel_futures=True)
            for process in mine:
                process.terminate()
    return outcomes


def processes_of(pool: ProcessPoolExecutor) -> list[multiprocessing.process.BaseProcess]:
    """A pool's own processes: others of this program are left alone. (From Python 3.14 on it ends
    them itself, `terminate_workers`.)"""
    return list((getattr(pool, "_processes", None) or {}).values())


def _done(pool: ProcessPoolExecutor, missing: Sequence[SeedRun], folder: Path) -> Iterator[SeedRun]:
    """The runs, as they are done."""
    # Ctrl-C reaches this process, which ends the others: they start out deaf to it
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        pending: dict[Future[None], SeedRun] = {
            pool.submit(_run_seed, run, folder): run for run in missing
        }
    finally:
        signal.signal(signal.SIGINT, heard)
    while pending:
        finished, _ = wait(pending, return_when=FIRST_COMPLETED)
        for future in finished:
            run = pending.pop(future)
            try:
                future.result()
            except UserError as error:
                raise UserError(f"{run.engine}, seed {run.settings.seed}: {error}") from error
            yield run


_worker: dict[str, Any] = {}


def _prepare(recipe: str, adam: str, threads: int, name: str, images: Path, source: str) -> None:
    """In a new process: what all its runs share."""
    torch.set_num_threads(threads)
    _worker["recipe"] = get_recipe(recipe)
    with np.load(images) as arrays:
        pixels = torch.from_numpy(arrays["pixels"])
        labels = torch.from_numpy(arrays["labels"]) if "labels" in arrays else None
    _worker["data"] = ImageData(name, pixels, labels, source)
    _worker["engines"] = {}
    _worker["stack"] = ExitStack()
    _worker["open"] = (adam, threads)


def _run_seed(run: SeedRun, folder: Path) -> None:
    engine, recipe, data = _engine(run), _worker["recipe"], _worker["data"]
    trace = Trace.of_run(engine, recipe, run.settings, data)
    try:
        train(engine, recipe, run.settings, data, trace=trace)
    except DivergedError:  # a result like any other: it is said of the seed
        trace.losses = np.vstack([trace.losses, np.full((1, len(trace.terms)), np.nan)])
        trace.epochs = np.append(trace.epochs, trace.epochs[-1:] if trace.steps > 1 else 1)
        trace.latent_means["evaluation"] = np.full((1, run.settings.latent_dim), np.nan)
    save_outcome(run, trace, folder)


def _engine(run: SeedRun) -> Engine:
    """R takes a second or more to start: an engine serves all runs of its process."""
    key = run.engine, run.patch
    engines = _worker["engines"]
    if key not in engines:
        adam, threads = _worker["open"]
        if run.patch:
            made = {"base-r": BaseREngine, "r-torch": RTorchEngine}[run.engine](threads, run.patch)
            opened: Any = made
        else:
            opened = open_engine(run.engine, adam, threads)
        engines[key] = _worker["stack"].enter_context(opened)
    return engines[key]


def compare_native(
    planned: Sequence[SeedRun],
    outcomes: Mapping[str, RunOutcome],
    margins: Margins,
) -> list[Native]:
    """Compares the runs of both sides, objective by objective.

    Raises:
        UserError: If there are too few seeds.
    """
    compared = []
    for objective in dict.fromkeys(run.settings.objective for run in planned):
        pair = [
            [
                _told_apart(outcomes[run.file], planned, run.side)
                for run in planned
                if run.settings.objective == objective and run.side == side
            ]
            for side in SIDES
        ]
        results = compare_seeds(pair[0], pair[1], margins)
        compared.append(Native(objective, pair[0], pair[1], results))
    return compared


def _told_apart(outcome: RunOutcome, planned: Sequence[SeedRun], side: str) -> RunOutcome:
    """An engine held against itself gets two names."""
    if len({run.engine for run in planned}) > 1:
        return outcome
    return replace(outcome, engine=f"{outcome.engine} ({'AB'[SIDES.index(side)]})")
