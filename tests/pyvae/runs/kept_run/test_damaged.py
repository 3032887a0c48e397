"""What is damaged is said and not used; a run goes on from a checkpoint that is whole."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from alike.runs import assert_same_run
from stand_ins.kept_runs import AGAIN, LITTLE, KeepUntilKilled, Killed, assert_starts_again

from pyvae.model.run import Run
from pyvae.training.checkpoint import Checkpoint
from pyvae.training.loop import train


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def rewrite(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


def drop_lines(path):
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


NEWEST = "checkpoint-00000006.safetensors"


@pytest.mark.parametrize("spoil", [cut, lambda path: path.write_bytes(b""), flip])
@pytest.mark.parametrize("file", [NEWEST, "checkpoint-00000006.json"])
def test_from_a_damaged_checkpoint_it_falls_back_to_the_one_before(runs, file, spoil):
    settings = runs.settings(rng="torch")
    runs.killed(settings, 6)
    spoil(runs.folder / file)
    _, kept = runs.kept(settings)
    assert re.fullmatch(
        "the checkpoint of step 6 is damaged: .*; going on after step 5, where it was interrupted",
        kept.found,
    )
    assert (kept.checkpoint.step, kept.trace.steps, kept.taken) == (5, 5, False)
    assert_same_run(runs.go(settings).trace, runs.plain(settings))


@pytest.mark.parametrize("file", ["trace.json", "history.csv"])
@pytest.mark.parametrize("spoil", [cut, drop_lines, lambda path: path.unlink()])
def test_what_is_wrong_with_the_trace_costs_nothing(runs, file, spoil):
    """A checkpoint has all that it needs."""
    settings = runs.settings()
    runs.killed(settings, 6)
    spoil(runs.folder / file)
    _, kept = runs.kept(settings)
    assert kept.found == "going on after step 6, where it was interrupted"
    assert_same_run(runs.go(settings).trace, runs.plain(settings))


def spoil_checkpoints(folder):
    for path in folder.glob("checkpoint-*.safetensors"):
        cut(path)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_checkpoints, "the checkpoint of step 6 is damaged: .*; the checkpoint of step 5 is"),
        (lambda folder: cut(folder / "trace.json"), "trace '.*' cannot be read"),
        (
            lambda folder: rewrite(folder / "trace.json", format=99),
            "has format 99, but pyvae reads 1 to 5",
        ),
        (lambda folder: cut(folder / "history.csv"), "trace '.*' cannot be read"),
        (lambda folder: drop_lines(folder / "history.csv"), "history.csv has 5 of 6 steps"),
        (lambda folder: (folder / "history.csv").unlink(), "trace '.*' cannot be read"),
    ],
)
def test_damaged_files_are_said_and_not_used(runs, spoil, said):
    settings = runs.settings()
    runs.killed(settings, 6)
    if spoil is not spoil_checkpoints:
        Checkpoint.remove(runs.folder)
    spoil(runs.folder)
    _, kept = runs.kept(settings)
    assert len(kept.found.splitlines()) == 1
    assert re.fullmatch(f"the run in this folder cannot be used .*{said}.*: {AGAIN}", kept.found)
    assert_starts_again(runs, settings, kept.found)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_no_checkpoint_takes_the_place_of_a_good_one_whose_numbers_are_not_finite(
    runs, few, monkeypatch, bad
):
    settings = runs.settings()
    engine, kept = runs.kept(settings)
    state = engine.state

    def spoil(now):
        if now.step == 4:
            spoilt = state() | {"moment2/encoder.fc1.bias": np.full(8, bad, np.float32)}
            monkeypatch.setattr(engine, "state", lambda: spoilt)

    def stop(now):
        if now.step == 8:
            raise Killed

    callbacks = [spoil, KeepUntilKilled(kept), stop]
    with pytest.raises(Killed):
        train(Run(LITTLE, settings, few), engine, callbacks, trace=kept.trace)
    assert (Checkpoint.find(runs.folder).checkpoint.step, kept.saved) == (3, 3)
