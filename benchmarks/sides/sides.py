"""The sides that run in Python. Each is a generator that does one step of training, or of whatever
it does, when it is asked for the next item; what it needs is loaded before."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

from benchmarks.given.case import ENDLESS, Case
from benchmarks.limits.limits import copies, products
from pyvae.engines.allocator import keep_freed_memory
from pyvae.engines.engine import Engine
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import choose
from pyvae.model.run import Run

__all__ = ["PYTHON_SIDES", "Steps", "open_side"]

Steps = Mapping[str, Iterator[object]]  # by case; nothing is computed before the first item
PYTHON_SIDES = ("pyvae", "plain", "base_r", "limits")


def open_side(
    name: str, cases: Mapping[str, Case], folder: str, threads: int, close: ExitStack
) -> tuple[Steps, list[int]]:
    """Loads what a side needs.

    Arguments:
        name: One of `PYTHON_SIDES`.
        cases: What it is going to run, by name; the limits have their own.
        folder: Of MNIST, in torchvision's layout.
        threads: Of BLAS, where the side starts another program.
        close: Ends it.

    Returns:
        The steps of each case, and the processes that do them.

    Raises:
        UserError: If there is no such side, or it cannot be had.
    """
    choose("side", name, PYTHON_SIDES)
    here = [os.getpid()]
    if name == "limits":
        return {"product": products(), "copy": copies()}, here
    if name == "plain":
        return _plain(cases, folder), here
    if name == "pyvae":
        keep_freed_memory()  # as the command line does
        return _training(cases, lambda: PyTorchEngine("cpu")), here
    from r_bridge.engines.base_r import BaseREngine

    engine = close.enter_context(BaseREngine(threads))
    return _training(cases, lambda: engine), [*here, engine.process.pid]


def _training(cases: Mapping[str, Case], engine: Callable[[], Engine]) -> Steps:
    """pyvae's own loop, as `pyvae train` runs it."""
    from pyvae.data.images import load_data
    from pyvae.trace.trace import Trace
    from pyvae.training.loop import training_steps

    data = load_data("mnist")

    def steps(case: Case) -> Iterator[object]:
        recipe, settings = case.chosen()
        images, computing = case.of(data), engine()
        trace = Trace.of_run(Run(recipe, settings, images), computing)
        return training_steps(Run(recipe, settings, images), computing, trace)

    return {name: steps(case) for name, case in cases.items()}


def _plain(cases: Mapping[str, Case], folder: str) -> Steps:
    # torchvision: seconds that only this one pays
    from benchmarks.plain_loops import plain_loop, plain_recipes

    images = plain_loop.load(folder)

    def steps(case: Case) -> Iterator[object]:
        if case.recipe != "conv":
            return plain_recipes.train(images, case)
        _, settings = case.chosen()
        return plain_loop.train(images, settings.batch_size, settings.latent_dim, ENDLESS)

    return {name: steps(case) for name, case in cases.items()}
