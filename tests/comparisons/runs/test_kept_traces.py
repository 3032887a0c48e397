"""What stays of a comparison's traces where it is killed while it clears up."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

import pytest
from stand_ins.verdicts import named

from comparisons.runs import live
from comparisons.runs.kept_traces import finish
from comparisons.runs.live import CompareOptions, compare
from pyvae.data.images import load_toy
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.run import Run
from pyvae.recipes import RECIPES


class Killed(BaseException):
    pass


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.fixture
def computed(tmp_path, monkeypatch):
    """A comparison that has just been computed, with a checkpoint after every step: its runs, and
    its folder before anything is cleared up. An earlier one's history is there, too."""
    held = []
    monkeypatch.setenv("PYVAE_CHECKPOINT_SECONDS", "0")
    monkeypatch.setattr(live, "finish", lambda runs, out: held.extend(runs))
    recipe, toy = RECIPES["clustering-toy"], load_toy(30)
    run = Run(recipe, recipe.settings(batch_size=12, steps=2, dtype="float64"), toy)
    engines = PyTorchEngine("cpu"), named("other")
    compare(run, *engines, tmp_path / "computed", CompareOptions())
    (tmp_path / "computed" / "interrupted" / "history.csv").write_text("of an earlier one")
    return held, tmp_path / "computed"


def test_nothing_is_left_wherever_it_is_killed(computed, tmp_path, monkeypatch):
    runs, folder = computed
    assert len(files(folder / "interrupted")) > 8  # two traces, with their checkpoints
    shutil.copytree(folder, tmp_path / "whole")
    finish(runs, tmp_path / "whole")
    whole = files(tmp_path / "whole")
    assert not (tmp_path / "whole" / "interrupted").exists()
    unlink = os.unlink

    for kept in itertools.count():
        out = tmp_path / f"killed-{kept}"
        shutil.copytree(folder, out)
        left = itertools.count(kept, -1)

        def killed(path, *, left=left, **options):
            if "interrupted" in str(path) and next(left) == 0:
                raise Killed
            unlink(path, **options)

        with monkeypatch.context() as patched:
            patched.setattr(os, "unlink", killed)
            try:
                finish(runs, out)
            except Killed:
                pass
            else:
                break
        finish(runs, out)
        assert files(out) == whole
        assert not (out / "interrupted").exists()
    assert kept > 8
