"""All engines by name: PyTorch's, and those that other packages add."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from pyvae.engines.abilities import Abilities
from pyvae.engines.devices import threads_set
from pyvae.engines.engine import Engine
from pyvae.engines.errors import EngineError, EngineMissingError
from pyvae.engines.generators import generator_names
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError, choose
from pyvae.plugins import names, open_plugin

__all__ = [
    "Reference",
    "best_reference",
    "check_engine",
    "engine_names",
    "get_abilities",
    "open_engine",
    "resolve_rng",
]

ENGINES = "pyvae.engines"
INJECTED, NATIVE = "injected", "native"  # draws that are handed in; the engine's own generator


def engine_names() -> list[str]:
    """Names of all engines: `pytorch`, and those that other packages add through the entry-point
    group `pyvae.engines`."""
    return [PyTorchEngine.name, *names(ENGINES)]


def get_abilities(name: str) -> Abilities:
    """What an engine declares that it can do; the defaults if it declares nothing, is broken, or
    is not known here (a trace may come from elsewhere)."""
    if name not in engine_names():
        return Abilities()
    try:
        return _load(name, _declared)
    except UserError:  # it is told where the engine is opened
        return Abilities()


def check_engine(name: str, recipe: str | None = None) -> None:
    """Checks, without starting anything, that there is an engine of that name, that it can be used
    on this machine, and that it runs a recipe.

    Raises:
        UserError: If there is none, or it cannot run the recipe.
        EngineError: If it cannot be used.
    """
    choose("engine", name, engine_names())
    _load(name, lambda kind: _check(kind, name, recipe))


class Reference(NamedTuple):
    """The engine that `auto` stands for.

    Attributes:
        name: Its name.
        passed_over: Why better ones that are installed cannot be used.
    """

    name: str
    passed_over: list[EngineError]


def best_reference(recipe: str) -> Reference:
    """The best engine to compare PyTorch with: of those that run a recipe and can be used, the one
    with the highest `Abilities.rank`.

    Raises:
        UserError: If there is none; why the last one that could have been it cannot be used.
    """
    ranked = [(get_abilities(name), name) for name in engine_names()]
    candidates = sorted(
        (-abilities.rank, name)
        for abilities, name in ranked
        if abilities.rank > 0 and abilities.runs(recipe)
    )
    if not candidates:
        raise UserError(
            f"no engine is installed that is a reference for recipe '{recipe}'",
            f"choose --engine {' or '.join(engine_names())}",
        )
    passed_over = []
    for _, name in candidates:
        try:
            check_engine(name)
        except EngineError as error:
            last = error
            if not isinstance(error, EngineMissingError):
                passed_over.append(error)
        else:
            return Reference(name, passed_over)
    raise last


def resolve_rng(rng: str, engine: str) -> str:
    """What `Settings.rng` has to be for one engine.

    Arguments:
        rng: `injected`; or `native`, the engine's own generator; or the name of a generator, as
            `pyvae.engines.generators.generator_names` lists them. All but `native` stay.
        engine: The engine's name.

    Raises:
        UserError: If there is no such generator, or the engine has none of its own.

    Example:
        >>> resolve_rng("native", "pytorch")
        'torch'
    """
    choose("rng", rng, (INJECTED, NATIVE, *generator_names()))
    if rng != NATIVE:
        return rng
    own = get_abilities(engine).rng
    if not own:
        raise UserError(
            f"--rng native: engine {engine} has no generator of its own",
            "use --rng injected",
        )
    return own


@contextmanager
def open_engine(
    name: str,
    device: str = "auto",
    adam: str | None = None,
    precision: str = "full",
    recipe: str | None = None,
    threads: int | None = None,
    kernels: str = "torch",
) -> Iterator[Engine]:
    """Opens an engine by name and closes it at the end.

    Arguments:
        name: One of `engine_names`.
        device: For engines that have such an option (`Abilities.options`).
        adam: Likewise.
        precision: Likewise.
        recipe: What it is to run, if that is known: checked before the engine is started.
        threads: Threads of the engine, and of PyTorch until the engine is closed, where batches are
            made; None: as many as PyTorch uses.
        kernels: As `device`. By default PyTorch's own, not the faster ones that `pyvae train`
            takes: an engine is opened to be compared with another, which may have the same bits.

    Raises:
        UserError: If there is none of that name, or it has no such option.
        EngineError: If it cannot be used.
    """
    choose("engine", name, engine_names())
    given = {"device": device, "precision": precision, "adam": adam, "kernels": kernels}

    def make(kind: Any) -> Engine:
        abilities = _declared(kind)
        _check(kind, name, recipe)
        options: dict[str, Any] = {}
        for option, value in given.items():
            if option in abilities.options:
                if value is not None:
                    options[option] = value
            elif option == "adam" and value is not None:
                raise UserError(
                    f"--adam {value} with --engine {name}, whose Adam has one order of operations",
                    "leave out --adam",
                )
        if "threads" in abilities.options:
            options["threads"] = threads
        return kind(**options)

    with threads_set(threads):
        engine = _load(name, make)
        try:
            yield engine
        finally:
            getattr(engine, "close", lambda: None)()


def _load(name: str, use: Callable[[Any], Any]) -> Any:
    """Loads an engine's class, or the function that makes one, and does something with it."""
    if name == PyTorchEngine.name:
        return use(PyTorchEngine)
    return open_plugin(ENGINES, name, use)


def _declared(kind: Any) -> Abilities:
    found = getattr(kind, "abilities", None)
    if isinstance(found, Abilities):
        return found
    return Abilities(recipes=getattr(kind, "recipes", None))  # as engines declared it before


def _check(kind: Any, name: str, recipe: str | None) -> None:
    abilities = _declared(kind)
    if recipe is not None and not abilities.runs(recipe):
        others = [other for other in engine_names() if get_abilities(other).runs(recipe)]
        abilities.check_recipe(name, recipe, others)
    getattr(kind, "check_available", lambda: None)()
