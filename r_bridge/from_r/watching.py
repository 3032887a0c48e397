"""Callbacks of a training that R watches from another thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from pyvae.errors import choose
from pyvae.model.objectives import Objective
from pyvae.training.callbacks import Callback, Progress, StopTraining
from pyvae.training.validation import Validate

__all__ = ["Asker", "Reporter"]


class Reporter(Callback):
    """Records the progress of a run, one line for each epoch, and ends the run when asked to.

    Arguments:
        objective: What is minimised.
        validate: The validation of the run, if it has any.
    """

    def __init__(self, objective: Objective, validate: Validate | None = None) -> None:
        self.objective = objective
        self.validate = validate
        self.step = 0
        self.lines: list[str] = []
        self.stop = threading.Event()

    def on_step(self, now: Progress) -> None:
        self.step = now.step
        if now.epoch_ended:
            last = now.trace.epoch_table().iloc[-1]
            words = self.objective.words(last[self.objective.column])
            if self.validate is not None:
                words += f", validation {self.objective.words(self.validate.rows[-1]['total'])}"
            self.lines.append(f"epoch {last.epoch:.0f}: {words}")
        if self.stop.is_set():
            raise StopTraining


class Asker(Callback):
    """Asks R after every step, or every epoch, whether to go on; the training waits for the answer.

    Arguments:
        every: `step` or `epoch`.
        validate: The validation of the run, if it has any.
        wake: Called when there is a question.

    Attributes:
        question: What R is asked now: `epoch`, `step`, `steps`, `epoch_ended`, and the terms of one
            image: `step_loss` (None if R is asked every epoch), and after an epoch `epoch_loss`,
            the mean over it, and `validation`, of the images that are held out. None while there is
            no question.
        stopped: Whether R's answer ended the run.
    """

    def __init__(self, every: str, validate: Validate | None, wake: Callable[[], object]) -> None:
        self.every = choose("callbacks", every, ("step", "epoch"))
        self.validate = validate
        self.wake = wake
        self.question: dict[str, Any] | None = None
        self.stopped = False
        self._answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._closed = False

    def on_step(self, now: Progress) -> None:
        if self._closed or (self.every == "epoch" and not now.epoch_ended):
            return
        self.question = self._ask(now)
        self.wake()
        go_on = self._answers.get()
        self.question = None
        if not go_on:
            self.stopped = True
            raise StopTraining

    def answer(self, go_on: bool) -> None:
        """Gives R's answer."""
        self._answers.put(go_on)

    def close(self) -> None:
        """Asks no more; a training that waits for an answer goes on."""
        self._closed = True
        self._answers.put(True)

    def _ask(self, now: Progress) -> dict[str, Any]:
        validation = None
        if self.validate is not None and now.epoch_ended:
            row = self.validate.rows[-1]
            validation = {name: float(value) for name, value in row.items() if name != "epoch"}
        return {
            "epoch": (now.step - 1) // now.run.steps_per_epoch + 1,
            "step": now.step,
            "steps": now.steps,
            "epoch_ended": now.epoch_ended,
            "step_loss": now.per_image if self.every == "step" else None,
            "epoch_loss": _of_epoch(now) if now.epoch_ended else None,
            "validation": validation,
        }


def _of_epoch(now: Progress) -> dict[str, float]:
    """The terms of one image, the mean over the epoch that has ended."""
    objective, last = now.run.objective, now.trace.epoch_table().iloc[-1]
    images = last["steps"] * now.run.settings.batch_size
    return {name: float(objective.per_image(last[name], images)) for name in objective.terms}
