"""The progress of a comparison on the terminal."""

from __future__ import annotations

from rich.console import Console

from comparisons.steps.progress import ProgressOf
from pyvae.model.run import Run
from pyvae.terminal.step_progress import ShowProgress
from pyvae.training.callbacks import Callback

__all__ = ["progress_on"]


def progress_on(console: Console) -> ProgressOf:
    """Makes callbacks that show the progress of what is named."""

    def progress(title: str, run: Run) -> Callback:
        title = f"{run.objective.title} in {title}"
        return ShowProgress(title, console=console)

    return progress
