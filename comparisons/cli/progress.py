"""The progress of a comparison on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from comparisons.steps.progress import ProgressOf
from pyvae.model.run import Run
from pyvae.terminal.console import progress_console
from pyvae.terminal.step_progress import ShowProgress
from pyvae.training.callbacks import Callback

__all__ = ["count_on", "progress_on"]


def progress_on(console: Console) -> ProgressOf:
    """Makes callbacks that show the progress of what is named."""

    def progress(title: str, run: Run) -> Callback:
        begun = "" if run.start is None else f" ({run.start.name})"
        title = f"{run.objective.title}{begun} in {title}"
        return ShowProgress(title, console=console)

    return progress


@contextmanager
def count_on(console: Console, title: str) -> Iterator[Callable[[int, int], None]]:
    """Shows a bar on a terminal, and nothing elsewhere; gives what is called with the number that
    is done and the total."""
    console = progress_console(console)
    live = console.is_terminal and not console.is_dumb_terminal
    columns = (
        TextColumn(title),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, transient=True, disable=not live) as bar:
        task = bar.add_task(title)
        yield lambda done, total: bar.update(task, completed=done, total=total)
