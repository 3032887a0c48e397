"""`pyvae train`: runs that are kept in a folder, in one process or in several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pyvae.engine import PyTorchEngine
from pyvae.files import output_folder
from pyvae.objectives import OBJECTIVES
from pyvae.progress import RunProgress
from pyvae.recipes.recipe import Recipe
from pyvae.settings import Settings
from pyvae.shares import ALONE, Shares
from pyvae.trace import Trace
from pyvae.training import load_for, train

__all__ = ["train_runs"]


def train_runs(
    recipe: Recipe,
    runs: Sequence[Settings],
    data: str,
    folder: Path,
    device: str = "auto",
    precision: str = "full",
    shares: Shares = ALONE,
) -> None:
    """Trains one run after the other and writes their traces, as far as they came.

    Arguments:
        recipe: What is trained.
        runs: How, for each objective.
        data: The images' name, as `pyvae.data.load_data` takes it.
        folder: Gets a folder for each objective.
        device, precision: Of `pyvae.engine.PyTorchEngine`.
        shares: What this process computes; the first one shows the progress and writes.

    Raises:
        UserError: If something of it cannot be had or used.
    """
    console = Console(markup=False, highlight=False, quiet=not shares.is_first)
    engine = PyTorchEngine(device, precision=precision, shares=shares)
    images = load_for(recipe, data, runs[0], say=lambda line: console.print(line, soft_wrap=True))
    runs[0].total_steps(len(images))  # enough images? asked before anything is written
    shares.check(runs[0].batch_size)
    if shares.is_first:
        output_folder(folder)
    for settings in runs:
        about = OBJECTIVES[settings.objective]
        console.print(f"{about.title}: {about.formula}", soft_wrap=True)
        trace = Trace.of_run(engine, recipe, settings, images)
        title = f"{about.title} on {images.name}, {engine.device.type}"
        if shares.several:
            title += f", {shares.number} processes"
        try:
            with RunProgress(title, settings.batch_size, console, epochs=True) as progress:
                train(engine, recipe, settings, images, trace=trace, observe=progress.observe)
        finally:
            if trace.steps and shares.is_first:  # what was computed, if it was interrupted
                trace.save(output_folder(folder / settings.objective))
