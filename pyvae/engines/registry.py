"""All engines by name: PyTorch's, and those that other packages add."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pyvae.engines.engine import Engine
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError, choose
from pyvae.plugins import names, open_plugin

__all__ = ["check_recipe", "engine_names", "open_engine"]

ENGINES = "pyvae.engines"


def engine_names() -> list[str]:
    """Names of all engines: `pytorch`, and those that other packages add through the entry-point
    group `pyvae.engines` (each entry is called without arguments and returns an engine)."""
    return ["pytorch", *names(ENGINES)]


@contextmanager
def open_engine(
    name: str,
    device: str = "auto",
    adam: str | None = None,
    precision: str = "full",
    recipe: str | None = None,
) -> Iterator[Engine]:
    """An engine by name, closed at the end if it can be.

    Arguments:
        name: One of `engine_names`.
        device, adam, precision: Of the engine `pytorch`.
        recipe: What it is to run, if that is known: asked before it is looked for.

    Raises:
        UserError: If there is none of that name, or it cannot be used.
    """
    choose("engine", name, engine_names())
    if name == "pytorch":
        yield PyTorchEngine(device, adam or "torch", precision)
        return
    if adam is not None:
        raise UserError(
            f"--adam {adam} with --engine {name}", "leave it out", expected="--engine pytorch"
        )

    def make(kind: Callable[[], Engine]) -> Engine:
        if recipe is not None:
            check_recipe(kind, name, recipe)
        return kind()

    engine = open_plugin(ENGINES, name, make)
    try:
        yield engine
    finally:
        getattr(engine, "close", lambda: None)()


def check_recipe(engine: object, name: str, recipe: str) -> None:
    """Asks whether an engine, or its class, can run a recipe: one of those that its `recipes`
    names; without these, any.

    Raises:
        UserError: If it cannot.
    """
    recipes = getattr(engine, "recipes", None)
    if recipes is not None and recipe not in recipes:
        raise UserError(
            f"engine {name} has no recipe '{recipe}'",
            "use --engine base-r",
            expected=" or ".join(recipes),
        )
