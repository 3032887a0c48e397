"""What a reproduction shows."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from pyvae.data.images import load_toy
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.reproduction.cost import Cost, RunCost
from pyvae.reproduction.planned import PlannedRun
from pyvae.reproduction.report import ConsoleReport, Report
from pyvae.reproduction.training import train_planned
from pyvae.terminal.console import Terminal


@pytest.fixture
def planned(tmp_path):
    """A run of two steps."""
    recipe = get_recipe("clustering-toy")
    settings = recipe.settings(steps=2, batch_size=10, seed=1)
    return PlannedRun(Run(recipe, settings, load_toy(30)), tmp_path / "run")


def test_by_default_lines_are_printed(planned, capsys):
    report = Report()
    report.log("a line")
    train_planned(planned, "cpu", report.callbacks(planned), report.log)
    with report.parallel(1) as on_run:
        on_run("seed 1", "w1")
    assert capsys.readouterr().out == "a line\nseed 1\n"


def test_a_console_shows_each_run(planned):
    console = Console(file=io.StringIO(), width=100)
    report = ConsoleReport(console)
    for _ in range(2):  # the second time it is there
        train_planned(planned, "cpu", report.callbacks(planned), report.log)
    with report.parallel(2) as on_run:
        on_run("seed 1", "w1")
    lines = console.file.getvalue().splitlines()
    title = "clustering-toy (clustering), seed 1"
    assert lines[0] == f"{title} ..."
    assert lines[1].startswith(f"{title}: 2 steps in ")
    assert lines[2] == f"{Path('run')}: all 2 steps were done before"
    assert lines[3].startswith("  seed 1, on worker w1 (1 of 2, ")
    assert lines[4].startswith("1 run in ")


def test_what_it_costs_is_said_before_and_the_rest_with_each_run(planned):
    """Of two runs: this one, and another of a hundred steps, of which forty are done."""
    other = planned.folder.parent / "other"
    cost = Cost(
        (RunCost(planned.folder, "a", 2, 0, 1.0), RunCost(other, "b", 100, 40, 2.0)),
    )
    console = Console(file=io.StringIO(), width=100)
    report = ConsoleReport(console)
    report.cost(cost)
    train_planned(planned, "cpu", report.callbacks(planned), report.log)
    lines = console.file.getvalue().splitlines()
    assert lines[:3] == cost.lines()
    assert lines[0].startswith("to train: 2 runs, 62 steps, about 0:02:02 (")
    assert lines[5].startswith("  all: run 2 of 2, 42 of 102 steps, 0:0")


def test_a_console_without_progress_shows_lines_alone(planned):
    console = Terminal(file=io.StringIO(), progress=False)
    report = ConsoleReport(console)
    report.cost(Cost((RunCost(planned.folder, "a", 2, 0, 1.0),)))
    train_planned(planned, "cpu", report.callbacks(planned), report.log)
    with report.parallel(1) as on_run:
        on_run("seed 1", "w1")
    report.log("written: here")
    assert console.file.getvalue() == "written: here\n"


def test_of_parallel_runs_the_time_left_is_that_of_all_steps(planned):
    cost = Cost((RunCost(planned.folder, "a", 2, 0, 1.0),), at_once=2)
    console = Console(file=io.StringIO(), width=100)
    report = ConsoleReport(console)
    report.cost(cost)
    with report.parallel(1) as on_run:
        train_planned(planned, "cpu")
        on_run("seed 1", "")
    lines = console.file.getvalue().splitlines()
    assert lines[2] == "  seed 1 (1 of 1, 0:00:00 left)"


def test_by_default_the_cost_is_printed_too(planned, capsys):
    cost = Cost((RunCost(planned.folder, "a", 2, 0, 1.0),))
    Report().cost(cost)
    assert capsys.readouterr().out.splitlines() == cost.lines()
