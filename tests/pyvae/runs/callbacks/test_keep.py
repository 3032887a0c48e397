"""Runs that are kept while they are trained: read again, or gone on with, to the bit."""

from __future__ import annotations

import shutil
from contextlib import ExitStack, nullcontext

import numpy as np
import pytest
import safetensors.numpy

from pyvae.data.images import ImageData, load_digits, load_toy
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.metrics.held_out import evaluate
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.runs.callbacks.held_out_history import TEST_HISTORY, EvaluateEpochs, read_test_history
from pyvae.runs.callbacks.keep import KeepParameters, train_kept
from pyvae.runs.kept_run import KeptRun
from pyvae.runs.run_folder import RunFolder
from pyvae.runs.trained import load_network
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import StopTraining
from pyvae.training.checkpoint import Checkpoint
from pyvae.training.loop import train

FILES = {
    "trace.json", "history.csv", "parameters.safetensors", "latents.safetensors",
    "checkpoint-00000012.json", "checkpoint-00000012.safetensors",
}  # fmt: skip
both = pytest.mark.parametrize("name", ["mlp", "clustering-toy"])


class StoppedError(Exception):
    """An error of a callback."""


@pytest.fixture(autouse=True)
def _a_checkpoint_at_every_step(monkeypatch):
    monkeypatch.setenv("PYVAE_CHECKPOINT_SECONDS", "0")


@pytest.fixture
def keep(small, data_of, tmp_path):
    """Three epochs of four steps, kept in `kept`; returns the trace, what was found, and the steps
    that were taken."""

    def run(name="mlp", folder="kept", stop=None, tested=True, **changes):
        recipe = get_recipe(name)
        data = data_of(recipe)
        some = ImageData("some", data.pixels[:60], None, "here")
        settings = small(recipe, **{"batch_size": 15, "epochs": 3, "steps": None} | changes)
        run, engine, steps = Run(recipe, settings, some), PyTorchEngine("cpu"), []
        kept = KeptRun(tmp_path / folder, Trace.of_run(run, engine), longer=True)
        kept.check("choose another --out")

        def look(now):
            steps.append(now.step)
            if now.step == stop:
                raise StoppedError

        callbacks = [look]
        if tested:
            test = ImageData("test", data.pixels[40:60], None, "there")
            callbacks.insert(0, EvaluateEpochs(test, tmp_path / folder))
        return train_kept(run, engine, kept, callbacks), kept.found, steps

    return run


@pytest.fixture(scope="module")
def plain(small, data_of):
    """The same run, neither kept nor tested."""
    known = {}

    def run(name="mlp", **changes):
        key = (name, *sorted(changes.items()))
        if key not in known:
            recipe = get_recipe(name)
            settings = small(recipe, **{"batch_size": 15, "epochs": 3, "steps": None} | changes)
            some = ImageData("some", data_of(recipe).pixels[:60], None, "here")
            known[key] = train(Run(recipe, settings, some), PyTorchEngine("cpu"))
        return known[key]

    return run


def assert_same_run(one, two):
    assert np.array_equal(one.losses, two.losses)
    assert np.array_equal(one.epochs, two.epochs)
    assert one.parameters.keys() == two.parameters.keys()
    assert all(np.array_equal(one.parameters[k], v) for k, v in two.parameters.items())
    assert all(np.array_equal(one.latent_means[k], v) for k, v in two.latent_means.items())
    assert np.array_equal(one.samples, two.samples)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@both
def test_a_run_that_is_kept_and_tested_is_the_plain_run_to_the_bit(keep, plain, tmp_path, name):
    """And the second call reads it, and trains nothing."""
    first, found, steps = keep(name)
    assert_same_run(first, plain(name))
    assert_same_run(Trace.load(tmp_path / "kept"), first)
    assert (found, steps) == ("", list(range(1, 13)))
    assert {path.name for path in (tmp_path / "kept").iterdir()} == FILES | {TEST_HISTORY}
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").iterdir()}
    second, found, steps = keep(name)
    assert_same_run(second, first)
    assert (found, steps) == ("all 12 steps were done before", [])
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").iterdir()} == before


@pytest.mark.parametrize(
    ("name", "rng", "stop"),
    [("mlp", "torch", 4), ("mlp", "injected", 5), ("clustering-toy", "torch", 2),
     ("clustering-toy", "injected", 12)],
)  # fmt: skip
def test_a_run_whose_callback_failed_goes_on_to_the_bit(
    keep, plain, tmp_path, monkeypatch, name, rng, stop
):
    """From a checkpoint of that very step, whether it was time for one or not."""
    keep(name, folder="whole", rng=rng)
    monkeypatch.setenv("PYVAE_CHECKPOINT_SECONDS", "inf")
    with pytest.raises(StoppedError):
        keep(name, stop=stop, rng=rng)
    assert Checkpoint.find(tmp_path / "kept").checkpoint.step == stop
    assert Trace.load(tmp_path / "kept").steps == stop
    done, found, steps = keep(name, rng=rng)
    assert found == f"going on after step {stop}, where it was interrupted"
    assert steps == list(range(stop + 1, 13))
    assert_same_run(done, plain(name, rng=rng))
    assert contents(tmp_path / "kept") == contents(tmp_path / "whole")


