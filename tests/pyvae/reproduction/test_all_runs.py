"""Where all runs stand together, by a clock that is set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pyvae.data.images import load_toy
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.reproduction.all_runs import AllRuns
from pyvae.reproduction.cost import Cost, RunCost
from pyvae.reproduction.planned import PlannedRun
from pyvae.reproduction.training import train_planned
from pyvae.training.checkpoint import Checkpoint

A, B, C = Path("a"), Path("b"), Path("c")


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def three(**options):
    """Of 100, 100 and 50 seconds; of the second 20 are done."""
    return Cost(
        (RunCost(A, "x", 100, 0, 1.0), RunCost(B, "x", 100, 20, 1.0), RunCost(C, "y", 25, 0, 2.0)),
        **options,
    )


def test_before_the_first_step_the_estimate_is_told(clock):
    all_runs = AllRuns(three(), clock)
    assert str(all_runs) == "all: run 1 of 3, 20 of 225 steps, 0:03:50 left"


def test_the_time_left_follows_the_pace(clock):
    """After 50 steps of a second each, which took 110 s, the rest takes twice as long as estimated
    (the estimate is worth 10 s)."""
    all_runs = AllRuns(three(), clock)
    with all_runs.going():
        all_runs.count(A, 50)
        clock.now += 110
        assert all_runs.seconds_left == pytest.approx((50 + 80 + 50) * 120 / 60)
        assert str(all_runs) == "all: run 1 of 3, 70 of 225 steps, 0:06:00 left"


def test_what_happens_between_runs_does_not_count(clock):
    all_runs = AllRuns(three(), clock)
    for folder, steps in ((A, 100), (B, 100)):
        with all_runs.going():
            all_runs.count(folder, steps)
            clock.now += 90
        clock.now += 10_000  # figures
    assert all_runs.seconds_left == pytest.approx(50 * (180 + 10) / (180 + 10))
    assert str(all_runs).startswith("all: run 3 of 3, 200 of 225 steps, 0:00:50")


def test_steps_are_never_taken_back_and_other_runs_do_not_count(clock):
    all_runs = AllRuns(three(), clock)
    all_runs.count(B, 10)
    all_runs.count(Path("another"), 7)
    assert "20 of 225 steps" in str(all_runs)


def test_at_the_end_there_is_nothing_to_say(clock):
    all_runs = AllRuns(three(), clock)
    for folder in (A, B):
        all_runs.count(folder, 100)
    all_runs.count(C, 25)
    assert str(all_runs) == ""
    assert all_runs.seconds_left == 0


def test_several_at_once_say_how_many_are_done(clock):
    all_runs = AllRuns(three(at_once=2), clock)
    all_runs.count(A, 100)
    assert str(all_runs).startswith("all: 1 of 3 runs done, 120 of 225 steps, ")


@pytest.fixture
def run(tmp_path):
    """Thirty steps on points."""
    recipe = get_recipe("clustering-toy")
    settings = recipe.settings(epochs=10, batch_size=10)
    return PlannedRun(Run(recipe, settings, load_toy(30)), tmp_path / "run")


def test_as_a_callback_it_counts_steps_and_their_time(run, clock):
    all_runs = AllRuns(Cost((RunCost(run.folder, "x", 30, 0, 1.0),)), clock)
    seen = []

    def watch(now):
        clock.now += 3
        seen.append(str(all_runs))

    train_planned(run, "cpu", [all_runs.counting(run.folder), watch])
    left = 29 * (3 + 10) / (1 + 10)
    assert seen[0] == f"all: run 1 of 1, 1 of 30 steps, 0:00:{left:.0f} left"
    assert len(seen) == 30
    assert str(all_runs) == ""


def test_others_are_counted_by_their_checkpoints_not_all_the_time(clock, tmp_path):
    folder = tmp_path / "run"
    all_runs = AllRuns(Cost((RunCost(folder, "x", 30, 0, 1.0),), at_once=2), clock)
    assert "0 of 30 steps" in all_runs.line_of_others()
    folder.mkdir()
    Checkpoint(7, {"step": np.array(7)}).save(folder)
    clock.now += 4
    assert "0 of 30 steps" in all_runs.line_of_others()
    clock.now += 1
    assert "7 of 30 steps" in all_runs.line_of_others()
    Checkpoint(30, {"step": np.array(30)}).save(folder)
    assert all_runs.seconds_of_others() == 0  # asked for when a run has ended: looks at once


def test_until_the_next_checkpoint_others_go_on_at_the_same_pace(clock, tmp_path, monkeypatch):
    """A checkpoint every 300 s: of 1000 steps of a second each none is seen for 299 s, then 300,
    done as fast as estimated. After two intervals without another they are taken to stand still."""
    monkeypatch.setenv("PYVAE_CHECKPOINT_SECONDS", "300")
    folder = tmp_path / "run"
    folder.mkdir()
    all_runs = AllRuns(Cost((RunCost(folder, "x", 1000, 0, 1.0),), at_once=2), clock)
    with all_runs.going():
        assert all_runs.seconds_of_others() == 1000
        clock.now += 299
        assert all_runs.seconds_of_others() == 1000 - 299
        clock.now += 1
        Checkpoint(300, {"step": np.array(300)}).save(folder)
        assert all_runs.seconds_of_others() == pytest.approx(700)
        clock.now += 290
        assert all_runs.seconds_of_others() == pytest.approx(700 - 290)
        clock.now += 310
        assert all_runs.seconds_of_others() == pytest.approx(700 - 600)
        clock.now += 610  # twice the time that it took until then
        assert all_runs.seconds_of_others() == pytest.approx(700 * (910 + 10) / (300 + 10) - 600)
