"""The progress of a comparison on the terminal."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from pyvae.model.run import Run
from pyvae.terminal.step_progress import RunProgress
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Callback, Progress

__all__ = ["progress_on"]


class _Shown(Callback):
    def __init__(self, title: str, run: Run, console: Console) -> None:
        title = f"{run.objective.title} in {title}"
        self.shown = RunProgress(title, run.settings.batch_size, console)

    def on_start(self, run: Run, trace: Trace) -> None:
        self.shown.__enter__()

    def on_step(self, now: Progress) -> None:
        self.shown.observe(now)

    def on_end(self, now: Progress | None, error: BaseException | None) -> None:
        self.shown.__exit__(None if error is None else type(error), error, None)


def progress_on(console: Console) -> Callable[[str, Run], Callback]:
    """Makes callbacks that show the progress of what is named."""
    return lambda title, run: _Shown(title, run, console)
