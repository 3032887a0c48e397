"""What is shown of many runs."""

from __future__ import annotations

import io

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
