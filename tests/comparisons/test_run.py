"""What a comparison leaves on disk, finished or not."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from comparisons.run import run_comparisons
from pyvae.engine import PyTorchEngine
from pyvae.trace import Trace


class Stopping(PyTorchEngine):
    """An engine that fails at its third step."""

    name = "stopping"

    def start(self, *arguments):
        super().start(*arguments)
        self.count = 0

    def step(self, x, draws):
        self.count += 1
        if self.count == 3:
            raise KeyboardInterrupt
        return super().step(x, draws)


def run(reference, conv, runs, digits, out):
    def unwatched(engine, settings):
        return nullcontext(SimpleNamespace(observe=lambda progress: None))

    return run_comparisons(PyTorchEngine("cpu"), reference, conv, runs, digits, out, unwatched)


def test_an_interrupted_comparison_keeps_what_was_computed(conv, settings, digits, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(Stopping("cpu"), conv, [settings(steps=4)], digits, tmp_path)
    history = pd.read_csv(tmp_path / "interrupted" / "history.csv")
    assert history.groupby("engine").size().to_dict() == {"pytorch": 4, "stopping": 2}
    partial = Trace.load(tmp_path / "interrupted" / "vae-stopping")
    assert not partial.complete
    whole = Trace.load(tmp_path / "interrupted" / "vae-pytorch")
    assert whole.complete
    assert np.array_equal(partial.losses, whole.losses[:2])
    assert not (tmp_path / "traces").exists()


def test_a_finished_comparison_clears_what_an_interrupted_one_left(
    conv, settings, digits, tmp_path
):
    with pytest.raises(KeyboardInterrupt):
        run(Stopping("cpu"), conv, [settings()], digits, tmp_path)
    other = PyTorchEngine("cpu")
    other.name = "other"
    (comparison,) = run(other, conv, [settings()], digits, tmp_path)
    assert comparison.agrees
    assert comparison.quantities["loss"].max_ulp == 0  # the same engine twice: every bit
    assert not (tmp_path / "interrupted").exists()
    for engine in ("pytorch", "other"):
        trace = Trace.load(tmp_path / "traces" / f"vae-{engine}")
        assert np.array_equal(trace.losses, comparison.under_test.losses)


def test_what_is_not_ours_stays_and_older_traces_go(conv, settings, digits, tmp_path):
    other = PyTorchEngine("cpu")
    other.name = "other"
    mine = [tmp_path / "traces" / "notes.txt", tmp_path / "interrupted" / "vae" / "thesis.txt"]
    for path in mine:
        path.parent.mkdir(parents=True)
        path.write_text("mine")
    run(other, conv, [settings(objective=name) for name in ("vae", "emae")], digits, tmp_path)
    run(other, conv, [settings(objective="vae")], digits, tmp_path)
    assert all(path.read_text() == "mine" for path in mine)
    saved = {path.parent.name for path in (tmp_path / "traces").glob("*/trace.json")}
    assert saved == {"vae-pytorch", "vae-other"}
    assert not (tmp_path / "traces" / "emae-other").exists()


def test_nothing_is_kept_where_nothing_was_computed(conv, settings, digits, tmp_path):
    class Failing(PyTorchEngine):
        def start(self, *arguments):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_comparisons(
            Failing("cpu"), PyTorchEngine("cpu"), conv, [settings()], digits, tmp_path,
            lambda *_: nullcontext(SimpleNamespace(observe=print)),
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []
