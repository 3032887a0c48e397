"""What a comparison leaves on disk, finished or not."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from comparisons.run import run_comparisons
from pyvae.engine import PyTorchEngine
from pyvae.trace import Trace


class Stopping(PyTorchEngine):
    """An engine that fails at its third step."""

    name = "stopping"

    def start(self, *arguments):
        super().start(*arguments)
        self.count = 0

    def step(self, *arguments, **options):
        self.count += 1
        if self.count == 3:
            raise KeyboardInterrupt
        return super().step(*arguments, **options)


class Drifting(PyTorchEngine):
    """An engine whose parameters are off by a little more than rounding after each step."""

    name = "drifting"

    def step(self, *arguments, **options):
        losses = super().step(*arguments, **options)
        with torch.no_grad():
            for parameter in self.network.parameters():
                parameter *= 1 + 5e-12
        return losses


def run(reference, conv, runs, digits, out, **options):
    def unwatched(engine, settings):
        return nullcontext(SimpleNamespace(observe=lambda progress: None))

    return run_comparisons(
        PyTorchEngine("cpu"), reference, conv, runs, digits, out, unwatched, **options
    )


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


@pytest.mark.slow
def test_a_difference_that_grows_from_rounding_alone_is_called_that(
    conv, settings, digits, tmp_path
):
    """Free, the two drift apart; no step that both start from the same state is at fault."""
    (comparison,) = run(Drifting("cpu"), conv, [settings(steps=12)], digits, tmp_path)
    assert not comparison.agrees
    assert comparison.divergence is None
    assert "the difference has grown from rounding" in comparison.note
    (comparison,) = run(
        Drifting("cpu"), conv, [settings(steps=12)], digits, tmp_path, mode="resync", probed={1}
    )
    assert comparison.agrees
    assert Trace.load(tmp_path / "traces" / "vae-drifting").mode == "resync"


def test_an_interrupted_resynchronised_run_keeps_what_was_computed(
    conv, settings, digits, tmp_path
):
    with pytest.raises(KeyboardInterrupt):
        run(Stopping("cpu"), conv, [settings(steps=4)], digits, tmp_path, mode="resync")
    history = pd.read_csv(tmp_path / "interrupted" / "history.csv")
    assert history.groupby("engine").size().to_dict() == {"pytorch": 3, "stopping": 2}


class Hasty(PyTorchEngine):
    """PyTorch with a learning rate that is off by 1 %."""

    name = "hasty"

    def start(self, *arguments):
        super().start(*arguments)
        self.optimizer.param_groups[0]["lr"] *= 1.01


@pytest.mark.parametrize("mode", ["free", "resync"])
def test_a_mistake_before_the_first_step_looked_into_is_placed_where_it_begins(
    conv, settings, digits, tmp_path, mode
):
    (comparison,) = run(
        Hasty("cpu"), conv, [settings(steps=3)], digits, tmp_path, mode=mode, probed={3}
    )
    assert comparison.divergence is not None
    assert (comparison.divergence.step, comparison.divergence.stage) == (1, "adam.update")
