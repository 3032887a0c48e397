"""What a reproduction costs: with paces that are given, and the measuring itself."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pyvae.data.images import load_split, load_toy
from pyvae.engines.engine import DivergedError
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.run import Run
from pyvae.parallel.processes import Processes
from pyvae.recipes import get_recipe
from pyvae.reproduction import cost
from pyvae.reproduction.cost import Cost, RunCost, measure_cost, seconds_a_step
from pyvae.reproduction.planned import PlannedRun
from pyvae.reproduction.training import check_folders, train_planned
from pyvae.trace.trace import Trace
from pyvae.training.loop import train


def runs(*about):
    """Runs a, b, ... of (kind, steps, done, seconds a step)."""
    return tuple(RunCost(Path(name), *one) for name, one in zip("abcdef", about, strict=False))


@pytest.fixture
def planned(tmp_path):
    """Runs on points: 30 steps each."""

    def make(*seeds, **changes):
        recipe = get_recipe("clustering-toy")
        changes = {"epochs": 10, "batch_size": 10} | changes
        return [
            PlannedRun(
                Run(recipe, recipe.settings(seed=seed, **changes), load_toy(30)),
                tmp_path / f"seed{seed}",
            )
            for seed in seeds
        ]

    return make


def test_one_after_the_other_takes_the_sum_of_what_is_left():
    whole = Cost(runs(("x", 100, 0, 2.0), ("x", 100, 60, 2.0), ("y", 10, 10, 0.0)))
    assert whole.seconds() == 2 * 100 + 2 * 40
    assert whole.left == 140
    assert whole.seconds({Path("a"): 100, Path("b"): 90, Path("c"): 10}) == 20


def test_workers_take_the_next_run_when_they_are_free():
    """Of 50, 30, 30 and 10 seconds two take 60: the first 50 and 10, the second 30 and 30."""
    four = runs(("x", 50, 0, 1.0), ("x", 30, 0, 1.0), ("x", 30, 0, 1.0), ("x", 10, 0, 1.0))
    assert Cost(four, at_once=2).seconds() == 60
    assert Cost(four, at_once=4).seconds() == 50
    assert Cost(four, at_once=2, share=0.5).seconds() == 120


def test_the_statement_has_all_runs_and_then_each_kind():
    found = Cost(
        runs(
            ("conv (VAE)", 12_000, 0, 0.118), ("conv (VAE)", 12_000, 3_000, 0.118),
            ("conv (EMAE)", 12_000, 11_999, 0.118), ("beta (beta-VAE)", 500, 500, 0.0),
        )
    ).lines()  # fmt: skip
    assert found == [
        "to train: 3 runs, 21,001 steps, about 0:41:18 (a few steps of each kind were timed now; "
        "figures and measures come on top)",
        "  conv (VAE), 2 runs: 21,000 steps of 0.12 s, 0:41:18; 3,000 were done before",
        "  conv (EMAE), 1 run: 1 step of 0.12 s, 0:00:00; 11,999 were done before",
    ]


def test_the_statement_says_who_trains_and_for_days():
    found = Cost(runs(("x", 10**6, 0, 1.0), ("x", 10**6, 0, 1.0)), 2, 0.5, "2 processes").lines()
    assert found[0].startswith(
        "to train: 2 runs, 2,000,000 steps, about 23 days, 3:33:20 by 2 processes, if each is as "
        "fast as this process alone ("
    )


def test_nothing_left_is_nothing_said():
    assert Cost(runs(("x", 10, 10, 0.0))).lines() == []
    assert Cost(()).lines() == []
    assert Cost(()).seconds() == 0


def test_each_kind_is_timed_once_and_only_if_steps_are_left(planned):
    first, second = planned(1, 2)
    (other,) = planned(3, latent_dim=3)
    (ended,) = planned(4, latent_dim=4)
    asked = []

    def pace(run, device):
        asked.append(run.folder.name)
        return {2: 0.5, 3: 0.25}[run.run.settings.latent_dim]

    done = {first.folder: 12, ended.folder: 30}
    found = measure_cost([first, second, other, ended, first], done, "cpu", pace=pace)
    assert asked == ["seed1", "seed3"]
    assert [run.left for run in found.runs] == [18, 30, 30, 0]
    assert found.seconds() == 18 * 0.5 + 30 * 0.5 + 30 * 0.25
    assert {run.kind for run in found.runs} == {"clustering-toy (clustering)"}


def test_there_are_not_more_at_once_than_runs(planned, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    given = planned(1, 2, 3)
    found = measure_cost(given, {}, "cpu", Processes(8, 2), lambda run, device: 1.0)
    assert (found.at_once, found.share) == (3, 4 / 6)
    assert found.seconds() == pytest.approx(30 * 6 / 4)
    assert " by 8 processes of 2 threads, if " in found.lines()[0]
    one_left = {given[0].folder: 30, given[1].folder: 30}
    found = measure_cost(given, one_left, "cpu", Processes(8, 2), lambda run, device: 1.0)
    assert (found.at_once, found.share) == (1, 1)


def test_after_an_interruption_only_what_is_left_counts(planned):
    """Ended by Ctrl-C after step 7 of the second run of three."""
    ended, interrupted, new = planned(1, 2, 3)
    train_planned(ended, "cpu")

    def interrupt(now):
        if now.step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_planned(interrupted, "cpu", [interrupt])
    every = [ended, interrupted, new]
    done = check_folders(every, "cpu")
    assert done == {ended.folder: 30, interrupted.folder: 7}
    found = measure_cost(every, done, "cpu", pace=lambda run, device: 1.0)
    assert found.left == 23 + 30
    assert found.lines()[1] == (
        "  clustering-toy (clustering), 2 runs: 53 steps of 1 s, 0:00:53; 7 were done before"
    )


@pytest.mark.slow
def test_after_a_kill_what_the_last_checkpoint_holds_is_done(planned, monkeypatch):
    """A copy of the folder in the middle of a run is what SIGKILL leaves."""
    monkeypatch.setenv("PYVAE_CHECKPOINT_SECONDS", "0")
    run, killed = planned(1, 2)

    def copy(now):
        if now.step == 12:  # which is kept after this
            shutil.copytree(run.folder, killed.folder)

    train_planned(run, "cpu", [copy])
    killed = replace(run, folder=killed.folder)
    assert check_folders([killed], "cpu") == {killed.folder: 11}
    (left,) = measure_cost([killed], {killed.folder: 11}, "cpu", pace=lambda run, device: 2.0).runs
    assert (left.left, left.seconds(left.done)) == (19, 38)


class Clock:
    """Goes on by a second each time that it is asked."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        self.now += 1
        return float(self.now)


