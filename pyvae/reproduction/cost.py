"""What a reproduction costs: the steps that are left, the seconds of one, and the time for all."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice
from pathlib import Path

import torch

from pyvae.data.images import ImageData
from pyvae.engines.engine import DivergedError
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.metrics.held_out import evaluate
from pyvae.model.settings import Settings
from pyvae.parallel.jobs import Workers
from pyvae.reproduction.planned import PlannedRun
from pyvae.reproduction.training import engine_of
from pyvae.trace.trace import Trace
from pyvae.training.loop import training_steps

__all__ = ["Cost", "RunCost", "in_words", "measure_cost", "seconds_a_step"]

WARM = 4  # steps that are not timed: libraries choose their algorithms, a GPU records its graph
LEAST, MOST = 3, 50  # steps that are timed
ENOUGH = 0.3  # seconds of them
TESTED = 500  # images that are evaluated to time it


@dataclass(frozen=True)
class RunCost:
    """What one run costs.

    Attributes:
        folder: Where it is kept.
        kind: Recipe and objective in words: runs of one kind differ in the seed.
        steps: Of the whole run.
        done: Of these, in an earlier call.
        step_seconds: Of one step, with its share of what is computed after an epoch; 0 if none is
            left.
    """

    folder: Path
    kind: str
    steps: int
    done: int
    step_seconds: float

    @property
    def left(self) -> int:
        """Steps to do."""
        return self.steps - self.done

    def seconds(self, done: int) -> float:
        """Of what is left after so many steps."""
        return (self.steps - done) * self.step_seconds


@dataclass(frozen=True)
class Cost:
    """What all runs of a reproduction cost.

    Attributes:
        runs: In the order in which they are trained.
        at_once: How many are trained at the same time.
        share: The part of its threads' time that each then gets.
        by: Who trains, in words; empty: this process.
    """

    runs: tuple[RunCost, ...]
    at_once: int = 1
    share: float = 1.0
    by: str = ""

    @property
    def left(self) -> int:
        """Steps to do."""
        return sum(run.left for run in self.runs)

    def seconds(self, done: Mapping[Path, int] | None = None) -> float:
        """From now to the end of the last run.

        Arguments:
            done: Steps that are done by now of each run, by folder; by default those of an earlier
                call.
        """
        free = [0.0] * self.at_once  # when each of those who train has time for another run
        for run in self.runs:
            begins = heapq.heappop(free)
            steps = run.done if done is None else done[run.folder]
            heapq.heappush(free, begins + run.seconds(steps) / self.share)
        return max(free)

    def lines(self) -> list[str]:
        """The statement before the training: what is left, of each kind and of all; nothing if
        nothing is left."""
        kinds: dict[str, list[RunCost]] = {}
        for run in self.runs:
            kinds.setdefault(run.kind, []).append(run)
        lines = [
            _kind_line(kind, runs) for kind, runs in kinds.items() if any(r.left for r in runs)
        ]
        if not lines:
            return []
        number = sum(run.left > 0 for run in self.runs)
        by = f" by {self.by}, if each is as fast as this process alone" if self.by else ""
        whole = (
            f"to train: {_runs(number)}, {_steps(self.left)}, about {in_words(self.seconds())}{by} "
            "(a few steps of each kind were timed now; figures and measures come on top)"
        )
        return [whole, *lines]


def _kind_line(kind: str, runs: Iterable[RunCost]) -> str:
    going = [run for run in runs if run.left]
    steps, done = sum(run.left for run in going), sum(run.done for run in going)
    seconds = sum(run.seconds(run.done) for run in going)
    before = f"; {done:,} were done before" if done else ""
    return (
        f"  {kind}, {_runs(len(going))}: {_steps(steps)} of {seconds / steps:.2g} s, "
        f"{in_words(seconds)}{before}"
    )


def in_words(seconds: float) -> str:
    """Hours, minutes and seconds, such as 1:10:48."""
    return str(timedelta(seconds=round(seconds)))


def _runs(number: int) -> str:
    return f"{number} run{'' if number == 1 else 's'}"


def _steps(number: int) -> str:
    return f"{number:,} step{'' if number == 1 else 's'}"


def measure_cost(
    runs: Iterable[PlannedRun],
    done: Mapping[Path, int],
    device: str,
    workers: Workers | None = None,
    pace: Callable[[PlannedRun, str], float] | None = None,
) -> Cost:
    """What is left of runs costs; each kind that has steps left is timed.

    Arguments:
        runs: The runs. Those that share a folder are the same run.
        done: Steps that were done before, by folder.
        device: Where they are trained.
        workers: Who trains them in parallel; None: this process, one after the other.
        pace: Measures the seconds of a step; by default `seconds_a_step`.
    """
    measured: dict[tuple[str, Settings, bool], float] = {}
    costs = []
    for planned in {run.folder: run for run in runs}.values():
        run, before = planned.run, done.get(planned.folder, 0)
        alike = replace(run.settings, seed=1, epochs=1, steps=None)
        kind = (run.recipe.name, alike, planned.test is not None)
        if before < run.steps and kind not in measured:
            measured[kind] = (pace or seconds_a_step)(planned, device)
        costs.append(
            RunCost(planned.folder, planned.kind, run.steps, before, measured.get(kind, 0.0))
        )
    if workers is None:
        return Cost(tuple(costs))
    at_once = max(1, min(workers.at_once, sum(run.left > 0 for run in costs)))
    return Cost(tuple(costs), at_once, workers.share(at_once), str(workers))


def seconds_a_step(
    planned: PlannedRun, device: str, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Times the first steps of a run on an engine of its own, which is thrown away.

    Nothing is written, and no generator that a run draws from is moved. Of a run that evaluates
    test images after every epoch, each step takes its share of that.
    """
    run = planned.run
    engine = engine_of(planned, device)
    warm = min(WARM, run.steps - 1)
    done, began = 0, clock()
    with closing(training_steps(run, engine, Trace.of_run(run, engine))) as steps:
        with suppress(DivergedError):  # the run itself tells so, in its turn
            for _ in islice(steps, warm):
                pass
            _wait(engine)
            began = clock()
            for _ in islice(steps, min(MOST, run.steps - warm)):
                done += 1
                if done >= LEAST and clock() - began >= ENOUGH:
                    break
        _wait(engine)
        seconds = (clock() - began) / max(1, done)
        if planned.test is not None:
            seconds += _seconds_to_test(planned.test, planned, engine, clock) / run.steps_per_epoch
    return seconds


def _wait(engine: PyTorchEngine) -> None:
    """Until a GPU has done all steps."""
    if engine.device.type == "cuda":
        torch.cuda.synchronize()


def _seconds_to_test(
    test: ImageData, planned: PlannedRun, engine: PyTorchEngine, clock: Callable[[], float]
) -> float:
    """To compute the losses of all test images, by some of them."""
    labels = None if test.labels is None else test.labels[:TESTED]
    some = ImageData(test.name, test.pixels[:TESTED], labels, test.source)
    began = clock()
    evaluate(engine.network, planned.run.recipe.name, planned.run.settings, some)
    return (clock() - began) * len(test) / len(some)
