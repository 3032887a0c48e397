"""pyvae compare of two engines that are run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pyvae.errors import printable

if TYPE_CHECKING:
    from rich.console import Console

    from comparisons.runs.comparison import Comparison
    from comparisons.runs.sides import Sides
    from pyvae.model.settings import Settings
    from pyvae.recipes import Recipe

__all__ = []


def _say_passed_over(console: Console, sides: Sides) -> None:
    """Says why `auto` did not take a better reference that is installed."""
    for error in sides.passed_over:
        console.print(f"using {sides.reference}: {error}", soft_wrap=True)


def _compare_live(
    context: typer.Context,
    console: Console,
    out: Path,
    sides: Sides,
    recipe: Recipe,
    runs: list[Settings],
    data: str,
    threads: int | None,
    mode: str,
    probe: str | None,
) -> list[Comparison]:
    import torch

    from comparisons.agreement.tolerances import is_normalised, steps_until_drift
    from comparisons.cli.progress import progress_on
    from comparisons.runs.live import CompareOptions, compare
    from comparisons.runs.sides import open_sides
    from pyvae.cli.again import arguments_of, is_resumed
    from pyvae.cli.step_set import StepSet
    from pyvae.errors import choose
    from pyvae.model.run import Run
    from pyvae.runs.run_folder import RunFolder
    from pyvae.training.inputs import load_for
    from pyvae.training.loop import start

    choose("mode", mode, ("free", "resync"))
    probed = StepSet.parse(probe or ("all" if mode == "resync" else "1"))
    images = load_for(recipe, data, runs[0], log=lambda line: console.print(line, soft_wrap=True))
    total = runs[0].total_steps(len(images))
    probed.check(total)
    with open_sides(sides, threads) as (under_test, reference):
        for engine in (under_test, reference):
            start(engine, recipe, runs[0])  # can it? asked before anything is written
        threads = threads or torch.get_num_threads()
        arguments = arguments_of(context, engine=sides.reference, threads=threads)

        def warn(line: str) -> None:
            print(printable(line), file=sys.stderr)

        folder = context.with_resource(RunFolder(out, arguments, warn))
        several = [Run(recipe, settings, images) for settings in runs]
        folder.write_about(several, (under_test, reference))
        what = "images" if recipe.features == 784 else "points"
        console.print(
            f"{images.name}: {len(images):,} {what}, {total} steps of {runs[0].batch_size}, "
            f"{runs[0].dtype}, {sides}"
            + (f", every step from {under_test.name}'s state" if mode == "resync" else "")
            + (f", both from seed {runs[0].seed}" if sides.randomness == "seeded" else "")
            + (", every bit has to be equal" if sides.exact else ""),
            soft_wrap=True,
        )
        normalised = is_normalised(recipe.stages)
        most = steps_until_drift(recipe.name, runs[0].dtype, normalised)
        if most is not None and total > most and mode == "free" and not sides.exact:
            console.print(
                f"{runs[0].dtype}: beyond {most} steps rounding alone drives two runs apart; "
                "--mode resync tells a mistake from rounding",
                soft_wrap=True,
            )

        options = CompareOptions(mode, probed, sides.exact, is_resumed(context))
        return compare(
            several, under_test, reference, folder, options,
            progress=progress_on(console), log=warn,
        )  # fmt: skip
