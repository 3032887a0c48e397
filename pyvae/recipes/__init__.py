"""The registry of recipes: one published write-up per file, and those of the user's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyvae.errors import UserError, choose
from pyvae.model.recipe import Recipe, VAEOutput
from pyvae.plugins import names, open_plugin, open_plugins
from pyvae.recipes.beta import BETA
from pyvae.recipes.clustering import CLUSTERING, SEMI_SUPERVISED
from pyvae.recipes.clustering_toy import CLUSTERING_TOY
from pyvae.recipes.conv import CONV
from pyvae.recipes.from_file import load_recipe_file, names_recipe_file
from pyvae.recipes.mlp import MLP, MLP_WIDE
from pyvae.recipes.strided_conv import STRIDED_CONV

__all__ = [
    "RECIPES",
    "Recipe",
    "VAEOutput",
    "all_recipes",
    "get_recipe",
    "open_recipe",
    "variants",
]

GROUP = "pyvae.recipes"  # entry points of other packages' recipes

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


_opened: dict[str, Recipe] = {}  # of files, by name


def open_recipe(asked: str, variant: str | None = None) -> Recipe:
    """The recipe that a user asks for, by its name or as `FILE.py:NAME`. From then on `get_recipe`
    knows it by its name, which is what a trace says.

    The file is run. What a trace or a folder says must not come here: it may be a stranger's.

    Raises:
        UserError: If there is none, or the file cannot be used.
    """
    if not names_recipe_file(asked):
        return get_recipe(asked, variant)
    recipe = load_recipe_file(asked)
    if recipe.name in _known_names():
        raise UserError(
            f"recipe file '{asked}' has a recipe named '{recipe.name}', as pyvae has",
            "give it another name",
        )
    _opened[recipe.name] = recipe
    if variant is not None:
        raise UserError(
            f"--variant {variant}: recipe {recipe.name} has no variants", "leave out --variant"
        )
    return recipe


def get_recipe(name: str, variant: str | None = None) -> Recipe:
    """The recipe of that name, or a variant of it, whose whole name is `NAME-VARIANT`.

    It is one of pyvae's own, one that another package has as an entry point in the group
    `pyvae.recipes`, or one that `open_recipe` has opened.

    Raises:
        UserError: If there is none.
    """
    if name in _opened:
        return _opened[name]
    recipe = RECIPES.get(name) or _from_package(name)  # packages are asked last: it takes long
    if variant is None:
        return recipe
    if not variants(name):
        raise UserError(
            f"--variant {variant}: recipe {name} has no variants", "leave out --variant"
        )
    return RECIPES[f"{name}-{choose(f'variant of recipe {name}', variant, variants(name))}"]


def all_recipes() -> Iterator[Recipe]:
    """pyvae's own recipes, and then those that other packages have as entry points. One that is
    broken is told on standard error and left out."""
    yield from RECIPES.values()
    for recipe in open_plugins(GROUP, _checked):
        if recipe.name not in RECIPES:
            yield recipe


def _known_names() -> list[str]:
    return list(dict.fromkeys([*RECIPES, *names(GROUP)]))


def _from_package(name: str) -> Recipe:
    known = _known_names()
    if name not in known:
        choose("recipe", name, (*known, "FILE.py:NAME"))

    def checked(found: Any) -> Recipe:
        if _checked(found).name != name:
            raise TypeError(f"it is no Recipe of the name {name}")
        return _checked(found)

    return open_plugin(GROUP, name, checked)


def _checked(found: Any) -> Recipe:
    if not isinstance(found, Recipe):
        raise TypeError(f"it is a {type(found).__name__}, and no Recipe")
    return found


def variants(name: str) -> list[str]:
    """The variants of a recipe."""
    start = f"{name}-"
    return [other.removeprefix(start) for other in RECIPES if other.startswith(start)]
