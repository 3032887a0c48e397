"""Data that fits a recipe."""

from __future__ import annotations

from collections.abc import Callable

from pyvae.data.images import ImageData, load_data
from pyvae.errors import UserError
from pyvae.model.recipe import Recipe
from pyvae.model.run import Run
from pyvae.model.settings import Settings

__all__ = ["check_data", "check_run", "load_for"]


def check_run(run: Run) -> None:
    """Raises UserError if a recipe cannot take the data's inputs, or they are too few."""
    check_data(run.recipe, run.data)
    run.settings.total_steps(len(run.data))


def check_data(recipe: Recipe, data: ImageData) -> None:
    """Raises UserError if a recipe cannot take the data's inputs."""
    if data.pixels.shape[1] != recipe.features:
        kinds = {784: "images of 28x28 pixels", 2: "points in the plane (--data toy)"}
        raise UserError(
            f"recipe {recipe.name} with {data.name}, {data.pixels.shape[1]} numbers each",
            expected=kinds.get(recipe.features, f"{recipe.features} numbers each"),
        )


def load_for(
    recipe: Recipe,
    name: str,
    settings: Settings | None = None,
    say: Callable[[str], object] = print,
) -> ImageData:
    """Data by name that a recipe can take, with these settings; `auto` is points for a recipe of
    points.

    Raises:
        UserError: If it cannot be had, or the recipe cannot take it.
    """
    data = load_data("toy" if name == "auto" and recipe.features == 2 else name, say)
    check_data(recipe, data)
    if settings is not None and recipe.given is not None:
        recipe.given(data, settings)  # enough labels? asked before anything is written
    return data
