from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from rich.console import Console

from pyvae.progress import RunProgress
from pyvae.training import Progress


@pytest.fixture
def watch(trained, monkeypatch):
    """Shows a run of two epochs of three steps of 12 images; returns what was printed."""
    trace = trained["vae"]
    monkeypatch.setenv("TERM", "xterm")

    def run(epochs=True, terminal=False, stop=None, title="VAE on digits"):
        file = io.StringIO()
        console = Console(file=file, force_terminal=terminal, width=120)
        with RunProgress(title, 12, console, epochs=epochs) as progress:
            for step in range(6):
                if step == stop:
                    raise KeyboardInterrupt
                progress.observe(Progress(step + 1, 6, step % 3 == 2, trace, torch.zeros(3)))
        return file.getvalue()

    return run


def test_without_a_terminal_there_are_plain_lines(watch):
    lines = watch().splitlines()
    assert lines[0] == "VAE on digits ..."
    assert len(lines) == 4  # begin, two epochs, end
    assert not any("\x1b" in line or "\r" in line for line in lines)


def test_an_epochs_line_has_both_scales(watch, trained):
    line = watch().splitlines()[1]
    total = float(np.sum(trained["vae"].losses[:, 0]))
    assert f"{total:,.2f} nats, summed over its 3 batches" in line
    assert f"{total / 36:.3f} nats per image" in line


def test_epochs_are_told_only_where_asked(watch):
    assert "epoch" not in watch(epochs=False)


def test_the_end_says_steps_and_speed(watch):
    last = watch().splitlines()[-1]
    assert last.startswith("VAE on digits: 6 steps in 0 s, ")
    assert last.endswith(" images/s")


def test_an_interruption_is_said(monkeypatch):
    file = io.StringIO()
    progress = RunProgress("VAE", 12, Console(file=file))
    with pytest.raises(KeyboardInterrupt), progress:
        raise KeyboardInterrupt
    assert file.getvalue().splitlines()[-1].startswith("VAE: 0 steps")
    assert file.getvalue().rstrip().endswith(", then interrupted")


def test_a_terminal_shows_a_bar(watch):
    shown = watch(terminal=True)
    assert "step 6 of 6" in shown
    assert "nats per image" in shown


def test_a_dumb_terminal_gets_plain_lines(watch, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert watch(terminal=True).splitlines()[0] == "VAE on digits ..."


@pytest.mark.parametrize("title", ["VAE on my [red] file.npz", "VAE on a[/b]"])
@pytest.mark.parametrize("terminal", [False, True])
def test_a_title_is_shown_as_it_is(watch, title, terminal):
    assert title in watch(title=title, terminal=terminal)
