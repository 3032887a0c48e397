"""Options that several commands share, in groups: a command takes a group as one object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyvae.cli.options import choices
from pyvae.cli.options.choices import complete

if TYPE_CHECKING:
    from pyvae.model.settings import Settings
    from pyvae.recipes import Recipe

__all__ = [
    "COMPUTE",
    "OUTPUT",
    "QUIET",
    "RECORDED",
    "STEPS",
    "WHAT",
    "AdamName",
    "ComputeOptions",
    "Data",
    "Device",
    "Epochs",
    "Jobs",
    "LatentDim",
    "Probe",
    "Quiet",
    "RecipeFile",
    "RecipeName",
    "RunOptions",
    "Scheduler",
    "Threads",
    "choice",
    "in_panel",
]

STEPS = 42  # what is compared if nothing else is said: six epochs of the digits
WHAT = "What to train"
COMPUTE = "How it is computed"
RECORDED = "What is recorded"
OUTPUT = "Where it goes"


def in_panel(panel: str) -> Callable[..., Any]:
    """`typer.Option` for the options of one panel of the help."""
    return partial(typer.Option, rich_help_panel=panel)


def choice(help_text: str, names: tuple[str, ...], panel: str) -> Any:
    """An option that is one of a few names: shown by the help, offered by the shell."""
    return typer.Option(
        metavar="|".join(names),
        help=help_text,
        autocompletion=complete(names),
        rich_help_panel=panel,
    )


what, compute = in_panel(WHAT), in_panel(COMPUTE)

RecipeName = Annotated[
    str,
    what(
        metavar="RECIPE",
        help=f"Recipe: {', '.join(choices.RECIPES)} (described by pyvae recipes), or one of your "
        "own, FILE.py:NAME (docs/how-to/write-a-recipe.md).",
        autocompletion=complete(choices.RECIPES),
    ),
]
RecipeFile = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="FILE.py:NAME",
        help="The recipe of your own that the run is of: pyvae runs no file that a run's folder "
        "names.",
    ),
]
Data = Annotated[
    str,
    what(
        metavar="NAME|FILE",
        help="Training data: auto, mnist, fashion-mnist, kmnist, digits, toy (points), or an .npz "
        "or .npy file of images, (N, 28, 28) or (N, 784): integers from 0 to 255, booleans or "
        "floats in [0, 1]. auto: MNIST if it is here or can be downloaded, else digits; toy for "
        "recipes of points.",
        autocompletion=complete(choices.DATA),
    ),
]
Epochs = Annotated[
    int | None, what(metavar="N", help="Passes over the training data (default: as published).")
]
LatentDim = Annotated[
    int | None, what(metavar="N", help="Latent dimensions (default: as published).")
]
Device = Annotated[str, choice("auto: CUDA if available, else CPU.", choices.DEVICES, COMPUTE)]
Threads = Annotated[
    int | None,
    compute(
        metavar="N",
        help="CPU threads of each run (default: PyTorch's choice). Another number changes the last "
        "bits of the results.",
    ),
]
AdamName = Annotated[
    str | None,
    choice(
        "Order of operations in PyTorch's Adam: PyTorch's own, or R torch's (default: PyTorch's, "
        "unless every bit has to equal R torch's).",
        choices.ADAMS,
        COMPUTE,
    ),
]
Probe = Annotated[
    str,
    in_panel(RECORDED)(
        metavar="STEPS",
        help="Steps to record stage by stage: 1, or 1,3-5, or all, or none.",
    ),
]
Jobs = Annotated[
    int | None,
    compute(
        metavar="N",
        help="Runs to train in parallel (default: 1). Keep jobs x threads within your core count.",
    ),
]
Scheduler = Annotated[
    str | None,
    compute(
        metavar="ADDRESS",
        help="Dask scheduler whose workers do the runs, such as tcp://host:8786, instead of "
        "--jobs. All of them must see the output folder under the same path.",
    ),
]
QUIET = ("--quiet", "-q")
Quiet = Annotated[bool, in_panel(OUTPUT)(*QUIET, help="Show results, and no progress.")]


@dataclass(frozen=True)
class RunOptions:
    """What is trained, except for the recipe."""

    variant: Annotated[
        str | None,
        what(
            metavar="NAME",
            help="Variant of the recipe: wide (mlp), semi-supervised or toy (clustering).",
            autocompletion=choices.complete_variant,
        ),
    ] = None
    objective: Annotated[
        str | None,
        what(
            metavar="NAME",
            help="Loss: one of the recipe's objectives, both (the published ones) or all (default: "
            "the first). conv has vae, emae and em.",
            autocompletion=choices.complete_objective,
        ),
    ] = None
    data: Data = "auto"
    epochs: Epochs = None
    steps: Annotated[
        int | None, what(metavar="N", help="Stop after N training steps in total.")
    ] = None
    batch_size: Annotated[
        int | None, what(metavar="N", help="Images per batch (default: as published).")
    ] = None
    latent_dim: LatentDim = None
    learning_rate: Annotated[
        float | None, what(metavar="X", help="Learning rate of Adam (default: as published).")
    ] = None
    set_: Annotated[
        list[str] | None,
        what(
            "--set",
            metavar="NAME=NUMBER",
            help="Setting that only this recipe has, such as temperature=0.5 (listed by pyvae "
            "recipes). Repeat it for several.",
        ),
    ] = None
    dtype: Annotated[str | None, choice("Floating-point type.", choices.DTYPES, WHAT)] = "float32"
    seed: Annotated[
        int,
        what(
            metavar="N",
            help="Seed of the initial parameters, batch order, dropout masks and noise.",
        ),
    ] = 2
    rng: Annotated[
        str,
        what(
            metavar="NAME",
            help="Random numbers: injected (the same for every engine), native (the engine's own "
            "generator), or one by name: torch (pytorch, r-torch), r (base-r, pytorch).",
            autocompletion=complete(choices.RNGS),
        ),
    ] = "injected"

    def steps_or(self, steps: int) -> int | None:
        """The steps after which the run ends, so many where no length was given."""
        return steps if self.epochs is None and self.steps is None else self.steps

    def runs(self, recipe: Recipe, **instead: Any) -> list[Settings]:
        """The settings of one run for each objective.

        Arguments:
            recipe: Says what was published where an option was not given.
            instead: Options to replace.

        Raises:
            UserError: If a value is out of its range.
        """
        from pyvae.model.hyperparameters import parse_hyper

        asked: dict[str, Any] = {
            "objective": self.objective,
            "epochs": self.epochs,
            "steps": self.steps,
            "batch_size": self.batch_size,
            "latent_dim": self.latent_dim,
            "learning_rate": self.learning_rate,
            "hyper": parse_hyper(self.set_ or []),
            "dtype": self.dtype,
            "seed": self.seed,
            "rng": self.rng,
        }
        return recipe.runs(**asked | instead)


@dataclass(frozen=True)
class ComputeOptions:
    """Where and how precisely PyTorch computes."""

    device: Device = "auto"
    precision: Annotated[
        str,
        choice(
            "Precision of matrix products and convolutions: the dtype's own, tf32 (10-bit "
            "mantissa, NVIDIA GPUs) or bf16 (7-bit mantissa, GPUs, and CPUs with AMX or "
            "AVX512-BF16).",
            choices.PRECISIONS,
            COMPUTE,
        ),
    ] = "full"
    threads: Threads = None
