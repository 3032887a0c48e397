"""Whether data fit a recipe, and what is to be trained can be."""

from __future__ import annotations

from collections.abc import Callable

from pyvae.data.images import ImageData, load_data
from pyvae.data.pixels import DIGITS
from pyvae.engines.engine import Engine
from pyvae.errors import UserError, given
from pyvae.model.recipe import Recipe
from pyvae.model.run import Run
from pyvae.model.settings import Settings

__all__ = ["check_data", "check_engine", "check_run", "load_for"]


def check_run(run: Run) -> None:
    """Raises UserError if a recipe cannot take the data's inputs, or they are too few."""
    if not isinstance(run, Run):
        raise UserError(
            f"train was given {given(run)} to train",
            "use Run(recipe, recipe.settings(epochs=1), load_data('digits'))",
            expected="a Run",
        )
    check_data(run.recipe, run.data)
    run.settings.total_steps(len(run.data))


def check_engine(engine: Engine) -> None:
    """Raises UserError if it is none: its name, or its class."""
    if isinstance(engine, type) or not hasattr(engine, "step"):
        raise UserError(
            f"train was given {given(engine)} for its engine",
            "use PyTorchEngine()",
            expected="an engine",
        )


def check_data(recipe: Recipe, data: ImageData) -> None:
    """Raises UserError if a recipe cannot take the data's inputs."""
    numbers = data.pixels.shape[1]
    if numbers != recipe.features:
        takes = _in_words(recipe.features, recipe.shape)
        takes += " (--data toy)" if takes == POINTS else ""
        raise UserError(
            f"recipe {recipe.name} takes {takes}, and {data.name} holds "
            f"{_in_words(numbers, data.shape)}",
            "choose another --data" if recipe.features in KINDS else "give --data FILE.npz",
        )


POINTS = "points in the plane"
KINDS = {784: "images of 28x28 pixels", 2: POINTS}


def _in_words(numbers: int, shape: tuple[int, ...]) -> str:
    """What inputs of so many numbers, or images of a shape, are."""
    if len(shape) == len(DIGITS) and shape != DIGITS:
        return f"images of shape {shape} (channels, height, width)"
    return KINDS.get(numbers, f"rows of {numbers} numbers")


def load_for(
    recipe: Recipe,
    name: str,
    settings: Settings | None = None,
    log: Callable[[str], object] = print,
) -> ImageData:
    """Loads data that a recipe can take.

    Arguments:
        recipe: What is trained.
        name: As `pyvae.data.images.load_data` takes it; `auto` is points for a recipe of points.
        settings: If they are known, it is checked that there are enough labels for them.
        log: Called with a line on where the data come from.

    Raises:
        UserError: If the data are not there, or the recipe cannot take them.
    """
    name = "toy" if name == "auto" and recipe.features == 2 else name
    data = load_data(name, log, recipe.shape or DIGITS)
    check_data(recipe, data)
    if settings is not None and recipe.given is not None:
        recipe.given(data, settings)  # checked before anything is written
    return data
