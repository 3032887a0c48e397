"""How far rounding alone drives two runs apart: measured, not assumed.

PyTorch makes the run again, every parameter moved by one unit in the last place, up or down at
random, before each step. Whatever such a run differs in from the undisturbed one is amplified
rounding, and of the size in which two faithful engines differ: measured on `conv`, `mlp`, `beta`
and the clustering recipes in both precisions, base R and PyTorch on another number of threads
differ from PyTorch by 0.02 to 1.2 times as much (docs/explanation/verdicts.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from comparisons.agreement.arrays import Agreement
from comparisons.steps.comparison import Comparison, compare_whole_runs
from comparisons.steps.progress import ProgressOf, not_shown
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.run import Run
from pyvae.model.settings import Settings
from pyvae.model.stages import Probe
from pyvae.recipes import Recipe
from pyvae.trace.trace import Trace
from pyvae.training.loop import train

__all__ = [
    "FACTOR",
    "Neighbour",
    "Rounding",
    "measure_rounding",
    "neighbours",
    "rounding_note",
]

# Two runs that rounding drives apart differ by chance; of two neighbours the larger difference is
# taken, and what is called rounding may be so many times as large.
FACTOR = 30
NUMBER = 2  # of neighbours
ANYWHERE = 0.5  # of a quantity's own size: no mistake could be told from such a difference
LEAST = 64  # units in the last place of a loss: the order of a sum over a batch


class Neighbour(PyTorchEngine):
    """PyTorch whose parameters are moved by one unit in the last place before each step.

    Arguments:
        number: Each has other random directions.
        adam: As for `PyTorchEngine`.
    """

    name = "neighbour"

    def __init__(self, number: int, adam: str = "torch") -> None:
        super().__init__("cpu", adam, kernels="torch")
        self.number = number

    def start(
        self, recipe: Recipe, settings: Settings, parameters: Mapping[str, Tensor] | None
    ) -> None:
        super().start(recipe, settings, parameters)
        self.directions = torch.Generator().manual_seed(self.number)

    def step(
        self, x: Tensor, draws: Mapping[str, NDArray] | None, probe: Probe | None = None
    ) -> Tensor:
        with torch.no_grad():
            for parameter in self.network.parameters():
                up = torch.rand(parameter.shape, generator=self.directions) < 0.5
                towards = torch.where(up, torch.inf, -torch.inf).to(parameter.dtype)
                parameter.copy_(torch.nextafter(parameter, towards))
        return super().step(x, draws, probe)


def neighbours(adam: str = "torch") -> list[Neighbour]:
    """Engines that differ from PyTorch's by rounding alone."""
    return [Neighbour(number, adam) for number in range(1, NUMBER + 1)]


@dataclass(frozen=True)
class Rounding:
    """What rounding alone makes of a run.

    Attributes:
        needed: By quantity, the tolerance that a neighbour would have needed, the larger one.
        losses: (steps,), the largest relative difference of a neighbour's loss up to each step.
        dtype: The run's precision.
    """

    needed: dict[str, float]
    losses: NDArray[np.float64]
    dtype: str

    def beyond(self, comparison: Comparison) -> list[str]:
        """What disagrees by more than rounding explains, in words: quantities, and the first step
        whose loss does."""
        words = [
            f"{_title(name)} {agreement.problem}"
            if agreement.problem
            else f"{_title(name)} needs {agreement.required_rtol:.1e} where rounding makes "
            f"{self.needed[name]:.1e}"
            for name, agreement in comparison.quantities.items()
            if not agreement.agrees and not self._allows(name, agreement)
        ]
        step = self._first_step_beyond(comparison)
        if step is not None:
            words.append(f"the losses part by more than rounding from step {step} on")
        return words

    def anywhere(self, comparison: Comparison) -> list[str]:
        """What disagrees and rounding alone drives so far that its size tells nothing."""
        return [
            f"{_title(name)} {self.needed[name]:.1e}"
            for name in sorted(comparison.disagreeing())
            if not self.needed.get(name, 0.0) < ANYWHERE
        ]

    def within(self, comparison: Comparison) -> str:
        """What disagrees, and how far rounding drives it, in words."""
        return "; ".join(
            f"{_title(name)} needs {agreement.required_rtol:.1e}, rounding makes "
            f"{self.needed[name]:.1e}"
            for name, agreement in comparison.quantities.items()
            if not agreement.agrees
        )

    def _allows(self, name: str, agreement: Agreement) -> bool:
        bound = min(FACTOR * self.needed.get(name, 0.0), ANYWHERE)
        return not agreement.problem and agreement.required_rtol <= bound

    def _first_step_beyond(self, comparison: Comparison) -> int | None:
        a, b = comparison.under_test.losses[:, 0], comparison.reference.losses[:, 0]
        steps = min(len(a), len(b), len(self.losses))
        apart = _relative(a[:steps], b[:steps])
        bound = np.maximum(FACTOR * self.losses[:steps], LEAST * float(np.finfo(self.dtype).eps))
        beyond = np.flatnonzero(~(apart <= bound))
        return int(beyond[0]) + 1 if len(beyond) else None


def measure_rounding(
    run: Run, progress: ProgressOf = not_shown, adam: str = "torch", plain: Trace | None = None
) -> Rounding:
    """Runs PyTorch again, off by one unit in the last place in each step.

    Arguments:
        run: What is trained.
        progress: Shows how far that is.
        adam: Whose order of operations Adam has.
        plain: PyTorch's own undisturbed run, if it has been made; else it is made as well.
    """
    if plain is None:
        engine = PyTorchEngine("cpu", adam, kernels="torch")
        plain = train(run, engine, callbacks=[progress(engine.name, run)])
    needed: dict[str, float] = {}
    losses = np.zeros(plain.steps)
    for disturbed in neighbours(adam):
        shown = progress("pytorch, off by rounding", run)
        neighbour = train(run, disturbed, callbacks=[shown])
        for name, agreement in compare_whole_runs(plain, neighbour).quantities.items():
            needed[name] = max(needed.get(name, 0.0), agreement.required_rtol)
        losses = np.maximum(losses, _relative(plain.losses[:, 0], neighbour.losses[:, 0]))
    return Rounding(needed, np.maximum.accumulate(losses), run.settings.dtype)


def rounding_note(rounding: Rounding, comparison: Comparison) -> str:
    """Whether a disagreement is rounding, with both sizes, in words."""
    how = (
        "measured: PyTorch against itself, its parameters off by one unit in the last place in "
        "each step"
    )
    anywhere = rounding.anywhere(comparison)
    if anywhere:
        return (
            f"rounding alone drives two such runs so far apart that their ends tell nothing: "
            f"{'; '.join(anywhere)} ({how}); compare fewer steps, or --mode resync"
        )
    beyond = rounding.beyond(comparison)
    if beyond:
        return f"but the difference is larger than rounding makes it: {'; '.join(beyond)} ({how})"
    return (
        f"the difference has grown from rounding: {rounding.within(comparison)} ({how}; up to "
        f"{FACTOR} times that is called rounding)"
    )


def _relative(a: NDArray, b: NDArray) -> NDArray[np.float64]:
    size = np.maximum(np.abs(a), np.abs(b))
    return np.divide(np.abs(a - b), size, out=np.zeros_like(size), where=size > 0)


def _title(name: str) -> str:
    return name.replace("_", " ")
