"""Training that is done once: read again, or gone on with, without a changed bit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pyvae.data.images import ImageData, load_digits, load_toy
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.metrics.held_out import evaluate
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.runs.keep import TEST_HISTORY, kept_training, read_test_history
from pyvae.runs.trained import load_network
from pyvae.trace.trace import Trace
from pyvae.training.checkpoint import Checkpoint
from pyvae.training.loop import train

FILES = {
    "trace.json", "history.csv", "parameters.safetensors", "latents.safetensors",
    "checkpoint-00000012.json", "checkpoint-00000012.safetensors",
}  # fmt: skip
both = pytest.mark.parametrize("name", ["mlp", "clustering-toy"])


class Killed(BaseException):
    """The end of a process, as far as one can come without a process."""


@pytest.fixture(autouse=True)
def _a_checkpoint_at_every_step(monkeypatch):
    monkeypatch.setenv("PYVAE_CHECKPOINT_SECONDS", "0")
    monkeypatch.setattr("os.fsync", lambda handle: None)


@pytest.fixture
def keep(small, data_of, tmp_path):
    """Three epochs of four steps, kept in `kept`; returns the trace, and what was said."""

    def run(name="mlp", folder="kept", stop=None, tested=True, **changes):
        recipe = get_recipe(name)
        data = data_of(recipe)
        some = ImageData("some", data.pixels[:60], None, "here")
        test = ImageData("test", data.pixels[40:60], None, "there") if tested else None
        settings = small(recipe, **{"batch_size": 15, "epochs": 3, "steps": None} | changes)
        said, steps = [], []

        def observe(progress):
            steps.append(progress.step)
            if progress.step == stop:
                raise Killed

        trace = kept_training(
            name, settings, some, tmp_path / folder, test=test, device="cpu",
            observe=observe, say=said.append,
        )  # fmt: skip
        plain = train(Run(recipe, settings, some), PyTorchEngine("cpu"))
        return trace, plain, said, steps

    return run


def assert_same_run(one, two):
    assert np.array_equal(one.losses, two.losses)
    assert np.array_equal(one.epochs, two.epochs)
    assert one.parameters.keys() == two.parameters.keys()
    assert all(np.array_equal(one.parameters[k], v) for k, v in two.parameters.items())
    assert all(np.array_equal(one.latent_means[k], v) for k, v in two.latent_means.items())
    assert np.array_equal(one.samples, two.samples)


@both
def test_a_run_that_is_kept_and_tested_is_the_plain_run_to_the_bit(keep, tmp_path, name):
    trace, plain, said, steps = keep(name)
    assert_same_run(trace, plain)
    assert_same_run(Trace.load(tmp_path / "kept"), plain)
    assert (said, steps) == ([], list(range(1, 13)))
    assert {path.name for path in (tmp_path / "kept").iterdir()} == FILES | {TEST_HISTORY}


@both
def test_the_second_call_reads_and_trains_nothing(keep, tmp_path, name):
    first, *_ = keep(name)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").iterdir()}
    second, _, said, steps = keep(name)
    assert_same_run(second, first)
    assert (said, steps) == (["kept: all 12 steps were done before"], [])
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").iterdir()} == before


@pytest.mark.slow
@both
@pytest.mark.parametrize("rng", ["injected", "torch"])
@pytest.mark.parametrize("stop", [2, 4, 5, 12])
def test_a_call_that_was_interrupted_goes_on_to_the_bit(keep, tmp_path, name, rng, stop):
    whole, plain, _, _ = keep(name, folder="whole", rng=rng)
    with pytest.raises(Killed):
        keep(name, stop=stop, rng=rng)
    assert Checkpoint.find(tmp_path / "kept").checkpoint.step == stop
    done, _, said, steps = keep(name, rng=rng)
    assert said == [f"kept: going on after step {stop}, where it was interrupted"]
    assert steps == list(range(stop + 1, 13))
    for trace in (done, whole):
        assert_same_run(trace, plain)
    pd.testing.assert_frame_equal(
        read_test_history(tmp_path / "kept"), read_test_history(tmp_path / "whole"),
        check_exact=True,
    )  # fmt: skip


@both
def test_there_is_a_row_of_test_terms_for_each_epoch(keep, tmp_path, name):
    trace, *_ = keep(name, seed=5)
    table = read_test_history(tmp_path / "kept")
    assert table["epoch"].tolist() == [1, 2, 3]
    assert set(table) == {"epoch", *trace.terms}
    data = ImageData("test", trace_test_pixels(name), None, "there")
    expected = evaluate(load_network(trace), name, trace.settings, data, seed=3)
    last = table.iloc[-1]
    for term, value in expected.items():
        assert last[term] == pytest.approx(value, rel=1e-12)


def trace_test_pixels(name):
    data = load_toy(60) if name == "clustering-toy" else load_digits()
    return data.pixels[40:60]


def test_a_run_that_ends_within_an_epoch_is_tested_at_its_end(keep, tmp_path):
    keep(steps=6)
    assert read_test_history(tmp_path / "kept")["epoch"].tolist() == [1, 2]


def test_without_test_images_there_is_no_test_history(keep, tmp_path):
    keep(tested=False)
    assert {path.name for path in (tmp_path / "kept").iterdir()} == FILES
    table = read_test_history(tmp_path / "kept")
    assert list(table) == ["epoch"]
    assert len(table) == 0


@pytest.mark.parametrize("first", [{"epochs": 2}, {"steps": 6}])
@both
def test_a_shorter_one_goes_on_to_the_bit(keep, tmp_path, name, first):
    keep(name, rng="torch", **first)
    done, plain, said, steps = keep(name, rng="torch")
    begun = 12 - len(steps)
    assert said == [f"kept: going on after step {begun}, where it had ended"]
    assert begun == (8 if "epochs" in first else 6)
    assert_same_run(done, plain)
    keep(name, folder="whole", rng="torch")
    assert {path.name: path.read_bytes() for path in (tmp_path / "kept").iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()
    }


@pytest.mark.parametrize("stop", [None, 5])
@pytest.mark.parametrize("changes", [{"seed": 2}, {"steps": 2}])
def test_another_run_in_the_folder_is_not_replaced(keep, tmp_path, stop, changes):
    if stop is None:
        keep(seed=1)
    else:
        with pytest.raises(Killed):
            keep(seed=1, stop=stop)
    before = {path.name: path.read_bytes() for path in (tmp_path / "kept").iterdir()}
    with pytest.raises(
        UserError, match=r"kept' holds another run, which .*\); choose another --out"
    ):
        keep(**{"seed": 1} | changes)
    assert {path.name: path.read_bytes() for path in (tmp_path / "kept").iterdir()} == before


def test_nothing_is_left_of_a_process_that_was_killed_while_it_wrote(keep, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / ".history.csv.a1b2c3d4").write_text("half a li")
    keep()
    assert {path.name for path in (tmp_path / "kept").iterdir()} == FILES | {TEST_HISTORY}


def test_what_cannot_be_trained_leaves_no_folder(data_of, small, tmp_path):
    recipe, toy = get_recipe("mlp"), data_of(get_recipe("clustering-toy"))
    with pytest.raises(UserError, match="recipe mlp with toy"):
        kept_training("mlp", small(recipe), toy, tmp_path / "other", device="cpu")
    assert list(tmp_path.iterdir()) == []
