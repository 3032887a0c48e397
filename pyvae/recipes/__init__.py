"""The registry of recipes: one published write-up per file."""

from __future__ import annotations

from pyvae.errors import choose
from pyvae.recipes.conv import CONV
from pyvae.recipes.recipe import Recipe, VAEOutput

__all__ = ["RECIPES", "Recipe", "VAEOutput", "get_recipe"]

RECIPES = {recipe.name: recipe for recipe in (CONV,)}


def get_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        UserError: If there is none.
    """
    return RECIPES[choose("recipe", name, RECIPES)]
