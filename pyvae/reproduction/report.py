"""What a reproduction reports while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

from rich.console import Console

from pyvae.reproduction.all_runs import AllRuns
from pyvae.reproduction.cost import Cost
from pyvae.reproduction.planned import PlannedRun
from pyvae.terminal.console import progress_console
from pyvae.terminal.job_progress import JobProgress
from pyvae.terminal.step_progress import ShowProgress
from pyvae.training.callbacks import Callback

__all__ = ["ConsoleReport", "Report"]

OnRun = Callable[[str, str], object]


class Report:
    """Prints a line for each piece of news. Override the methods that you need.

    Example:
        >>> class Silent(Report):
        ...     def log(self, line):
        ...         pass
    """

    def log(self, line: str) -> None:
        """Called with a line for a reader."""
        print(line)

    def cost(self, cost: Cost) -> None:
        """Called before the first run is trained, with what all runs cost; nothing is left to train
        if it has no lines."""
        for line in cost.lines():
            self.log(line)

    def callbacks(self, run: PlannedRun) -> Sequence[Callback]:
        """Called before a run is trained in this process; returns callbacks for its training."""
        return ()

    def parallel(self, runs: int) -> AbstractContextManager[OnRun]:
        """Called when workers are about to train so many runs.

        Returns:
            A context manager around the training. It gives a function to be called after every
            run, with a line about the run and the worker that trained it (empty: one of this
            machine).
        """
        return nullcontext(lambda line, worker: self.log(line))


class ConsoleReport(Report):
    """Shows lines and progress bars on a terminal.

    Arguments:
        console: The terminal.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._all: AllRuns | None = None

    def log(self, line: str) -> None:
        self.console.print(line, soft_wrap=True)

    def cost(self, cost: Cost) -> None:
        for line in cost.lines():
            progress_console(self.console).print(line, soft_wrap=True)
        self._all = AllRuns(cost)

    def callbacks(self, run: PlannedRun) -> Sequence[Callback]:
        if self._all is None:
            return [ShowProgress(run.title, console=self.console)]
        show = ShowProgress(run.title, console=self.console, below=self._all.__str__)
        return [self._all.counting(run.folder), show]

    @contextmanager
    def parallel(self, runs: int) -> Iterator[OnRun]:
        with ExitStack() as stack:
            progress = JobProgress(self.console, runs, lines=True)
            if self._all is not None:
                below, left = self._all.line_of_others, self._all.seconds_of_others
                progress = JobProgress(self.console, runs, lines=True, below=below, left=left)
                stack.enter_context(self._all.going())
            stack.enter_context(progress)
            yield lambda line, worker: progress.add(line, where=worker)
