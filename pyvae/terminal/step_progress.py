"""The progress of a training on the terminal, or as plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from pyvae.model.objectives import OBJECTIVES, Objective
from pyvae.model.run import Run
from pyvae.terminal.bar import Bar, nothing
from pyvae.terminal.console import Terminal, progress_console
from pyvae.trace.header import RECIPE_FILE
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Callback
from pyvae.training.callbacks import Progress as Step

__all__ = ["ShowProgress"]

MINUTE = 60.0


class ShowProgress(Callback):
    """Shows a training's steps, images per second, time left and loss.

    On a terminal it is a bar, elsewhere a line a minute.

    Arguments:
        title: The name of the run; by default a training's objective, data and device.
        console: The console to print on; by default the terminal.
        epochs: Whether to print a line at the end of each epoch.
        below: Gives a line on what the run is a part of, shown with its own; empty: none.

    Example:
        >>> train(run, engine, [ShowProgress()])  # doctest: +SKIP
    """

    def __init__(
        self,
        title: str = "",
        console: Console | None = None,
        epochs: bool = False,
        below: Callable[[], str] = nothing,
    ) -> None:
        self.title = title
        self.console = Terminal() if console is None else progress_console(console)
        self.epochs = epochs
        self.below = below
        self._live = self.console.is_terminal and not self.console.is_dumb_terminal

    def on_start(self, run: Run, trace: Trace) -> None:
        self._shown = self.title or _title(trace)
        self._images = run.settings.batch_size
        self._of_article = RECIPE_FILE not in trace.environment
        self._step = 0
        self._first: int | None = None  # not 1 in a run that continues an interrupted one
        self._started = self._printed = time.monotonic()
        self._bar = self._make_bar()
        self._task = self._bar.add_task(self._shown, total=1, loss="")
        if not self._live:
            self._print(f"{self._shown} ...")
        self._bar.start()

    def on_step(self, now: Step) -> None:
        self._count(now)
        self._print_step(now)
        fields: dict[str, Any] = {}
        if now.epoch_ended:
            last = now.trace.epoch_table().iloc[-1]
            objective = OBJECTIVES[now.trace.settings.objective]
            fields["loss"] = objective.words(last[objective.column], 2)
            if self.epochs:
                self._print(_epoch_line(last, objective, self._images, self._of_article))
        self._bar.update(self._task, completed=now.step, total=now.steps, **fields)

    def on_end(self, now: Step | None, error: BaseException | None) -> None:
        self._bar.stop()
        seconds = time.monotonic() - self._started
        if now is not None:  # a callback before this one has ended the run
            self._count(now)
        done = self._done()
        speed = done * self._images / seconds
        how = "" if error is None else ", then interrupted"
        steps = f"{done} step{'' if done == 1 else 's'}"
        self._print(f"{self._shown}: {steps} in {seconds:.0f} s, {speed:,.0f} images/s{how}")
        if not self._live and error is None and (line := self.below()):
            self._print(f"  {line}")

    def _make_bar(self) -> Bar:
        return Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("step {task.completed:.0f} of {task.total:.0f}"),
            _ImagesPerSecond(self._images),
            TimeRemainingColumn(compact=True),
            TextColumn("left  {task.fields[loss]}"),
            below=self.below,
            console=self.console,
            transient=True,
            disable=not self._live,
        )

    def _count(self, now: Step) -> None:
        self._step = now.step
        if self._first is None:
            self._first = now.step

    def _done(self) -> int:
        return 0 if self._first is None else self._step - self._first + 1

    def _print(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _print_step(self, now: Step) -> None:
        """Prints a line a minute where there is no bar."""
        seconds = time.monotonic()
        if self._live or seconds - self._printed < MINUTE or now.step == now.steps:
            return
        self._printed = seconds
        left = (seconds - self._started) / self._done() * (now.steps - now.step)
        line = f"  step {now.step:,} of {now.steps:,}, {timedelta(seconds=round(left))} left"
        whole = self.below()
        self._print(f"{line} ({whole})" if whole else line)


def _title(trace: Trace) -> str:
    objective = OBJECTIVES[trace.settings.objective]
    device = trace.environment.get("device", trace.engine)
    title = f"{objective.title} on {trace.data['name']}, {device}"
    processes = trace.environment.get("processes")
    return title if processes is None else f"{title}, {processes} processes"


def _epoch_line(
    epoch: pd.Series, objective: Objective, batch_size: int, of_article: bool = True
) -> str:
    """The losses of an epoch in a line; only pyvae's recipes are of an article."""
    images = epoch.steps * batch_size
    batches = "1 batch" if epoch.steps == 1 else f"{epoch.steps:.0f} batches"
    parts = {term: objective.per_image(epoch[term], images) for term in objective.terms[1:]}
    mine = f"{objective.words(epoch[objective.column])} ({objective.words_of_parts(parts)})"
    if objective.mean:
        return f"  epoch {epoch.epoch:.0f}: {mine}, mean over its {batches}"
    article = " (as the article prints it)" if of_article else ""
    return (
        f"  epoch {epoch.epoch:.0f}: {epoch.total:,.2f} nats, summed over its {batches}{article}; "
        f"{mine}"
    )


class _ImagesPerSecond(ProgressColumn):
    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed * self.batch_size:,.0f} images/s")
