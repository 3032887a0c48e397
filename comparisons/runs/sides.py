"""Which two engines are held against each other, and where their chance comes from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch

from pyvae.engines.adam import ADAMS
from pyvae.engines.devices import set_threads
from pyvae.engines.engine import Engine
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.engines.registry import check_recipe
from pyvae.errors import UserError, choose
from r_bridge.engines.make import ENGINE_NAMES, check_r_engine, make_r_engine
from r_bridge.engines.r_torch import RTorchEngine

__all__ = ["RANDOMNESS", "Sides", "choose_sides", "open_engine", "open_sides"]

RANDOMNESS = ("injected", "seeded", "native")
OWN = {"pytorch": "torch", "r-torch": "torch", "base-r": "r"}  # as `Settings.rng` calls it


@dataclass(frozen=True)
class Sides:
    """Two engines.

    Attributes:
        under_test, reference: Their names.
        randomness: `injected`, `seeded` or `native`.
        exact: Every bit has to be equal.
        adam: Whose order of operations PyTorch's Adam has, one of `pyvae.engines.adam.ADAMS`.
    """

    under_test: str
    reference: str
    randomness: str
    exact: bool
    adam: str

    def rng(self, engine: str) -> str:
        """`Settings.rng` of a side."""
        if self.randomness == "injected":
            return "injected"
        if self.randomness == "native":
            return OWN[engine]
        return "r" if "base-r" in (self.under_test, self.reference) else "torch"

    def __str__(self) -> str:
        return f"{_title(self.under_test)} against {_title(self.reference)}"


def choose_sides(
    under_test: str,
    reference: str,
    randomness: str,
    exact: bool | None,
    adam: str | None,
    recipe: str = "conv",
) -> Sides:
    """Checks what was asked for and fills in what follows from it.

    Arguments:
        under_test: `pytorch`, `base-r` or `r-torch`.
        reference: `auto` (the best R engine that is there), `base-r` or `r-torch`; `pytorch`, too.
        randomness: One of `RANDOMNESS`.
        exact: Whether every bit has to be equal; None: where that can be, that is, where both
            draw from the same seed with the same generator.
        adam: One of `pyvae.engines.adam.ADAMS`; None: R torch's where every bit has to be equal.
        recipe: What is run; R's torch has `conv` alone.

    Raises:
        UserError: If there is no such engine, it cannot be used, or the two cannot be compared
            in this way.
    """
    choose("rng", randomness, RANDOMNESS)
    choose("engine under test", under_test, OWN)
    choose("engine", reference, ("pytorch", *ENGINE_NAMES))
    if reference == "auto" and recipe not in RTorchEngine.recipes:
        reference = "base-r"
    if "r-torch" in (under_test, reference):  # before R's torch is looked for
        check_recipe(RTorchEngine, "r-torch", recipe)
    if reference != "pytorch":
        reference = check_r_engine(reference)
    if under_test != "pytorch":
        check_r_engine(under_test)
    both = {under_test, reference}
    if randomness == "seeded" and both == {"base-r", "r-torch"}:
        raise UserError(
            "--rng seeded with base-r and r-torch",
            "use --rng injected or native, or hold one of them against pytorch",
            expected="two engines that can draw with the same generator",
        )
    if len(both) == 1 and randomness != "native":
        raise UserError(
            f"{under_test} against itself",
            "only --rng native compares an engine with itself, over different seeds",
            expected="two engines",
        )
    if randomness == "native" and exact:
        raise UserError("--exact with --rng native", expected="--rng injected or seeded")
    if exact is None:
        exact = randomness == "seeded" and both == {"pytorch", "r-torch"}
    if adam is not None and "pytorch" not in both:
        raise UserError(
            f"--adam {adam} with {under_test} and {reference}",
            "leave it out: it is the order of operations of PyTorch's Adam",
            expected="pytorch on one side",
        )
    if adam is None:
        adam = "r-torch" if exact and "r-torch" in both else "torch"
    choose("adam", adam, ADAMS)
    return Sides(under_test, reference, randomness, exact, adam)


@contextmanager
def open_sides(sides: Sides, threads: int | None = None) -> Iterator[tuple[Engine, Engine]]:
    """Both engines, with the same number of threads, closed at the end.

    Raises:
        UserError: If one cannot be used.
    """
    with ExitStack() as stack:
        under_test = stack.enter_context(open_engine(sides.under_test, sides.adam, threads))
        reference = stack.enter_context(open_engine(sides.reference, sides.adam, threads))
        yield under_test, reference


@contextmanager
def open_engine(name: str, adam: str = "torch", threads: int | None = None) -> Iterator[Engine]:
    """An engine on the CPU, with so many threads (by default as many as PyTorch uses)."""
    set_threads(threads)
    if name == "pytorch":
        yield PyTorchEngine("cpu", adam)
        return
    with make_r_engine(name, torch.get_num_threads()) as engine:
        yield engine


def _title(engine: str) -> str:
    return {"pytorch": "PyTorch"}.get(engine, engine)
