"""Commands that show something at once: sample, figures, recipes, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pyvae.cli.options.shared import RecipeFile
from pyvae.errors import UserError, printable

__all__ = ["doctor_command", "figures_command", "recipes_command", "sample_command"]


def sample_command(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A folder of pyvae train, with one objective.")
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Picture to write, such as samples.png.")
    ],
    n: Annotated[int, typer.Option("-n", metavar="N", help="Number of images.")] = 16,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the latent variables.")] = 1,
    recipe: RecipeFile = None,
) -> None:
    """Draw new images (or points) from a trained run: the prior, decoded."""
    from pyvae.figures.draw_run import trace_samples_figure
    from pyvae.figures.style import check_figure_path, draw_figure
    from pyvae.files.writing import output_folder
    from pyvae.recipes import open_recipe
    from pyvae.runs.trained import load_traces, sample

    if not 1 <= n <= 10_000:
        raise UserError(f"-n {n}", expected="1 to 10000")
    if not 0 <= seed < 2**63:
        raise UserError(f"--seed {seed}", expected="0 to 2^63 - 1")
    check_figure_path(out)
    if recipe is not None:
        open_recipe(recipe)
    traces = load_traces(run)
    if len(traces) > 1:
        names = " or ".join(str(run / trace.settings.objective) for trace in traces)
        raise UserError(f"'{run}' holds {len(traces)} runs", f"name one of them: {names}")
    output_folder(out.parent)
    prior = "p(z|y), the clusters in turn" if "clusters" in traces[0].settings.hyper else "N(0, I)"
    samples = sample(traces[0], n, seed)
    draw_figure(lambda: trace_samples_figure(samples, traces[0], prior), out)
    print(f"written: {printable(str(out))}")


def figures_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder of pyvae train.")],
    recipe: RecipeFile = None,
) -> None:
    """Draw the figures of a trained run again, into its folder."""
    from pyvae.figures.draw_run import draw_run

    if recipe is not None:
        from pyvae.recipes import open_recipe

        open_recipe(recipe)
    draw_run(run, required=True)
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
