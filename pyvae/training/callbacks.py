"""Callbacks: they watch a training and may end it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

import torch

from pyvae.engines.engine import Engine
from pyvae.errors import UserError, given
from pyvae.model.run import Run
from pyvae.trace.trace import Trace
from pyvae.training.checkpoint import Checkpoint

__all__ = ["Callback", "Calls", "Progress", "StopTraining"]


@dataclass(frozen=True)
class Progress:
    """Where a training stands after a step.

    Attributes:
        run: What is trained.
        engine: Computes the steps; `engine.parameters()` are those after this step.
        step: The step, from 1.
        steps: Steps of the whole run.
        epoch_ended: Whether it was the last step of an epoch, or of the run.
        trace: Complete up to the end of the last epoch.
        losses: (terms,), the terms of this step's loss in the objective's order, summed over the
            batch (or on the scale that the objective states); still on the engine's device.
        checkpoint: Makes a checkpoint to go on from, which completes the trace up to this step.
    """

    run: Run
    engine: Engine
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
    """Raised by a callback in `on_step`: ends the run after this step, with a complete trace."""


class Callback:
    """Watches a training and may end it. Override the methods that you need.

    `on_step` may raise `StopTraining` to end the run after that step. Any other error ends it, too,
    and is raised from `train`. Of several callbacks, `on_start`, `on_step` and `on_last_step` are
    called in the order in which they were given, `on_end` in the reverse order.

    Example:
        >>> import pyvae
        >>> class StopAtLowKL(pyvae.Callback):
        ...     def __init__(self, bound):
        ...         self.bound = bound  # nats per image
        ...
        ...     def on_step(self, now):
        ...         if now.per_image["regulariser"] < self.bound:
        ...             raise pyvae.StopTraining
        >>> conv, digits = pyvae.get_recipe("conv"), pyvae.load_data("digits")
        >>> run = pyvae.Run(conv, conv.settings(batch_size=50, steps=30, latent_dim=5), digits)
        >>> trace = pyvae.train(run, pyvae.PyTorchEngine(), [StopAtLowKL(0.1)])
        >>> trace.steps < 30, float(trace.losses[-1, 2]) / 50 < 0.1
        (True, True)
    """

    def on_start(self, run: Run, trace: Trace) -> None:
        """Called before the first step."""

    def on_step(self, now: Progress) -> None:
        """Called after every step."""

    def on_last_step(self, now: Progress) -> None:
        """Called after the last step's `on_step`, before latent means and samples are computed.

        The last step is that of the run, or the one after which a callback stopped it.
        """

    def on_end(self, now: Progress | None, error: BaseException | None) -> None:
        """Called at the end, however it came about.

        Arguments:
            now: The step in which a callback failed or was interrupted: a checkpoint can still be
                made of it. None where the run is complete, or the engine failed.
            error: What `train` is about to raise; None if nothing.
        """


class _OnStep(Callback):
    def __init__(self, function: Callable[[Progress], object]) -> None:
        self.function = function

    def on_step(self, now: Progress) -> None:
        self.function(now)


def _checked(callbacks: object) -> list[Any]:
    """Callbacks and functions as a list; raises UserError if they are none."""
    if isinstance(callbacks, str | type) or not isinstance(callbacks, Iterable):
        raise UserError(
            f"train was given {given(callbacks)} for its callbacks",
            "put it into a list: train(run, engine, [callback])",
            expected="a list of callbacks or functions",
        )
    found = list(callbacks)
    for one in found:
        if isinstance(one, type) or not (isinstance(one, Callback) or callable(one)):
            raise UserError(
                f"train was given {given(one)} for a callback",
                expected="a Callback, or a function that is called after every step",
            )
    return found


class Calls:
    """Calls the callbacks of a training.

    Arguments:
        callbacks: In this order; a function is called after every step.

    Attributes:
        stopped: Whether one of them has raised `StopTraining`.
    """

    def __init__(self, callbacks: Sequence[Callback | Callable[[Progress], object]]) -> None:
        all_of_them = _checked(callbacks)
        self._all = [one if isinstance(one, Callback) else _OnStep(one) for one in all_of_them]
        self._now: Progress | None = None
        self.stopped = False

    @contextmanager
    def around(self, run: Run, trace: Trace) -> Iterator[None]:
        """Calls `on_start`, and `on_end` of those that were started, whatever happens."""
        with ExitStack() as ends:
            for callback in self._all:
                callback.on_start(run, trace)
                ends.push(partial(self._end, callback))
            yield

    def after(self, now: Progress) -> None:
        """Calls `on_step`, and `on_last_step` after the last one."""
        self._now = now
        for callback in self._all:
            try:
                callback.on_step(now)
            except StopTraining:
                self.stopped = True
        if self.stopped or now.step == now.steps:
            for callback in self._all:
                callback.on_last_step(now)
        self._now = None  # the engine may fail in the next step

    def _end(
        self,
        callback: Callback,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        callback.on_end(self._now, error)
