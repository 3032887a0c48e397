"""`pyvae compare --rng native`: both engines over many seeds, and whether they are equivalent."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from comparisons.runs.sides import Sides, open_sides
from comparisons.seeds.equivalence import Margins, expected_rate, overall, summary
from comparisons.seeds.figure import equivalence_figure
from comparisons.seeds.measures import RunOutcome, measures
from comparisons.seeds.run_seeds import Native, compare_native, plan, run_seeds
from comparisons.seeds.saved_outcome import SeedRun
from comparisons.seeds.table import print_equivalence
from pyvae.data.images import ImageData
from pyvae.errors import UserError, print_error
from pyvae.figures.style import draw_or_log
from pyvae.files.csv import csv_text
from pyvae.files.writing import output_folder, write_file
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.settings import Settings
from pyvae.parallel.jobs import Workers
from pyvae.recipes import Recipe
from pyvae.runs.run_json import write_run
from pyvae.terminal.job_progress import RunsProgress
from pyvae.training.loop import start

__all__ = ["NativeOptions", "run_native"]


@dataclass(frozen=True)
class NativeOptions:
    """What is asked for.

    Attributes:
        seeds: Of each side.
        margins: What the differences are held against.
        threads: Threads of each run.
        repetitions: How often all of it is done, with other seeds each time.
    """

    seeds: int
    margins: Margins
    threads: int
    repetitions: int = 1

    def __post_init__(self) -> None:
        for name in ("threads", "repetitions"):
            if not 1 <= getattr(self, name) <= 1000:
                raise UserError(f"--{name} {getattr(self, name)}", expected="1 to 1000")


def run_native(
    console: Console,
    out: Path,
    sides: Sides,
    recipe: Recipe,
    runs: Sequence[Settings],
    data: ImageData,
    workers: Workers,
    options: NativeOptions,
    hold: Callable[[], object],
    arguments: Sequence[str],
) -> str:
    """Runs, compares, prints and writes.

    Arguments:
        console: Where to.
        out: The folder.
        sides, recipe, runs, data: Who is compared, in what, on which images.
        workers: Who does the runs.
        options: The rest of what was asked for.
        hold: Takes the folder for this process alone, as `pyvae.runs.folder_lock.FolderLock` does.
        arguments: The command that does this, for `run.json`.

    Returns:
        The verdict over all objectives: equivalent, different or inconclusive; with several
        repetitions `calibrated`, since then the verdicts are counted, not judged.

    Raises:
        UserError: If an engine cannot be used, a run fails, or a folder cannot be written.
    """
    with open_sides(sides, options.threads) as engines:  # can both be used? what are they?
        for engine in engines:
            start(engine, recipe, replace(runs[0], rng=sides.rng(engine.name)))
        about = {
            engine.name: {"environment": engine.environment(), "data": data.describe()}
            for engine in engines
        }
    repetitions = []
    for number in range(options.repetitions):
        first = 2 * options.seeds * number
        shifted = [replace(settings, seed=settings.seed + first) for settings in runs]
        repetitions.append(plan(sides, shifted, options.seeds, about))
    hold()
    folder = output_folder(out)
    write_run(
        folder, arguments, recipe.name, runs, data.describe(),
        {name: told["environment"] for name, told in about.items()},
    )  # fmt: skip
    unit = OBJECTIVES[runs[0].objective].unit
    console.print(
        f"{data.name}: {len(data):,} images, {runs[0].total_steps(len(data))} steps of "
        f"{runs[0].batch_size}, {runs[0].dtype}, {sides}, {options.seeds} seeds each with their "
        f"own randomness, margin {options.margins.nats:g} {unit}".rstrip(),
        soft_wrap=True,
    )
    watch = _Watch(console, sum(map(len, repetitions)))
    with watch:
        outcomes = run_seeds(
            [run for planned in repetitions for run in planned], sides, recipe, data,
            folder / "seeds", workers, options.threads, watch.observe,
        )  # fmt: skip
    compared = [compare_native(planned, outcomes, options.margins) for planned in repetitions]
    _write_tables(compared, folder)
    if options.repetitions > 1:
        return _count(console, folder, compared, options)
    for native in compared[0]:
        print_equivalence(OBJECTIVES[native.objective].title, native.results, console)
    by_objective = {
        native.objective: (native.under_test, native.reference, native.results)
        for native in compared[0]
    }
    draw_or_log(lambda: equivalence_figure(by_objective), folder / "equivalence.png", print_error)
    verdict = overall([result for native in compared[0] for result in native.results])
    about_it: dict[str, Any] = {
        "verdict": verdict,
        "engine": sides.reference,
        "under_test": sides.under_test,
        "rng": "native",
        "dtype": runs[0].dtype,
        "data": data.name,
        "batch_size": runs[0].batch_size,
        "steps": runs[0].total_steps(len(data)),
        "seeds": options.seeds,
        "objectives": {native.objective: summary(native.results) for native in compared[0]},
        "settings": runs[0].as_dict() | {"objective": [s.objective for s in runs]},
        "environment": {name: told["environment"] for name, told in about.items()},
    }
    _write_json(folder, about_it)
    return verdict


def _write_json(folder: Path, about: dict[str, Any]) -> None:
    write_file(folder / "comparison.json", json.dumps(about, indent=2, allow_nan=False) + "\n")


def _write_tables(compared: Sequence[Sequence[Native]], folder: Path) -> None:
    """Every loss and every measure of every run."""
    rows, histories = [], []
    for number, natives in enumerate(compared, start=1):
        for native in natives:
            for outcome in (*native.under_test, *native.reference):
                key: dict[str, Any] = {"repetition": number} if len(compared) > 1 else {}
                key |= {"engine": outcome.engine, "objective": outcome.objective}
                key |= {"seed": outcome.seed}
                rows.append(key | measures(outcome))
                histories.append(_history(outcome, key))
    write_file(folder / "measures.csv", csv_text(pd.DataFrame(rows)))
    write_file(folder / "history.csv", csv_text(pd.concat(histories, ignore_index=True)))


def _history(outcome: RunOutcome, key: dict[str, Any]) -> pd.DataFrame:
    objective = OBJECTIVES[outcome.objective]
    table = pd.DataFrame(outcome.losses, columns=list(objective.terms))
    table.insert(0, "epoch", outcome.epochs)
    table.insert(1, "step", np.arange(1, len(table) + 1))
    for place, (name, value) in enumerate(key.items()):
        table.insert(place, name, value)
    table[objective.column] = outcome.loss_per_image
    return table


def _count(
    console: Console,
    folder: Path,
    compared: Sequence[Sequence[Native]],
    options: NativeOptions,
) -> str:
    """How often which verdict was reached, and how often equivalence was to be expected if the
    two are the same."""
    about: dict[str, Any] = {"repetitions": len(compared), "seeds": options.seeds}
    for place, first in enumerate(compared[0]):
        results = [natives[place].results for natives in compared]
        counts = Counter(overall(one) for one in results)
        rates = {}
        for measure, result in enumerate(first.results):
            pooled = [
                float(np.sqrt(np.mean([getattr(one[measure], side).sd ** 2 for one in results])))
                for side in ("a", "b")
            ]
            rates[result.measure] = expected_rate(
                (pooled[0], pooled[1]), options.seeds, result.margin
            )
        least = max(0.0, 1 - sum(1 - rate for rate in rates.values()))
        most = min(rates.values())
        told = ", ".join(
            f"{counts[verdict]} {verdict}"
            for verdict in ("equivalent", "inconclusive", "different")
        )
        console.print(
            f"{OBJECTIVES[first.objective].title}: {len(compared)} repetitions, {told}; if the two "
            f"are the same, {100 * least:.0f} to {100 * most:.0f} % equivalent are expected",
            soft_wrap=True,
        )
        about[first.objective] = {
            "counts": dict(counts),
            "expected_rate": {"least": least, "most": most, "by_measure": rates},
        }
    _write_json(folder, {"verdict": "calibrated"} | about)
    return "calibrated"


class _Watch(RunsProgress):
    """Shows how many runs are done, and the newest one's loss as the table has it."""

    def observe(self, run: SeedRun, outcome: RunOutcome, was_there: bool, where: str) -> None:
        about = OBJECTIVES[run.settings.objective]
        of_last_epoch = outcome.loss_per_image[outcome.epochs == outcome.epochs[-1]].mean()
        loss = f"{of_last_epoch:.2f} {about.unit}".rstrip()
        seed = f"{about.title} in {run.engine}, seed {run.settings.seed}"
        newest = f"{seed}: {loss}, mean of the last epoch"
        self.add(newest, was_there, where)
