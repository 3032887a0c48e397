"""Command-line options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = [
    "STEPS",
    "BatchSize",
    "Data",
    "Device",
    "Dtype",
    "Epochs",
    "LatentDim",
    "LearningRate",
    "Objective",
    "OwnThreads",
    "Precision",
    "Probed",
    "Recipe",
    "Rng",
    "Seed",
    "Set",
    "Steps",
    "Threads",
    "Variant",
    "WhoseAdam",
]

STEPS = 42  # what is compared if nothing else is said: six epochs of the digits

Data = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE.npz",
        help="auto, mnist, fashion-mnist, kmnist, digits, toy (points), or an .npz or .npy file "
        "of images (N,28,28) or (N,784): integers 0 to 255, booleans or floats in [0, 1]. auto: "
        "MNIST where it is or can be had, else digits; the points for a recipe of points.",
    ),
]
Recipe = Annotated[str, typer.Option(metavar="RECIPE", help="See pyvae recipes.")]
Objective = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="One of the recipe's objectives, or both that were published, or all (default: the "
        "first); conv has vae, emae and em.",
    ),
]
Variant = Annotated[
    str | None, typer.Option(metavar="NAME", help="A variant of the recipe: see pyvae recipes.")
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=NUMBER",
        help="A setting that the recipe alone has, such as temperature=0.5: see pyvae recipes. "
        "May be given several times.",
    ),
]
Epochs = Annotated[
    int | None, typer.Option(metavar="N", help="Passes over the images (default: published).")
]
Steps = Annotated[int | None, typer.Option(metavar="N", help="End the run after N steps in all.")]
BatchSize = Annotated[
    int | None, typer.Option(metavar="N", help="Images in a batch (default: published).")
]
LatentDim = Annotated[
    int | None, typer.Option(metavar="N", help="Latent dimensions (default: published).")
]
LearningRate = Annotated[
    float | None, typer.Option(metavar="X", help="Adam's step size (default: published).")
]
Dtype = Annotated[str, typer.Option(metavar="TYPE", help="float32 or float64.")]
Seed = Annotated[
    int,
    typer.Option(metavar="N", help="Of initial parameters, batch order, dropout masks and noise."),
]
Threads = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Threads, the same on both sides (default: as many as PyTorch takes)."
    ),
]
OwnThreads = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Threads of each run (default: as many as PyTorch takes); with another number the "
        "last bits are others.",
    ),
]
WhoseAdam = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Whose order of operations PyTorch's Adam has: torch or r-torch (R torch's).",
    ),
]
Rng = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Where chance comes from: injected (the same for every engine), or the engine's own "
        "generator, seeded once: torch (pytorch, r-torch) or r (base-r, pytorch).",
    ),
]
Device = Annotated[str, typer.Option(metavar="NAME", help="auto (CUDA where it is), cpu or cuda.")]
Precision = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Of matrix products and convolutions: full (the run's dtype), tf32 (an NVIDIA GPU's, "
        "10 bits) or bf16 (8 bits).",
    ),
]
Probed = Annotated[
    str,
    typer.Option(
        metavar="STEPS",
        help="The steps to look into, stage by stage: 1, or 1,3-5, or all, or none.",
    ),
]
