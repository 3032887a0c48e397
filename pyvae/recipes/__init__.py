"""The registry of recipes: one published write-up per file."""

from __future__ import annotations

from pyvae.errors import UserError, choose
from pyvae.model.recipe import Recipe, VAEOutput
from pyvae.recipes.beta import BETA
from pyvae.recipes.clustering import CLUSTERING, SEMI_SUPERVISED
from pyvae.recipes.clustering_toy import CLUSTERING_TOY
from pyvae.recipes.conv import CONV
from pyvae.recipes.mlp import MLP, MLP_WIDE
from pyvae.recipes.strided_conv import STRIDED_CONV

__all__ = ["RECIPES", "Recipe", "VAEOutput", "get_recipe", "variants"]

RECIPES = {
    recipe.name: recipe
    for recipe in (
        CONV,
        MLP,
        MLP_WIDE,
        STRIDED_CONV,
        BETA,
        CLUSTERING,
        SEMI_SUPERVISED,
        CLUSTERING_TOY,
    )
}


def get_recipe(name: str, variant: str | None = None) -> Recipe:
    """The recipe of that name, or a variant of it, whose whole name is `NAME-VARIANT`.

    Raises:
        UserError: If there is none.
    """
    recipe = RECIPES[choose("recipe", name, RECIPES)]
    if variant is None:
        return recipe
    if not variants(name):
        raise UserError(
            f"--variant {variant}: recipe {name} has no variants", "leave out --variant"
        )
    return RECIPES[f"{name}-{choose(f'variant of recipe {name}', variant, variants(name))}"]


def variants(name: str) -> list[str]:
    """The variants of a recipe."""
    start = f"{name}-"
    return [other.removeprefix(start) for other in RECIPES if other.startswith(start)]
