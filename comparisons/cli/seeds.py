"""pyvae compare --rng native."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pyvae.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from comparisons.runs.sides import Sides
    from pyvae.model.settings import Settings
    from pyvae.recipes import Recipe
    from pyvae.runs.folder_lock import FolderLock

__all__ = []

NATIVE_OPTIONS = (
    "seeds",
    "margin",
    "margin_units",
    "margin_spread",
    "jobs",
    "scheduler",
    "repetitions",
)


def _compare_native(
    console: Console,
    out: Path,
    hold: Callable[[], FolderLock],
    arguments: Sequence[str],
    sides: Sides,
    recipe: Recipe,
    runs: list[Settings],
    data: str,
    seeds: int | None,
    margin: float | None,
    margin_units: float | None,
    margin_spread: float | None,
    threads: int | None,
    repetitions: int | None,
    jobs: int | None,
    scheduler: str | None,
) -> str:
    from comparisons.seeds.compare import equivalence
    from comparisons.seeds.equivalence import Margins
    from comparisons.seeds.many_seeds import SeedOptions
    from pyvae.model.objectives import OBJECTIVES
    from pyvae.model.run import Run
    from pyvae.parallel.workers import check_fan_out, open_workers
    from pyvae.training.inputs import load_for

    unit = OBJECTIVES[runs[0].objective].unit or "the loss's unit"
    for name, value, example in (("--seeds", seeds, 10), ("--margin", margin, 2)):
        if value is None:
            raise UserError(
                f"--rng native without {name}",
                f"add {name} {example}" + (f" ({unit})" if name == "--margin" else ""),
                expected=(
                    "how many seeds each side has, and the largest difference that does not "
                    "matter, fixed before you look"
                ),
            )
    further = {"units": margin_units, "spread": margin_spread}
    margins = Margins(margin, **{k: v for k, v in further.items() if v is not None})  # type: ignore[arg-type]
    asked = SeedOptions(
        seeds or 0,
        margins,
        1 if threads is None else threads,
        1 if repetitions is None else repetitions,
    )
    check_fan_out(jobs, scheduler)

    def say(line: str) -> None:
        console.print(line, soft_wrap=True)

    images = load_for(recipe, data, runs[0], say)
    runs[0].total_steps(len(images))  # enough images? asked before anything is started
    processes = os.cpu_count() or 1 if jobs is None else jobs
    with open_workers(processes, scheduler, asked.threads, say) as workers:
        several = [Run(recipe, settings, images) for settings in runs]
        return equivalence(
            several, sides, out, asked, workers, console=console, lock=hold, arguments=arguments
        ).verdict
