"""Which two engines are compared, and which generator each draws with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from pyvae.engines.adam import ADAMS
from pyvae.engines.engine import Engine
from pyvae.engines.errors import EngineError
from pyvae.engines.registry import (
    best_reference,
    check_engine,
    engine_names,
    get_abilities,
    open_engine,
    resolve_rng,
)
from pyvae.errors import UserError, choose

__all__ = ["RANDOMNESS", "Sides", "choose_sides", "open_side", "open_sides"]

RANDOMNESS = ("injected", "seeded", "native")
AUTO = "auto"


@dataclass(frozen=True)
class Sides:
    """Two engines.

    Attributes:
        under_test, reference: Their names.
        randomness: `injected`, `seeded` or `native`.
        exact: Whether every bit has to be equal.
        adam: The order of operations of Adam, one of `pyvae.engines.adam.ADAMS`, on a side that can
            have several.
        passed_over: Why better references than the one that `auto` stands for cannot be used.
    """

    under_test: str
    reference: str
    randomness: str
    exact: bool
    adam: str
    passed_over: tuple[EngineError, ...] = ()

    def rng(self, engine: str) -> str:
        """`Settings.rng` of a side."""
        if self.randomness == "seeded":
            return _common_rng(self.under_test, self.reference)
        return resolve_rng(self.randomness, engine)

    def __str__(self) -> str:
        return " against ".join(
            get_abilities(name).title or name for name in (self.under_test, self.reference)
        )


def choose_sides(
    under_test: str,
    reference: str,
    randomness: str,
    exact: bool | None,
    adam: str | None,
    recipe: str,
) -> Sides:
    """Checks which engines are to be compared, and fills in what follows from them.

    Arguments:
        under_test: One of `pyvae.engines.registry.engine_names`.
        reference: One of them, or `auto`: the best reference that can be used.
        randomness: One of `RANDOMNESS`.
        exact: Whether every bit has to be equal; None: where it can be, which is where both draw
            with one generator from one seed and compute with the same kernels.
        adam: One of `pyvae.engines.adam.ADAMS`; None: the reference's, where every bit has to be
            equal.
        recipe: What is run.

    Raises:
        UserError: If there is no such engine, it cannot be used, or the two cannot be compared
            in this way.
    """
    choose("rng", randomness, RANDOMNESS)
    choose("engine under test", under_test, engine_names())
    choose("engine", reference, (AUTO, *engine_names()))
    passed_over: list[EngineError] = []
    if reference == AUTO:
        reference, passed_over = best_reference(recipe)
    for name in (reference, under_test):
        check_engine(name, recipe)
    _check_randomness(under_test, reference, randomness, exact)
    a, b = get_abilities(under_test), get_abilities(reference)
    if exact is None:
        exact = randomness == "seeded" and a.common_adam(b) != ""
    if adam is not None and max(len(a.adams), len(b.adams)) < 2:
        raise UserError(
            f"--adam {adam} with {under_test} and {reference}, neither of which lets you choose it",
            "leave out --adam, or compare with pytorch",
        )
    if adam is None:
        adam = (a.common_adam(b) if exact else "") or "torch"
    choose("adam", adam, ADAMS)
    return Sides(under_test, reference, randomness, exact, adam, tuple(passed_over))


def _check_randomness(under_test: str, reference: str, randomness: str, exact: bool | None) -> None:
    if randomness == "seeded" and not _common_rng(under_test, reference):
        raise UserError(
            f"--rng seeded: {under_test} and {reference} cannot draw with the same generator",
            "use --rng injected or native, or compare one of them with pytorch",
        )
    if under_test == reference and randomness != "native":
        raise UserError(
            f"{under_test} against itself",
            "choose another --engine or --under-test; only --rng native compares an engine with "
            "itself, over different seeds",
        )
    if randomness != "native":
        return
    for name in (under_test, reference):
        resolve_rng(randomness, name)
    if exact:
        raise UserError("--exact with --rng native", "use --rng injected or seeded")


def _common_rng(a: str, b: str) -> str:
    return get_abilities(a).common_rng(get_abilities(b))


@contextmanager
def open_sides(sides: Sides, threads: int | None = None) -> Iterator[tuple[Engine, Engine]]:
    """Opens both engines, on the same number of threads, and closes them at the end.

    Raises:
        UserError: If one cannot be used.
    """
    with ExitStack() as stack:
        under_test = stack.enter_context(open_side(sides.under_test, sides.adam, threads))
        reference = stack.enter_context(open_side(sides.reference, sides.adam, threads))
        yield under_test, reference


@contextmanager
def open_side(name: str, adam: str = "torch", threads: int | None = None) -> Iterator[Engine]:
    """Opens an engine on the CPU.

    Arguments:
        name: One of `pyvae.engines.registry.engine_names`.
        adam: The order of operations of its Adam, if it can have several.
        threads: Threads; None: as many as PyTorch uses.
    """
    several = len(get_abilities(name).adams) > 1
    with open_engine(name, "cpu", adam if several else None, threads=threads) as engine:
        yield engine