def test_steps_are_timed_until_they_are_enough(planned, monkeypatch):
    """By a clock that is asked once at the beginning, once before the first timed step, after the
    third, which is enough, and at the end: 2 seconds of 3 steps."""
    (run,) = planned(1)
    assert seconds_a_step(run, "cpu", Clock()) == pytest.approx(2 / 3)
    monkeypatch.setattr(cost, "ENOUGH", 1e9)
    (short,) = planned(2, steps=6)  # of which the last 2 are timed, with no look in between
    assert seconds_a_step(short, "cpu", Clock()) == pytest.approx(1 / 2)
    (one,) = planned(3, steps=1)
    assert seconds_a_step(one, "cpu", Clock()) == 1


def test_test_images_are_a_share_of_each_step(tmp_path, monkeypatch):
    """Evaluating a hundred of them takes a second by this clock."""
    monkeypatch.setattr(cost, "TESTED", 100)
    data, test = load_split("digits")
    recipe = get_recipe("beta")
    run = Run(recipe, recipe.settings(epochs=10), data)
    plain = seconds_a_step(PlannedRun(run, tmp_path / "a"), "cpu", Clock())
    tested = seconds_a_step(PlannedRun(run, tmp_path / "a", test), "cpu", Clock())
    assert len(test) > 100
    assert tested - plain == pytest.approx(len(test) / 100 / run.steps_per_epoch)
    assert not (tmp_path / "a").exists()


@pytest.mark.slow
def test_measuring_leaves_the_run_and_the_generator_as_they_are(planned, tmp_path):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    (run,) = planned(1)
    alone = train(run.run, PyTorchEngine("cpu"))
    measure_cost([run], {}, "cpu")
    assert torch.equal(torch.get_rng_state(), before)
    assert not run.folder.exists()
    trace = train_planned(run, "cpu")
    assert trace.losses.tobytes() == alone.losses.tobytes()
    assert Trace.load(run.folder).steps == 30


def test_a_run_that_diverges_is_not_told_before_its_turn(planned, monkeypatch):
    (run,) = planned(1)

    def diverge(self, *given):
        raise DivergedError

    monkeypatch.setattr(PyTorchEngine, "step", diverge)
    assert seconds_a_step(run, "cpu", Clock()) > 0
