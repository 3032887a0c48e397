"""What is shown of many runs."""

from __future__ import annotations

import io
from threading import Event

import pytest
from rich.console import Console

from pyvae.terminal import job_progress as runs_progress
from pyvae.terminal.job_progress import JobProgress


@pytest.fixture
def show(monkeypatch):
    """Three runs, one of which was there, and ten seconds for each of the others."""
    now = [0.0]
    monkeypatch.setattr(runs_progress.time, "monotonic", lambda: now[0])

    def run(terminal=False, lines=False):
        file = io.StringIO()
        console = Console(file=file, width=120, force_terminal=terminal)
        with JobProgress(console, 3, lines) as progress:
            progress.add("old", was_there=True)
            for name, where in (("seed 1", ""), ("seed [2]", "w1")):
                now[0] += 10
                progress.add(name, where=where)
        return file.getvalue()

    return run


def test_each_run_has_a_line_with_the_time_left_and_where_it_ran(show):
    assert show().splitlines() == [
        "  seed 1 (2 of 3, 0:00:10 left)",
        "  seed [2], on worker w1 (3 of 3, 0:00:00 left)",
        "2 runs in 20 s, 1 was done before",
    ]


@pytest.mark.parametrize("lines", [True, False])
def test_a_terminal_shows_lines_above_the_bar_only_on_request(show, lines):
    assert ("(2 of 3, 0:00:10 left)" in show(terminal=True, lines=lines)) is lines


def test_an_interrupted_command_says_how_to_continue(monkeypatch):
    monkeypatch.setattr(runs_progress.time, "monotonic", lambda: 7.0)
    file = io.StringIO()
    with pytest.raises(KeyboardInterrupt), JobProgress(Console(file=file, width=120), 3):
        raise KeyboardInterrupt
    assert (
        "0 runs in 0 s, then interrupted. Run the same command again to continue."
        in file.getvalue()
    )


def test_the_time_left_may_come_from_elsewhere(monkeypatch):
    file = io.StringIO()
    with JobProgress(Console(file=file, width=120), 3, left=lambda: 3723.4) as progress:
        progress.add("seed 1")
    assert file.getvalue().splitlines()[0] == "  seed 1 (1 of 3, 1:02:03 left)"


def test_a_line_every_minute_tells_of_runs_under_way(monkeypatch):
    """Here the minutes pass at once, until the third line has been asked for."""
    monkeypatch.setattr(runs_progress, "MINUTE", 0.0)
    said = iter(["all: [1] of 3", "", "all: 2 of 3"])
    enough = Event()

    def below():
        line = next(said, None)
        if line is None:
            enough.set()
            raise BrokenPipeError  # ends the lines, and nothing else
        return line

    file = io.StringIO()
    with JobProgress(Console(file=file, width=120), 3, below=below):
        enough.wait()
    assert file.getvalue().splitlines() == ["  all: [1] of 3", "  all: 2 of 3", "0 runs in 0 s"]


def test_on_a_terminal_the_line_is_below_the_bar(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    file = io.StringIO()
    console = Console(file=file, width=120, force_terminal=True)
    with JobProgress(console, 3, lines=True, below=lambda: "all: 1 of 3", left=lambda: 5.0):
        pass
    shown = file.getvalue()
    assert shown.index("0/3") < shown.index("all: 1 of 3")
