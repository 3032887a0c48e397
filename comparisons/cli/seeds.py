"""pyvae compare --rng native: two engines over many seeds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from comparisons.cli.live import choose_engines, objective_or_published
from pyvae.cli.options.given import option, was_given
from pyvae.cli.options.shared import STEPS
from pyvae.errors import UserError

if TYPE_CHECKING:
    from comparisons.cli.options import Request
    from comparisons.seeds.many_seeds import SeedOptions

__all__ = ["compare_over_seeds"]

STEP_OPTIONS = ("mode", "probe", "report", "exact", "start")  # of a comparison step by step


def compare_over_seeds(request: Request) -> int:
    """Trains both engines over many seeds, each with its own generator, writes the results and
    prints them.

    Returns:
        The exit code.

    Raises:
        UserError: If an option is missing, out of its range, or does not go with the others.
    """
    from comparisons.seeds.compare import equivalence
    from pyvae.cli.again import command_words
    from pyvae.model.objectives import OBJECTIVES
    from pyvae.model.run import Run
    from pyvae.parallel.workers import check_workers, open_workers
    from pyvae.recipes import open_recipe
    from pyvae.training.inputs import load_for

    for name in STEP_OPTIONS:
        if was_given(request.context, name):
            raise UserError(
                f"{option(name)} cannot be used with --rng native",
                f"leave out {option(name)}, or use --rng injected or seeded",
            )
    recipe = open_recipe(request.recipe, request.run.variant)
    sides = choose_engines(request, recipe)
    runs = request.run.runs(
        recipe,
        objective=objective_or_published(request, recipe),
        steps=request.run.steps_or(STEPS),
        dtype=request.run.dtype or "float32",
        rng=sides.rng(sides.under_test),
    )
    asked = _options(request, OBJECTIVES[runs[0].objective].unit or "the loss's unit")
    jobs, scheduler = request.seeds.jobs, request.seeds.scheduler
    check_workers(jobs, scheduler)
    images = load_for(recipe, request.run.data, runs[0], request.log)
    runs[0].total_steps(len(images))  # enough images? asked before anything is started
    processes = os.cpu_count() or 1 if jobs is None else jobs
    words = command_words(request.context, engine=sides.reference, threads=asked.threads)
    with open_workers(processes, scheduler, asked.threads, request.log) as workers:
        verdict = equivalence(
            [Run(recipe, settings, images) for settings in runs], sides, request.output.out, asked,
            workers, console=request.console, lock=request.lock, arguments=words,
        ).verdict  # fmt: skip
    request.log(f"written: {request.output.out}")
    request.log(f"verdict: {verdict}")
    return 0 if verdict in ("equivalent", "calibrated") else 1


def _options(request: Request, unit: str) -> SeedOptions:
    from comparisons.seeds.equivalence import Margins
    from comparisons.seeds.many_seeds import SeedOptions

    asked = request.seeds
    if asked.seeds is None:
        raise UserError(
            "--rng native needs --seeds, the number of seeds of each engine", "add --seeds 10"
        )
    if asked.margin is None:
        raise UserError(
            "--rng native needs --margin, the largest difference that does not matter, fixed "
            "before you look",
            f"add --margin 2 ({unit})",
        )
    further = {"units": asked.margin_units, "spread": asked.margin_spread}
    margins = Margins(asked.margin, **{k: v for k, v in further.items() if v is not None})
    threads, repetitions = request.engines.threads, asked.repetitions
    return SeedOptions(
        asked.seeds,
        margins,
        1 if threads is None else threads,
        1 if repetitions is None else repetitions,
    )
