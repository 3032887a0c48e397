"""Commands that show something at once: figures, recipes, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pyvae.cli.options.shared import RecipeFile
from pyvae.cli.trained import ImagesFrom
from pyvae.errors import printable

__all__ = ["doctor_command", "figures_command", "recipes_command"]


def figures_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder of pyvae train.")],
    data: ImagesFrom = None,
    recipe: RecipeFile = None,
) -> None:
    """Draw the figures of a trained run again, into its folder."""
    from pyvae.figures.draw_run import draw_run
    from pyvae.recipes import open_recipe
    from pyvae.runs.trained.network import load_traces
    from pyvae.trace.recipe import recipe_of
    from pyvae.training.inputs import load_for

    if recipe is not None:
        open_recipe(recipe)
    images = None if data is None else load_for(recipe_of(load_traces(run)[0]), data)
    draw_run(run, required=True, data=images)
    print(f"written: {printable(str(run))}")


def recipes_command() -> None:
    """List the recipes, other packages' as well, with losses, published settings and variants."""
    from pyvae.model.objectives import OBJECTIVES
    from pyvae.recipes import all_recipes, variants

    for recipe in all_recipes():
        print(f"{recipe.name}: {recipe.title}")
        print(f"    source: {recipe.source}")
        for name in (*recipe.objectives, *recipe.further):
            print(f"    objective {name}: {OBJECTIVES[name].formula}")
        print(
            f"    settings: {recipe.epochs} epochs, batch {recipe.batch_size}, "
            f"{recipe.latent_dim} latent dimensions, Adam {recipe.learning_rate:g}"
        )
        for hyper in recipe.hyper:
            print(f"    --set {hyper.name}={hyper.value:g}: {hyper.what}")
        if variants(recipe.name):
            print(f"    variants: {', '.join(variants(recipe.name))}")


def doctor_command() -> None:
    """Check the installation: what is there, what is missing, and how to get it."""
    from pyvae.cli.doctor import examine

    raise typer.Exit(examine())
