"""Shows the progress of many parallel runs: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from threading import Event, Thread

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from pyvae.terminal.bar import Bar, nothing
from pyvae.terminal.console import progress_console

__all__ = ["JobProgress"]

CONTINUE = "Run the same command again to continue."
MINUTE = 60.0


class JobProgress:
    """Shows how many runs are done, and the time left.

    Use it as a context manager, and call `add` for each run that is done.

    Arguments:
        console: The console to print on.
        runs: The number of runs.
        lines: Whether to print a line for each run above the bar, too.
        below: Gives a line on what is done of the runs that are under way, shown below the bar, or
            elsewhere every minute; empty: none.
        left: Gives the seconds left, when a run is done; by default each takes as long as those
            before.
    """

    def __init__(
        self,
        console: Console,
        runs: int,
        lines: bool = False,
        below: Callable[[], str] = nothing,
        left: Callable[[], float] | None = None,
    ) -> None:
        self.console = console = progress_console(console)
        self.runs = runs
        self.done = self.here = 0
        self._live = console.is_terminal and not console.is_dumb_terminal
        self._lines = lines or not self._live
        self._below = below
        self._left = left or self._left_on_average
        time_left = () if left else (TimeRemainingColumn(compact=True), TextColumn("left "))
        self._end = Event()
        self._minutes: Thread | None = None
        self._bar = Bar(
            TextColumn("runs"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            *time_left,
            TextColumn("{task.fields[newest]}", markup=False),
            below=below,
            console=console,
            transient=True,
            disable=not self._live,
        )
        self._task = self._bar.add_task("runs", total=runs, newest="")

    def add(self, words: str, was_there: bool = False, where: str = "") -> None:
        """Counts a run that is done.

        Arguments:
            words: A description of the run.
            was_there: Whether it had been done by an earlier command.
            where: The worker that did it; empty for this machine.
        """
        self.done += 1
        self.here += not was_there
        if where:
            words += f", on worker {where}"
        self._bar.update(self._task, completed=self.done, newest="" if self._lines else words)
        if self._lines and not was_there:
            left = self._left()
            self.console.print(
                f"  {words} ({self.done} of {self.runs}, {timedelta(seconds=round(left))} left)",
                highlight=False, markup=False, soft_wrap=True,
            )  # fmt: skip

    def _left_on_average(self) -> float:
        return (time.monotonic() - self._started) / self.here * (self.runs - self.done)

    def __enter__(self) -> JobProgress:
        self._started = time.monotonic()
        self._bar.start()
        if not self._live and self._below is not nothing:
            self._minutes = Thread(target=self._every_minute, daemon=True)
            self._minutes.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()
        self._end.set()
        if self._minutes is not None:
            self._minutes.join()
        seconds = time.monotonic() - self._started
        before = self.done - self.here
        line = f"{self.here} run{'' if self.here == 1 else 's'} in {seconds:.0f} s"
        if before:
            line += f", {before} {'was' if before == 1 else 'were'} done before"
        if error[0] is not None:
            line += f", then interrupted. {CONTINUE}"
        self.console.print(line, highlight=False, soft_wrap=True)

    def _every_minute(self) -> None:
        """Prints a line a minute where there is no bar: runs in parallel are silent for hours."""
        with suppress(OSError):  # nobody reads any more: the next run's line ends the command
            while not self._end.wait(MINUTE):
                if line := self._below():
                    self.console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
