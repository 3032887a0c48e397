"""Callbacks: what looks at a training while it goes on, and may end it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from pyvae.model.run import Run
from pyvae.trace.trace import Trace
from pyvae.training.checkpoint import Checkpoint

__all__ = ["Callback", "Progress", "StopTraining", "as_callbacks"]


@dataclass(frozen=True)
class Progress:
    """Where a training stands after a step.

    Attributes:
        run: What is trained.
        step: The step, from 1.
        steps: Steps of the whole run.
        epoch_ended: Whether it was the last step of an epoch, or of the run.
        trace: Complete up to the end of the last epoch.
        losses: (terms,), the terms of this step's loss in the objective's order, summed over the
            batch (or on the scale that the objective states); still on the engine's device.
        checkpoint: Makes a checkpoint to go on from, which completes the trace up to this step.
    """

    run: Run
    step: int
    steps: int
    epoch_ended: bool
    trace: Trace
    losses: torch.Tensor
    checkpoint: Callable[[], Checkpoint]

    @property
    def per_image(self) -> dict[str, float]:
        """The terms of this step's loss by name, for one image: in nats, or on the scale that the
        objective states. Waits for a GPU to finish the step."""
        objective, images = self.run.objective, self.run.settings.batch_size
        values = zip(objective.terms, self.losses.tolist(), strict=True)
        return {name: float(objective.per_image(value, images)) for name, value in values}


class StopTraining(Exception):  # noqa: N818 (as StopIteration: nothing went wrong)
    """Raised by a callback in `on_step`: the run ends after this step, and its trace is complete up
    to it."""


class Callback:
    """Looks at a training while it goes on. Override the methods that you need.

    `on_step` may raise `StopTraining` to end the run after that step. Any other error ends it, too,
    and is raised from `train`. Of several callbacks `on_start` and `on_step` are called in the
    order in which they were given, `on_end` in the reverse order.

    Example:
        >>> class StopAtLowKL(Callback):
        ...     def __init__(self, bound):
        ...         self.bound = bound  # nats per image
        ...
        ...     def on_step(self, now):
        ...         if now.per_image["regulariser"] < self.bound:
        ...             raise StopTraining
    """

    def on_start(self, run: Run, trace: Trace) -> None:
        """Called before the first step."""

    def on_step(self, now: Progress) -> None:
        """Called after every step."""

    def on_end(self, now: Progress | None, error: BaseException | None) -> None:
        """Called at the end, however it came.

        Arguments:
            now: Where the training stands, if it can be gone on from there: where a callback
                ended it early or failed. None where the run is complete, or the engine failed.
            error: What `train` is about to raise; None if nothing.
        """


class _OnStep(Callback):
    def __init__(self, function: Callable[[Progress], object]) -> None:
        self.function = function

    def on_step(self, now: Progress) -> None:
        self.function(now)


def as_callbacks(
    callbacks: Sequence[Callback | Callable[[Progress], object]],
) -> list[Callback]:
    """Callbacks, with functions as callbacks that are called after every step."""
    return [one if isinstance(one, Callback) else _OnStep(one) for one in callbacks]