def test_an_error_while_it_is_kept_after_another_one_is_not_the_one_that_is_raised(
    keep, monkeypatch
):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setenv("PYVAE_CHECKPOINT_SECONDS", "inf")
    monkeypatch.setattr("pyvae.files.writing.tempfile.mkstemp", full)
    with pytest.raises(StoppedError):
        keep(tested=False, stop=3)


def test_a_run_whose_folder_another_one_has_taken_writes_nothing_into_it(small, data_of, tmp_path):
    toy, engine = get_recipe("clustering-toy"), PyTorchEngine("cpu")
    run = Run(toy, small(toy), data_of(toy))
    with ExitStack() as others, RunFolder(tmp_path / "out") as folder:
        kept = KeptRun(folder.path / "run", Trace.of_run(run, engine))

        def take(now):
            if now.step == 2:
                shutil.rmtree(folder.path)
                others.enter_context(RunFolder(folder.path))

        with pytest.raises(UserError, match="is being written by another run"):
            train_kept(run, engine, kept, [take], folder)
        assert [path.name for path in folder.path.iterdir()] == [".lock"]


def test_a_run_that_a_callback_stops_is_complete_and_goes_on_from_there(keep, plain, tmp_path):
    """With a checkpoint of its last step, whatever that was."""
    first, _, _ = keep(steps=12, tested=False)
    assert_same_run(first, plain())
    recipe = get_recipe("mlp")
    run = Run(recipe, first.settings, ImageData("some", load_digits().pixels[:60], None, "here"))
    engine = PyTorchEngine("cpu")
    kept = KeptRun(tmp_path / "stopped", Trace.of_run(run, engine), every=1e9, longer=True)

    def stop(now):
        if now.step == 5:
            raise StopTraining

    trace = train_kept(run, engine, kept, [stop])
    assert (trace.steps, trace.complete) == (5, True)
    kept = KeptRun(tmp_path / "stopped", Trace.of_run(run, engine), longer=True)
    assert kept.found == "going on after step 5, where it had ended"
    assert_same_run(train_kept(run, engine, kept), first)


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
    assert (list(table), len(table)) == (["epoch"], 0)


@pytest.mark.slow
@pytest.mark.parametrize("first", [{"epochs": 2}, {"steps": 6}])
def test_a_shorter_one_goes_on_to_the_bit(keep, plain, tmp_path, first):
    keep("clustering-toy", rng="torch", **first)
    done, found, steps = keep("clustering-toy", rng="torch")
    begun = 12 - len(steps)
    assert found == f"going on after step {begun}, where it had ended"
    assert begun == (8 if "epochs" in first else 6)
    assert_same_run(done, plain("clustering-toy", rng="torch"))
    keep("clustering-toy", folder="whole", rng="torch")
    assert contents(tmp_path / "kept") == contents(tmp_path / "whole")


@pytest.mark.parametrize("stop", [None, 5])
@pytest.mark.parametrize("changes", [{"seed": 2}, {"steps": 2}])
def test_another_run_in_the_folder_is_not_replaced(keep, tmp_path, stop, changes):
    with pytest.raises(StoppedError) if stop else nullcontext():
        keep(seed=1, stop=stop)
    before = contents(tmp_path / "kept")
    with pytest.raises(
        UserError, match=r"kept' holds another run, which .*\)\. Choose another --out\.$"
    ):
        keep(**{"seed": 1} | changes)
    assert contents(tmp_path / "kept") == before


def test_nothing_is_left_of_a_process_that_was_killed_while_it_wrote(keep, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / ".history.csv.a1b2c3d4").write_text("half a li")
    keep()
    assert {path.name for path in (tmp_path / "kept").iterdir()} == FILES | {TEST_HISTORY}


def test_parameters_are_kept_every_so_many_epochs(small, data_of, tmp_path):
    toy, engine, seen = get_recipe("clustering-toy"), PyTorchEngine("cpu"), {}
    run = Run(toy, small(toy, batch_size=30, epochs=5, steps=None), data_of(toy))

    def look(now):
        if now.epoch_ended:
            seen[int(now.trace.epochs[-1])] = engine.parameters()

    train(run, engine, [KeepParameters(tmp_path, 2), look])
    found = sorted((tmp_path / "checkpoints").iterdir())
    assert [path.name for path in found] == ["epoch-002.safetensors", "epoch-004.safetensors"]
    for path, epoch in zip(found, (2, 4), strict=True):
        arrays = safetensors.numpy.load_file(path)
        assert arrays.keys() == seen[epoch].keys()
        assert all(np.array_equal(arrays[name], value) for name, value in seen[epoch].items())
