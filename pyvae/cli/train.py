"""pyvae train."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pyvae.cli.options import choices
from pyvae.cli.options.grouped import grouped
from pyvae.cli.options.shared import OUTPUT, ComputeOptions, Quiet, RunOptions, in_panel
from pyvae.errors import UserError, printable

__all__ = ["train_command"]

output = in_panel(OUTPUT)


@dataclass(frozen=True)
class TrainOutput:
    """Where a trained run goes, and what becomes of one that is there."""

    out: Annotated[
        Path | None, output(metavar="DIR", help="Output folder (default: runs/RECIPE).")
    ] = None
    resume: Annotated[
        Path | None,
        output(
            metavar="RUN",
            help="Continue the run in this folder, bit for bit. Leave out RECIPE and all other "
            "options; a larger --epochs or --steps makes a finished run longer.",
        ),
    ] = None
    overwrite: Annotated[
        bool, output("--overwrite", help="Replace the run in the output folder: start again.")
    ] = False
    quiet: Quiet = False


@grouped
def train_command(
    context: typer.Context,
    *,
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help=f"{', '.join(choices.RECIPES)} (described by pyvae recipes), or one of your own, "
            "FILE.py:NAME (docs/how-to/write-a-recipe.md).",
            autocompletion=choices.complete(choices.RECIPES),
        ),
    ] = None,
    what: RunOptions,
    compute: ComputeOptions,
    where: TrainOutput,
) -> None:
    """Train a recipe in PyTorch; write a trace and figures.

    The output folder gets one folder for each objective. An interrupted run continues from its
    last checkpoint when you give the same command again, or use --resume. A checkpoint is written
    every 20 seconds (PYVAE_CHECKPOINT_SECONDS). A different run in the output folder is replaced
    with --overwrite only.

    To split each batch over several processes: torchrun --nproc-per-node 2 -m pyvae train ...
    """
    from pyvae.cli.again import repeat_command

    if where.resume is not None:
        repeat_command(context, where.resume)
        return
    if recipe is None:
        raise UserError("no RECIPE was given", "name one of pyvae recipes, or use --resume RUN")
    _train(context, recipe, what, compute, where)


def _train(
    context: typer.Context,
    recipe: str,
    what: RunOptions,
    compute: ComputeOptions,
    where: TrainOutput,
) -> None:
    import torch

    from pyvae.cli.again import command_words, is_resumed
    from pyvae.engines.data_parallel import torchrun_shares
    from pyvae.engines.devices import threads_set
    from pyvae.engines.pytorch import PyTorchEngine
    from pyvae.engines.registry import resolve_rng
    from pyvae.figures.draw_run import draw_run
    from pyvae.model.run import Run
    from pyvae.recipes import open_recipe
    from pyvae.runs.run_folder import RunFolder
    from pyvae.runs.train import train_into
    from pyvae.terminal.console import Terminal
    from pyvae.terminal.step_progress import ShowProgress
    from pyvae.training.inputs import load_for

    chosen = open_recipe(recipe, what.variant)
    settings = what.runs(chosen, rng=resolve_rng(what.rng, PyTorchEngine.name))
    out = where.out or Path("runs") / chosen.name
    with threads_set(compute.threads), torchrun_shares(compute.device) as shares:
        words = command_words(context, threads=torch.get_num_threads(), out=out, overwrite=None)
        console = Terminal(progress=not where.quiet, quiet=not shares.is_first)
        log = partial(console.print, soft_wrap=True)
        engine = PyTorchEngine(compute.device, precision=compute.precision, shares=shares)
        data = load_for(chosen, what.data, settings[0], log)
        train_into(
            RunFolder(out, words, log), [Run(chosen, one, data) for one in settings], engine,
            [ShowProgress(console=console, epochs=True)],
            overwrite=where.overwrite, resumed=is_resumed(context),
        )  # fmt: skip
        if shares.is_first:
            draw_run(out, data=data)
            print(f"written: {printable(str(out))}")
