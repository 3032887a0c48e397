from __future__ import annotations

import io
import itertools
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from shown.figures_help import finished_trace

from pyvae.model.objectives import OBJECTIVES
from pyvae.terminal.step_progress import ShowProgress, _epoch_line, _title
from pyvae.training.callbacks import Progress


def run_of(trace):
    return SimpleNamespace(settings=trace.settings)


def at(step, trace, steps=6):
    def checkpoint():
        raise AssertionError("showing needs no checkpoint")

    engine = None
    return Progress(
        run_of(trace), engine, step, steps, step % 3 == 0, trace, torch.zeros(3), checkpoint
    )


@pytest.fixture
def trained():
    """A finished run of three steps of 12 images for two objectives, by name."""
    return {
        name: finished_trace("conv", objective=name, batch_size=12, latent_dim=5, dtype="float64")
        for name in ("vae", "emae")
    }


@pytest.fixture
def watch(trained, monkeypatch):
    """Shows a run of two epochs of three steps of 12 images; returns what was printed."""
    trace = trained["vae"]
    monkeypatch.setenv("TERM", "xterm")

    def run(epochs=True, terminal=False, title="VAE on digits"):
        file = io.StringIO()
        console = Console(file=file, force_terminal=terminal, width=120)
        progress = ShowProgress(title, console, epochs=epochs)
        progress.on_start(run_of(trace), trace)
        for step in range(1, 7):
            progress.on_step(at(step, trace))
        progress.on_end(None, None)
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
    terms = np.sum(trained["vae"].losses, axis=0) / 36
    said = f"{terms[0]:.3f} nats per image (reconstruction {terms[1]:.3f}, KL {terms[2]:.3f})"
    assert line.endswith(said)


def test_epochs_are_printed_only_on_request(watch):
    assert "epoch" not in watch(epochs=False)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("elbo", "0.183 nats per image (reconstruction 0.170, KL 0.013)"),
        ("beta", "loss 0.18317 (reconstruction 0.17, KL 0.013174)"),
    ],
)
def test_a_loss_that_is_a_mean_is_not_called_a_sum(name, words):
    objective = OBJECTIVES[name]
    terms = {"total": 0.55, "reconstruction": 0.17, "regulariser": 0.013174}
    epoch = pd.Series({"epoch": 2, "steps": 3, **terms, objective.column: 0.183174})
    assert _epoch_line(epoch, objective, 12) == f"  epoch 2: {words}, mean over its 3 batches"
    epoch.steps = 1
    assert _epoch_line(epoch, objective, 12).endswith(", mean over its 1 batch")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("emae", "reconstruction 1.000, sum(mu^2)/2 2.000"),
        ("em", "reconstruction 1.000, sum(mu^2 + exp(log_var))/2 2.000"),
        (
            "clustering",
            "reconstruction 1.000, regulariser 2.000, categorical KL 3.000, gaussian KL 4.000",
        ),
    ],
)
def test_every_term_of_an_objective_is_named(name, words):
    objective = OBJECTIVES[name]
    epoch = pd.Series({"epoch": 1, "steps": 2, "total": 9.0, objective.column: 0.5})
    for number, term in enumerate(objective.terms[1:], 1):
        epoch[term] = 24.0 * number
    assert _epoch_line(epoch, objective, 12).endswith(f"0.500 nats per image ({words})")


def test_the_end_says_steps_and_speed(watch, monkeypatch):
    """By a clock that goes on by two seconds each time that it is asked: once at either end, and
    at every step."""
    clock = SimpleNamespace(monotonic=itertools.count(10, 2).__next__)
    monkeypatch.setattr("pyvae.terminal.step_progress.time", clock)
    assert watch().splitlines()[-1] == "VAE on digits: 6 steps in 14 s, 5 images/s"


def test_an_interruption_is_reported(trained):
    file = io.StringIO()
    progress = ShowProgress("VAE", Console(file=file))
    progress.on_start(run_of(trained["vae"]), trained["vae"])
    progress.on_end(None, KeyboardInterrupt())
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


