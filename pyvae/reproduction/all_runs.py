"""Where all runs of a reproduction stand together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pyvae.model.run import Run
from pyvae.reproduction.cost import Cost, in_words
from pyvae.runs.kept_run import checkpoint_seconds
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Callback, Progress
from pyvae.training.checkpoint import Checkpoint

__all__ = ["AllRuns"]

TRUSTED = 10.0  # seconds of training that the estimate before it is worth
LOOKS = 5.0  # seconds between two looks at the folders
LATE = 2.0  # intervals between checkpoints, after which others that leave none stand still


class AllRuns:
    """Counts the steps of all runs, and tells the time left from the pace so far.

    The pace is the time that passed against the time that was estimated for the same steps: runs
    of other recipes have other steps. Figures that are drawn between two runs do not count. What
    others do is seen when they leave a checkpoint: until the next, they go on at the same pace.

    Arguments:
        cost: What all runs cost, estimated before the first.
        clock: In seconds.
    """

    def __init__(self, cost: Cost, clock: Callable[[], float] = time.monotonic) -> None:
        self.cost = cost
        self._clock = clock
        self._done = {run.folder: run.done for run in cost.runs}
        self._whole = cost.seconds(self._done)
        self._passed = 0.0
        self._since: float | None = None
        self._looked = -LOOKS
        self._seen: float | None = None  # how much had passed when others had come further
        self._late = LATE * checkpoint_seconds()

    @contextmanager
    def going(self) -> Iterator[None]:
        """While runs are trained."""
        self._start()
        try:
            yield
        finally:
            self._stop()

    def counting(self, folder: Path) -> Callback:
        """Counts the steps of the run in a folder, while this process trains it."""
        return _Counting(self, folder)

    def count(self, folder: Path, step: int) -> None:
        """So many steps of the run in a folder are done."""
        if step > self._done.get(folder, step):
            self._done[folder] = step

    def look(self) -> None:
        """Counts what others have done, by the checkpoints that they left."""
        self._looked = self._clock()
        before = sum(self._done.values())
        for run in self.cost.runs:
            if self._done[run.folder] < run.steps:
                self.count(run.folder, Checkpoint.newest_step(run.folder))
        if self._seen is None or sum(self._done.values()) > before:
            self._seen = self._passed_so_far()

    def line_of_others(self) -> str:
        """As `str`, of runs that others train; their folders are not looked at every time."""
        if self._clock() - self._looked >= LOOKS:
            self.look()
        return str(self)

    def seconds_of_others(self) -> float:
        """As `seconds_left`, of runs that others train."""
        self.look()
        return self.seconds_left

    @property
    def seconds_left(self) -> float:
        """Until the last run ends, at the pace so far."""
        left = self.cost.seconds(self._done)
        if left == 0:
            return 0.0
        passed = self._passed_so_far()
        unseen = 0.0 if self._seen is None else min(passed - self._seen, self._late)
        pace = (passed - unseen + TRUSTED) / (self._whole - left + TRUSTED)
        return max(left * pace - unseen, 0.0)

    def __str__(self) -> str:
        """Which run of how many, steps done of all, and the time left; empty at the end."""
        runs = self.cost.runs
        ended = sum(self._done[run.folder] >= run.steps for run in runs)
        if ended == len(runs):
            return ""
        which = f"run {ended + 1} of {len(runs)}"
        if self.cost.at_once > 1:
            which = f"{ended} of {len(runs)} runs done"
        done, steps = sum(self._done.values()), sum(run.steps for run in runs)
        return f"all: {which}, {done:,} of {steps:,} steps, {in_words(self.seconds_left)} left"

    def _passed_so_far(self) -> float:
        now = 0.0 if self._since is None else self._clock() - self._since
        return self._passed + now

    def _start(self) -> None:
        self._since = self._clock()

    def _stop(self) -> None:
        if self._since is not None:
            self._passed += self._clock() - self._since
        self._since = None


class _Counting(Callback):
    def __init__(self, all_runs: AllRuns, folder: Path) -> None:
        self.all_runs = all_runs
        self.folder = folder

    def on_start(self, run: Run, trace: Trace) -> None:
        self.all_runs._start()

    def on_step(self, now: Progress) -> None:
        self.all_runs.count(self.folder, now.step)

    def on_end(self, now: Progress | None, error: BaseException | None) -> None:
        self.all_runs._stop()
