"""What every engine does: it takes the steps of one run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pyvae.engines.abilities import Abilities
from pyvae.errors import UserError
from pyvae.model.recipe import Recipe
from pyvae.model.settings import Settings
from pyvae.model.stages import Probe

__all__ = ["DivergedError", "Engine", "EngineClass"]


class DivergedError(UserError):
    """Training diverged: the loss of a step is NaN or infinite.

    Arguments:
        step: The step, if it is known.
        first: The first value that is not finite, as
            `pyvae.training.not_finite.first_not_finite` describes it.
    """

    of_one_process = True  # of several that share a batch, perhaps only one sees it

    def __init__(self, step: int | None = None, first: str = "") -> None:
        where = "" if step is None else f" in step {step}"
        begins = f"; it begins with {first}" if first else ""
        super().__init__(
            f"training diverged{where}: the loss is not a finite number{begins}",
            "try a smaller --learning-rate",
        )


class Engine(Protocol):
    """What the training loop asks of an engine.

    Batches x are (B, 784) tensors with pixels in [0, 1]; draws are arrays as
    `pyvae.model.draws.Draws.step` returns them. What goes wrong in the engine it raises as
    `EngineError`.

    It is made known through the entry-point group `pyvae.engines`: by its class, or a function that
    returns one, which may declare what `EngineClass` lists. If it has a method `close`, it is
    called at the end.

    Attributes:
        name: On the command line and in traces.
    """

    name: str

    def start(
        self, recipe: Recipe, settings: Settings, parameters: Mapping[str, Tensor] | None
    ) -> None:
        """Begins a run with a fresh optimiser, from the given parameters; without, from those
        that the engine's own generator draws after it was seeded with the settings' seed."""

    def batch_order(self, images: int) -> NDArray[np.int64]:
        """The order of the next epoch, from the engine's own generator."""

    def step(
        self, x: Tensor, draws: Mapping[str, NDArray] | None, probe: Probe | None = None
    ) -> Tensor:
        """One training step; the objective's terms before the step, in its order (total,
        reconstruction, regulariser, ...).

        In a run whose draws are not injected the engine draws masks and noise itself; the draws
        then hold what every step is given, if anything.
        A dict given as `probe` is filled with what `pyvae.model.stages` lists. If the step fails it
        holds what was computed until then.

        Raises:
            DivergedError: If the total is not finite; parameters, moments and running statistics
                are then those that the step started from. (On a GPU nobody waits for the total.)
        """

    def state(self) -> Probe:
        """What the next step starts from: `parameter/...`, `moment1/...`, `moment2/...` and
        `buffer/...` as in a probe, and `step` (), the number of steps so far."""

    def restore(self, state: Mapping[str, NDArray]) -> None:
        """Goes on from a state, of this engine or another."""

    def generator_state(self) -> NDArray | None:
        """Where the engine's own generator stands; None in a run with injected draws."""

    def restore_generator(self, state: NDArray) -> None:
        """Goes on drawing from there."""

    def latent_means(
        self, x: Tensor, draws: Mapping[str, NDArray] | None, training: bool
    ) -> NDArray:
        """Posterior means (B, L): in training mode (dropout on, with these draws or else the
        engine's own), or in evaluation mode."""

    def latents(self, images: int) -> NDArray:
        """Draws (images, L) from the prior N(0, I), from the engine's own generator."""

    def decode(self, z: NDArray) -> NDArray:
        """Pixels (B, 784) in [0, 1] of latents (B, L)."""

    def parameters(self) -> dict[str, NDArray]:
        """The parameters (and batch norm's running statistics) as they stand, by name."""

    def environment(self) -> dict[str, str]:
        """Versions and threads that the numbers depend on."""


class EngineClass(Protocol):
    """What an engine's class declares before there is an engine; all of it may be left out.

    Attributes:
        abilities: What the engine can do.
    """

    abilities: ClassVar[Abilities] = Abilities()

    @classmethod
    def check_available(cls) -> None:
        """Checks, without starting anything that would have to be ended, that the engine can be
        used on this machine.

        Raises:
            EngineMissingError: If it, or something that it needs, is not installed.
            EngineError: If what is installed cannot be used.
        """

    def __call__(self, **options: Any) -> Engine:
        """Starts an engine.

        Arguments:
            options: Those of `open_engine`'s that `abilities.options` names.

        Raises:
            EngineError: If it cannot be started.
        """
