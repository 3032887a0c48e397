"""Progress of runs on the terminal; plain lines where there is none."""

from __future__ import annotations

import time
from datetime import timedelta
from types import TracebackType
from typing import Any

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from pyvae.model.objectives import OBJECTIVES, Objective
from pyvae.training.callbacks import Progress as Step

__all__ = ["RunProgress"]

MINUTE = 60.0


class RunProgress:
    """Shows how far a run is: steps, images per second, time left, nats per image.

    Use as a context manager; its `observe` is what `pyvae.training.loop.train` takes.

    Arguments:
        title: What runs.
        batch_size: Images in a step.
        console: Where to.
        epochs: Print a line at the end of each epoch.
    """

    def __init__(self, title: str, batch_size: int, console: Console, epochs: bool = False) -> None:
        self.title = title
        self.batch_size = batch_size
        self.console = console
        self.epochs = epochs
        self._live = console.is_terminal and not console.is_dumb_terminal
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("step {task.completed:.0f} of {task.total:.0f}"),
            _ImagesPerSecond(batch_size),
            TimeRemainingColumn(compact=True),
            TextColumn("left  {task.fields[loss]}"),
            console=console,
            transient=True,
            disable=not self._live,
        )
        self._task = self._bar.add_task(title, total=1, loss="")
        self._step = 0
        self._first: int | None = None  # of a run that goes on after an interruption, not 1
        self._said = 0.0

    def observe(self, progress: Step) -> None:
        self._step = progress.step
        if self._first is None:
            self._first = progress.step
        self._say(progress)
        fields: dict[str, Any] = {}
        if progress.epoch_ended:
            last = progress.trace.epoch_table().iloc[-1]
            objective = OBJECTIVES[progress.trace.settings.objective]
            fields["loss"] = objective.words(last[objective.column], 2)
            if self.epochs:
                line = _epoch_line(last, objective, self.batch_size)
                self.console.print(line, highlight=False, markup=False, soft_wrap=True)
        self._bar.update(self._task, completed=progress.step, total=progress.steps, **fields)

    def _done(self) -> int:
        return 0 if self._first is None else self._step - self._first + 1

    def _say(self, progress: Step) -> None:
        """A line a minute where there is no bar."""
        now = time.monotonic()
        if self._live or now - self._said < MINUTE or progress.step == progress.steps:
            return
        self._said = now
        left = (now - self._started) / self._done() * (progress.steps - progress.step)
        self.console.print(
            f"  step {progress.step:,} of {progress.steps:,}, "
            f"{timedelta(seconds=round(left))} left",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )

    def __enter__(self) -> RunProgress:
        self._started = self._said = time.monotonic()
        if not self._live:
            self.console.print(f"{self.title} ...", highlight=False, markup=False)
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()
        seconds = time.monotonic() - self._started
        done = self._done()
        speed = done * self.batch_size / seconds
        how = "" if error is None else ", then interrupted"
        steps = f"{done} step{'' if done == 1 else 's'}"
        self.console.print(
            f"{self.title}: {steps} in {seconds:.0f} s, {speed:,.0f} images/s{how}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


def _epoch_line(epoch: pd.Series, objective: Objective, batch_size: int) -> str:
    images = epoch.steps * batch_size
    parts = {term: objective.per_image(epoch[term], images) for term in objective.terms[1:]}
    mine = f"{objective.words(epoch[objective.column])} ({objective.words_of_parts(parts)})"
    if objective.mean:
        return f"  epoch {epoch.epoch:.0f}: {mine}, mean over its {epoch.steps:.0f} batches"
    return (
        f"  epoch {epoch.epoch:.0f}: {epoch.total:,.2f} nats, summed over its "
        f"{epoch.steps:.0f} batches (as the article prints it); {mine}"
    )


class _ImagesPerSecond(ProgressColumn):
    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed * self.batch_size:,.0f} images/s")
