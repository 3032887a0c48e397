"""pyvae compare of two engines."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from pyvae.cli.options.given import option, was_given
from pyvae.errors import UserError, printable

if TYPE_CHECKING:
    from comparisons.cli.options import Request
    from comparisons.runs.sides import Sides
    from comparisons.steps.comparison import Comparison
    from pyvae.engines.engine import Engine
    from pyvae.model.run import Run
    from pyvae.model.settings import Settings
    from pyvae.recipes import Recipe

__all__ = ["choose_engines", "compare_engines", "objective_or_published"]

SEED_OPTIONS = (  # of --rng native alone
    "seeds", "margin", "margin_units", "margin_spread", "jobs", "scheduler", "repetitions",
)  # fmt: skip


def compare_engines(request: Request) -> int:
    """Trains both engines on the same draws, or from the same seed, writes the results and prints
    them.

    Returns:
        The exit code.

    Raises:
        UserError: If an option is out of its range, or does not go with the others.
    """
    from comparisons.cli.starts import make_starts, settle_start
    from comparisons.runs.sides import open_sides
    from pyvae.engines.devices import check_threads
    from pyvae.model.run import Run
    from pyvae.recipes import open_recipe
    from pyvae.training.inputs import load_for
    from pyvae.training.loop import start

    for name in SEED_OPTIONS:
        if was_given(request.context, name):
            raise UserError(
                f"{option(name)} applies to --rng native only",
                f"leave out {option(name)}, or use --rng native",
            )
    check_threads(request.engines.threads)
    recipe = open_recipe(request.recipe, request.run.variant)
    sides = choose_engines(request, recipe)
    begin = settle_start(request, recipe)
    settings = _settings(request, recipe, sides, begin)
    starts = [make_starts(begin, recipe, one) for one in settings]
    data = load_for(recipe, request.run.data, settings[0], request.log)
    with open_sides(sides, request.engines.threads) as engines:
        runs = [
            Run(recipe, one, data, each)
            for same in zip(*starts, strict=True)
            for one, each in zip(settings, same, strict=True)
        ]
        for engine in engines:
            start(engine, runs[-1])  # can it? asked before anything is written
        comparisons = _compare(request, sides, engines, runs, begin)
    from comparisons.report.write import conclude  # matplotlib, which no error has to wait for

    return conclude(request.console, comparisons, request.output.out, request.output.report)


def _settings(request: Request, recipe: Recipe, sides: Sides, begin: str) -> list[Settings]:
    """The settings of the runs from one start, one for each objective."""
    from comparisons.agreement.tolerances import steps_until_drift
    from comparisons.cli.starts import default_steps, objectives_to_compare
    from pyvae.errors import choose

    mode = choose("mode", request.stages.mode, ("free", "resync"))
    faithful = steps_until_drift(recipe.name, "float64", False) if mode == "free" else None
    steps = default_steps(begin)
    objectives: Sequence[str | None] = [request.run.objective]
    if request.run.objective is None:
        objectives = objectives_to_compare(begin, recipe)
    return [
        one
        for objective in objectives
        for one in request.run.runs(
            recipe,
            objective=objective,
            steps=request.run.steps_or(min(steps, faithful or steps)),
            dtype=request.run.dtype or "float64",
            rng=sides.rng(sides.under_test),
        )
    ]


def objective_or_published(request: Request, recipe: Recipe) -> str | None:
    """The objective to compare; where none was named, those that were published."""
    several = request.run.objective is None and len(recipe.objectives) > 1
    return "both" if several else request.run.objective


def choose_engines(request: Request, recipe: Recipe) -> Sides:
    """The two engines and how they draw.

    Raises:
        UserError: If one of them cannot be used, or they cannot be compared in this way.
    """
    from comparisons.runs.sides import choose_sides

    asked = request.engines
    sides = choose_sides(
        asked.under_test, asked.engine, request.run.rng, request.stages.exact, asked.adam,
        recipe.name,
    )  # fmt: skip
    for error in sides.passed_over:
        request.log(f"using {sides.reference}: {error}")
    return sides


def _compare(
    request: Request, sides: Sides, engines: tuple[Engine, Engine], runs: list[Run], begin: str
) -> list[Comparison]:
    import torch

    from comparisons.cli.progress import progress_on
    from comparisons.runs.kept_traces import INTERRUPTED
    from comparisons.runs.live import CompareOptions, compare
    from comparisons.saved.folder import check_results
    from pyvae.cli.again import command_words, is_resumed
    from pyvae.cli.options.step_set import StepSet
    from pyvae.runs.run_folder import RunFolder

    mode, context = request.stages.mode, request.context
    inspected = StepSet.parse(request.stages.probe or ("all" if mode == "resync" else "1"))
    inspected.check(runs[0].steps)
    threads = request.engines.threads or torch.get_num_threads()
    words = command_words(context, engine=sides.reference, threads=threads, start=begin)
    check_results(request.output.out)
    folder = context.with_resource(RunFolder(request.output.out, words, _warn))
    folder.write_about(runs, engines)
    _introduce(request, sides, runs)
    options = CompareOptions(mode, inspected, sides.exact, is_resumed(context))
    try:
        return compare(
            runs, *engines, folder, options, progress=progress_on(request.console), log=_warn
        )
    except KeyboardInterrupt:
        if mode == "free" and (folder.path / INTERRUPTED).is_dir():
            again = shlex.join([f"--resume={folder.path}"])
            with suppress(OSError):  # a terminal that was closed
                _warn(f"pyvae compare {again} goes on from there")
        raise


def _introduce(request: Request, sides: Sides, runs: list[Run]) -> None:
    """Prints what is compared, and whether rounding alone will drive the two apart."""
    from comparisons.agreement.tolerances import is_normalised, steps_until_drift

    run = runs[-1]
    settings, resync = run.settings, request.stages.mode == "resync"
    what = "images" if run.recipe.features == 784 else "points"
    request.log(
        f"{run.data.name}: {len(run.data):,} {what}, {run.steps} steps of {settings.batch_size}, "
        f"{settings.dtype}, {sides}"
        + (f", every step from {sides.under_test}'s state" if resync else "")
        + (f", both from seed {settings.seed}" if sides.randomness == "seeded" else "")
        + (", every bit has to be equal" if sides.exact else "")
    )
    if run.start is not None:
        several = "each from initial parameters, and from " if runs[0].start is None else "from "
        request.log(f"{several}{run.start.title}")
    dtype = settings.dtype
    most = steps_until_drift(run.recipe.name, dtype, is_normalised(run.recipe.stages))
    if most is not None and run.steps > most and not resync and not sides.exact:
        request.log(
            f"{dtype}: beyond {most} steps rounding alone drives two runs apart. Use --mode "
            "resync to tell a mistake from rounding."
        )


def _warn(line: str) -> None:
    print(printable(line), file=sys.stderr)
