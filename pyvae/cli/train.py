"""pyvae train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pyvae.cli import options
from pyvae.errors import UserError, printable
from pyvae.figures.draw_run import draw_run

__all__ = ["train_command"]


def train_command(
    context: typer.Context,
    recipe: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="See pyvae recipes.")
    ] = None,
    variant: options.Variant = None,
    objective: options.Objective = None,
    data: options.Data = "auto",
    epochs: options.Epochs = None,
    steps: options.Steps = None,
    batch_size: options.BatchSize = None,
    latent_dim: options.LatentDim = None,
    learning_rate: options.LearningRate = None,
    set_: options.Set = None,
    dtype: options.Dtype = "float32",
    seed: options.Seed = 2,
    rng: options.Rng = "injected",
    device: options.Device = "auto",
    precision: options.Precision = "full",
    threads: options.OwnThreads = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to (default: runs/RECIPE).")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Go on with the run in this folder, to the same bits: one that was interrupted, "
            "or, with a larger --epochs or --steps, one that is finished; without RECIPE and other "
            "options.",
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Train from the beginning, in place of a run that is in DIR."
        ),
    ] = False,
) -> None:
    """Trains a recipe; leaves a trace and figures in DIR, a folder for each objective.

    A run that was interrupted, killed or ran into a full disk goes on from its last checkpoint
    (one every 20 seconds, PYVAE_CHECKPOINT_SECONDS) with --resume, or with the same command; one
    that is finished goes on where it ended if more epochs or steps are asked for. Another run in
    DIR is not replaced without --overwrite.
    Each batch goes over several processes under torchrun: torchrun --nproc-per-node 2 -m pyvae
    train ...
    """
    import torch

    from pyvae.cli.again import arguments_of, invoke_again, is_resumed
    from pyvae.engines.data_parallel import torchrun_shares
    from pyvae.engines.devices import set_threads
    from pyvae.model.hyperparameters import parse_hyper
    from pyvae.recipes import get_recipe
    from pyvae.runs.train import train_runs

    if resume is not None:
        invoke_again(context, resume)
        return
    if recipe is None:
        raise UserError("no RECIPE", expected="one of pyvae recipes, or --resume RUN")
    chosen = get_recipe(recipe, variant)
    runs = chosen.runs(
        objective,
        epochs=epochs,
        steps=steps,
        batch_size=batch_size,
        latent_dim=latent_dim,
        learning_rate=learning_rate,
        hyper=parse_hyper(set_ or []),
        dtype=dtype,
        seed=seed,
        rng=rng,
    )
    set_threads(threads)
    folder = out or Path("runs") / chosen.name
    settled = {"threads": torch.get_num_threads(), "out": folder, "overwrite": None}
    arguments = arguments_of(context, **settled)
    with torchrun_shares(device) as shares:
        train_runs(
            chosen, runs, data, folder, device, precision, shares, arguments, is_resumed(context),
            overwrite,
        )  # fmt: skip
        if shares.is_first:
            draw_run(folder)
            print(f"written: {printable(str(folder))}")