@pytest.fixture
def timed(trained, monkeypatch):
    """Shows some of the steps of a run, each of which takes so many seconds; returns the lines
    between the first and the last, and the last."""
    monkeypatch.setenv("TERM", "xterm")

    def run(shown, steps, seconds, terminal=False, **options):
        now = [5000.0]
        monkeypatch.setattr(
            "pyvae.terminal.step_progress.time", SimpleNamespace(monotonic=lambda: now[0])
        )
        file = io.StringIO()
        console = Console(file=file, force_terminal=terminal, width=120)
        trace = trained["vae"]
        progress = ShowProgress("VAE", console, **options)
        progress.on_start(run_of(trace), trace)
        for step in shown:
            now[0] += seconds
            progress.on_step(at(step, trace, steps))
        progress.on_end(None, None)
        lines = file.getvalue().splitlines()
        return lines[1:-1], lines[-1]

    return run


def test_a_line_a_minute_tells_how_far_it_is(timed):
    """3.75 s a step: 16 of them a minute."""
    lines, _ = timed(range(1, 50), 12_000, 3.75)
    assert lines == [
        "  step 16 of 12,000, 12:29:00 left",
        "  step 32 of 12,000, 12:28:00 left",
        "  step 48 of 12,000, 12:27:00 left",
    ]


def test_steps_that_take_more_than_a_minute_have_a_line_each(timed):
    lines, _ = timed(range(1, 4), 4000, 90)
    assert lines == [
        "  step 1 of 4,000, 4 days, 3:58:30 left",
        "  step 2 of 4,000, 4 days, 3:57:00 left",
        "  step 3 of 4,000, 4 days, 3:55:30 left",
    ]


def test_a_run_of_less_than_a_minute_has_no_line_nor_has_the_last_step(timed):
    assert timed(range(1, 60), 60, 1)[0] == []
    assert timed(range(1, 61), 60, 1)[0] == []
    assert timed(range(1, 62), 61, 1)[0] == ["  step 60 of 61, 0:00:01 left"]


def test_on_a_terminal_the_bar_is_enough(timed):
    lines, _ = timed(range(1, 50), 12_000, 3.75, terminal=True)
    assert not any("left" in line and "of 12,000" in line for line in lines)


def test_a_run_that_goes_on_counts_its_own_steps_only(timed):
    """100 steps were done before; these take 6 s each."""
    lines, last = timed(range(101, 121), 200, 6)
    assert lines == ["  step 110 of 200, 0:09:00 left", "  step 120 of 200, 0:08:00 left"]
    assert last == "VAE: 20 steps in 120 s, 2 images/s"


def test_what_a_run_is_a_part_of_is_told_with_it_and_at_its_end(timed):
    whole = "all: run 2 of [3], 5 of 9 steps"
    lines, last = timed(range(1, 20), 12_000, 3.75, below=lambda: whole)
    assert lines == [
        f"  step 16 of 12,000, 12:29:00 left ({whole})",
        "VAE: 19 steps in 71 s, 3 images/s",
    ]
    assert last == f"  {whole}"
    lines, last = timed(range(1, 20), 12_000, 3.75, below=lambda: "")  # of the last run
    assert lines == ["  step 16 of 12,000, 12:29:00 left"]
    assert last == "VAE: 19 steps in 71 s, 3 images/s"


def test_on_a_terminal_it_is_below_the_bar(timed):
    lines, _ = timed(range(1, 3), 12_000, 3.75, terminal=True, below=lambda: "all: run 2 of 3")
    assert any(line.strip().endswith("all: run 2 of 3") for line in lines)


def test_one_step_is_a_step(timed):
    assert timed([7], 9, 2)[1] == "VAE: 1 step in 2 s, 6 images/s"


def test_as_a_callback_it_names_the_run(trained):
    """And counts the step after which another callback has ended the run."""
    trace = trained["vae"]
    file = io.StringIO()
    progress = ShowProgress(console=Console(file=file, width=120))
    for ends_at in (2, 3):  # of one run after the other
        progress.on_start(run_of(trace), trace)
        progress.on_step(at(1, trace))
        progress.on_end(at(ends_at, trace), KeyboardInterrupt())
    lines = file.getvalue().splitlines()
    assert lines[0] == lines[2] == "VAE on mnist, pytorch ..."
    assert re.fullmatch(r"VAE on mnist, pytorch: 2 steps in 0 s, [\d,]+ images/s, .*", lines[1])
    assert re.fullmatch(r"VAE on mnist, pytorch: 3 steps in 0 s, .*, then interrupted", lines[3])


def test_several_processes_are_named(trained):
    trace = replace(trained["vae"], environment={"device": "cpu", "processes": "2"})
    assert _title(trace) == "VAE on mnist, cpu, 2 processes"
    trace = replace(trained["vae"], engine="base-r", environment={})
    assert _title(trace) == "VAE on mnist, base-r"
