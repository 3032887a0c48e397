"""What an option may be, for `--help` and for shell completion.

The fixed names are repeated here as text, for PyTorch takes seconds to import and `--help` and the
Tab key must not wait for it. A test holds them to the packages' own tables, and the packages check
what was given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import typer

from pyvae.plugins import names

__all__ = [
    "ADAMS",
    "ARTICLES",
    "DATA",
    "DEVICES",
    "DTYPES",
    "PRECISIONS",
    "RECIPES",
    "RNGS",
    "complete",
    "complete_objective",
    "complete_variant",
    "engines",
]

RECIPES = (
    "conv",
    "mlp",
    "mlp-wide",
    "strided-conv",
    "beta",
    "clustering",
    "clustering-semi-supervised",
    "clustering-toy",
)
ARTICLES = ("conv", "mlp", "strided-conv", "beta", "clustering", "all")
DATA = ("auto", "mnist", "fashion-mnist", "kmnist", "digits", "toy")
DTYPES = ("float32", "float64")
RNGS = ("injected", "native", "torch", "r")
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("full", "tf32", "bf16")
ADAMS = ("torch", "r-torch")


def complete(choices: Iterable[str]) -> Callable[[str], list[str]]:
    """A completion for typer that offers those of the choices that begin with what was typed."""

    def begun(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return begun


def engines() -> list[str]:
    """The names of all installed engines; none of them is imported."""
    return ["pytorch", *names("pyvae.engines")]


def complete_objective(context: typer.Context, incomplete: str) -> list[str]:
    """The objectives of the recipe that is on the command line so far."""
    from pyvae.recipes import RECIPES

    recipe = RECIPES.get(_recipe(context))
    if recipe is None:
        return []
    together = ("both", "all") if len(recipe.objectives) + len(recipe.further) > 1 else ()
    return complete((*recipe.objectives, *recipe.further, *together))(incomplete)


def complete_variant(context: typer.Context, incomplete: str) -> list[str]:
    """The variants of the recipe that is on the command line so far."""
    from pyvae.recipes import variants

    return complete(variants(_recipe(context)))(incomplete)


def _recipe(context: typer.Context) -> str:
    """The recipe on a command line that is not complete: an argument may not be read yet."""
    return context.params.get("recipe") or next(iter(context.args), "conv")
