"""What a step is given: images, and draws of one generator or another."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from numpy.typing import NDArray

from pyvae.engines.engine import Engine
from pyvae.model.draws import Draws
from pyvae.model.run import Run
from pyvae.training.prefetch import Prefetch

__all__ = ["Feed", "InjectedFeed", "OwnFeed", "batches", "final_inputs"]

SAMPLES = 16


CPU = torch.device("cpu")


class Feed:
    """What a step is given: images (B, 784) with pixels in [0, 1], and draws.

    The images are on the engine's device. The last incomplete batch of an epoch is dropped.

    Arguments:
        run: The run.
        device: The engine's.

    Attributes:
        order: The current epoch's order of the images, if the engine drew it.
        always: What every step is given beside its draws, such as images with labels.
    """

    def __init__(self, run: Run, device: torch.device) -> None:
        given = run.recipe.given
        self.always = {} if given is None else given(run.data, run.settings)
        self.settings = run.settings
        self.device = device
        self.data = run.data.to(device)
        self.steps_per_epoch = run.steps_per_epoch
        self.order: NDArray | None = None
        self._epoch_order: NDArray | None = None

    def batch(self, order: NDArray, step: int) -> torch.Tensor:
        if order is not self._epoch_order:
            self._epoch_order = order
            self._rows = torch.from_numpy(order).to(self.device)
        first = (step - 1) % self.steps_per_epoch * self.settings.batch_size
        chosen = self._rows[first : first + self.settings.batch_size]
        return self.data.batch(chosen, self.settings.torch_dtype)

    def close(self) -> None:
        """Drops what was prepared for later steps."""


class InjectedFeed(Feed):
    """Takes everything random from `Draws(settings.seed)`."""

    def __init__(self, run: Run, device: torch.device = CPU) -> None:
        super().__init__(run, device)
        settings = run.settings
        self.draws = Draws(settings.seed, settings.dtype)
        self.spec = run.recipe.draws(settings.latent_dim, **settings.hyper)
        self._epoch = -1
        # a GPU is done with a step before the next one's masks are drawn
        self._prefetched = None if device == CPU else Prefetch(self._drawn, last=run.steps)

    def __call__(self, step: int) -> tuple[torch.Tensor, dict[str, NDArray]]:
        return self.images(step), self.after(step - 1)

    def images(self, step: int) -> torch.Tensor:
        epoch = (step - 1) // self.steps_per_epoch
        if epoch != self._epoch:
            self._epoch = epoch
            self._injected_order = self.draws.batch_order(epoch, len(self.data))
        return self.batch(self._injected_order, step)

    def after(self, step: int) -> dict[str, NDArray]:
        return (self._prefetched or self._drawn)(step) | self.always

    def latents(self) -> NDArray:
        return self.draws.normal("samples", 0, (SAMPLES, self.settings.latent_dim))

    def close(self) -> None:
        if self._prefetched is not None:
            self._prefetched.close()
            self._prefetched = None

    def _drawn(self, step: int) -> dict[str, NDArray]:
        return self.draws.step(step, self.settings.batch_size, self.spec)


class OwnFeed(Feed):
    """Leaves masks, noise and the order of the images to the engine."""

    def __init__(
        self, run: Run, engine: Engine, device: torch.device, order: NDArray | None
    ) -> None:
        super().__init__(run, device)
        self.engine = engine
        self.order = order

    def __call__(self, step: int) -> tuple[torch.Tensor, dict[str, NDArray] | None]:
        if (step - 1) % self.steps_per_epoch == 0:
            self.order = self.engine.batch_order(len(self.data))
        return self.images(step), self.always or None

    def images(self, step: int) -> torch.Tensor:
        if self.order is None:
            raise ValueError("no epoch has begun")
        return self.batch(self.order, step)

    def after(self, step: int) -> dict[str, NDArray] | None:
        return self.always or None

    def latents(self) -> NDArray:
        return self.engine.latents(SAMPLES)


def final_inputs(run: Run) -> tuple[torch.Tensor, dict[str, NDArray], NDArray]:
    """What latent means and samples are computed from, of a run with injected draws.

    Returns:
        The images of the last batch (B, 784), the draws of its means in training mode, and latents
        (16, L).
    """
    give = InjectedFeed(run)
    return give.images(run.steps), give.after(run.steps), give.latents()


def batches(run: Run) -> Iterator[tuple[int, torch.Tensor, dict[str, NDArray]]]:
    """What a run with injected draws is given, step by step.

    Yields:
        The step from 1, images (B, 784) with pixels in [0, 1], and draws.
    """
    give = InjectedFeed(run)
    for step in range(1, run.steps + 1):
        yield step, *give(step)
