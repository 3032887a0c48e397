"""When a run is kept, and what of it when it is complete."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from alike.runs import assert_same_run
from stand_ins.kept_runs import LITTLE

from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.model.run import Run
from pyvae.runs.callbacks.keep import Keep, train_kept
from pyvae.runs.kept_run import KeptRun
from pyvae.trace.trace import Trace
from pyvae.training.checkpoint import Checkpoint
from pyvae.training.loop import train


class NoEngine(PyTorchEngine):
    def start(self, *arguments):
        raise AssertionError("a complete run is not run again")


def test_a_complete_run_is_not_run_again(runs, few):
    settings = runs.settings(rng="r")
    done = runs.go(settings).trace
    trace = Trace.of_run(Run(LITTLE, settings, few), NoEngine("cpu"))
    before = {path.name: path.stat().st_mtime_ns for path in runs.folder.iterdir()}
    kept = KeptRun(runs.folder, trace, every=0)
    assert kept.complete
    assert kept.found == "all 12 steps were done before"
    assert not kept.taken
    assert_same_run(kept.trace, done)
    run = Run(LITTLE, settings, few)
    assert_same_run(train_kept(run, NoEngine("cpu"), kept), done)
    assert {path.name: path.stat().st_mtime_ns for path in runs.folder.iterdir()} == before


def test_where_nothing_had_to_be_kept_no_folder_is_made(runs, few):
    settings = runs.settings()
    engine = PyTorchEngine("cpu")
    kept = KeptRun(runs.folder, Trace.of_run(Run(LITTLE, settings, few), engine), every=1e9)
    train(Run(LITTLE, settings, few), engine, [Keep(kept, temporary=True)], trace=kept.trace)
    assert not runs.folder.exists()


@pytest.mark.parametrize(
    ("given", "seconds"), [(None, 20), ("0", 0), ("2.5", 2.5), ("1e3", 1000), ("inf", np.inf)]
)
def test_the_time_between_checkpoints_is_the_environments(runs, monkeypatch, given, seconds):
    monkeypatch.delenv("PYVAE_CHECKPOINT_SECONDS", raising=False)
    if given is not None:
        monkeypatch.setenv("PYVAE_CHECKPOINT_SECONDS", given)
    trace = Trace.of_run(Run(LITTLE, runs.settings(), runs.data), PyTorchEngine("cpu"))
    assert KeptRun(runs.folder, trace).every == seconds
    assert KeptRun(runs.folder, trace, every=7).every == 7


@pytest.mark.parametrize("given", ["", "soon", "-1", "nan", "1 s"])
def test_a_time_that_is_none_is_the_users_error(runs, monkeypatch, given):
    monkeypatch.setenv("PYVAE_CHECKPOINT_SECONDS", given)
    trace = Trace.of_run(Run(LITTLE, runs.settings(), runs.data), PyTorchEngine("cpu"))
    with pytest.raises(UserError, match=f"PYVAE_CHECKPOINT_SECONDS is '{given}': expected"):
        KeptRun(runs.folder, trace)


def test_there_is_a_checkpoint_when_its_time_has_come(runs, few, monkeypatch):
    """Steps take 8 seconds here; 20 are to lie between checkpoints."""
    now = [1000.0]
    monkeypatch.setattr("pyvae.runs.kept_run.time", SimpleNamespace(monotonic=lambda: now[0]))
    settings = runs.settings()
    engine = PyTorchEngine("cpu")
    kept = KeptRun(runs.folder, Trace.of_run(Run(LITTLE, settings, few), engine), every=20.0)
    saved = []
    save = Checkpoint.save
    monkeypatch.setattr(
        Checkpoint, "save", lambda self, folder: (saved.append(self.step), save(self, folder))
    )

    def wait(progress):
        now[0] += 8

    train(Run(LITTLE, settings, few), engine, [wait, Keep(kept)], trace=kept.trace)
    assert saved == [3, 6, 9]  # the twelfth is the end
