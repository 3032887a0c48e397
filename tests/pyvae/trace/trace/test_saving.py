"""What is saved is loaded to the bit, and takes the place of what was there."""

from __future__ import annotations

import dataclasses
import tempfile

import hypothesis
import numpy as np
import pytest
import torch
from alike.arrays import same
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from shown.figures_help import finished_trace
from written_files.traces import SETTINGS, make_trace, save_probed

from pyvae.errors import UserError
from pyvae.recipes import RECIPES
from pyvae.trace.trace import Trace

modest = hypothesis.settings(max_examples=25)
every_recipe = pytest.mark.parametrize("recipe", RECIPES)
numbers = st.floats(allow_nan=False, width=64)


@modest
@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.just(3)), elements=numbers))
def test_losses_survive_saving_to_the_bit(losses):
    with tempfile.TemporaryDirectory() as folder:
        make_trace(losses).save(folder)
        loaded = Trace.load(folder).losses
    assert loaded.dtype == np.float64
    assert loaded.tobytes() == losses.tobytes()


def test_everything_else_survives_saving(tmp_path):
    trace = make_trace(np.ones((5, 3)), epochs=[1, 1, 2, 2, 3])
    trace.save(tmp_path)
    loaded = Trace.load(tmp_path)
    for name in ("engine", "recipe", "settings", "data", "environment", "steps", "complete"):
        assert getattr(loaded, name) == getattr(trace, name)
    assert np.array_equal(loaded.epochs, trace.epochs)
    assert same(loaded.latent_means, trace.latent_means)
    assert same(loaded.parameters, trace.parameters)
    assert np.array_equal(loaded.samples, trace.samples)


def test_an_interrupted_trace_is_its_history_alone(tmp_path):
    trace = dataclasses.replace(
        make_trace(np.ones((2, 3))), parameters={}, latent_means={}, samples=None
    )
    trace.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"trace.json", "history.csv"}
    loaded = Trace.load(tmp_path)
    assert not loaded.complete
    assert loaded.parameters == {}
    assert np.array_equal(loaded.losses, trace.losses)


def test_an_interrupted_trace_takes_nothing_from_an_older_one(saved):
    partial = dataclasses.replace(
        make_trace(np.ones((2, 3))), parameters={}, latent_means={}, samples=None
    )
    partial.save(saved)
    assert Trace.load(saved).parameters == {}
    assert Trace.load(saved).steps == 2


def test_a_trace_makes_its_folder(saved, tmp_path):
    trace = Trace.load(saved)
    trace.save(tmp_path / "not" / "there")
    assert Trace.load(tmp_path / "not" / "there").steps == trace.steps
    trace.save_probe(tmp_path / "nor" / "here", 1, {"forward/total": np.array(0.5)})
    assert (tmp_path / "nor" / "here" / "probes" / "step-000001.safetensors").is_file()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"'.*file' is a file"):
        trace.save(tmp_path / "file")


def test_a_second_trace_replaces_the_first(saved):
    second = make_trace(np.full((2, 3), 0.1))
    second.save(saved)
    assert np.array_equal(Trace.load(saved).losses, second.losses)


def test_extending_counts_epochs_from_1():
    trace = make_trace(np.empty((0, 3)))
    trace.extend(0, [torch.tensor([3.0, 2.0, 1.0])] * 2)
    trace.extend(1, [torch.tensor([6.0, 5.0, 1.0])])
    assert trace.epochs.tolist() == [1, 1, 2]
    assert trace.losses.tolist() == [[3, 2, 1], [3, 2, 1], [6, 5, 1]]


def test_steps_that_were_probed_and_the_mode_survive_saving(tmp_path):
    trace = make_trace(np.ones((5, 3)))
    assert trace.mode == "free"
    trace.mode = "resync"
    for step in (1, 3, 5):
        trace.save_probe(tmp_path, step, {"forward/total": np.array(1.0)})
    trace.save(tmp_path)
    loaded = Trace.load(tmp_path)
    assert (loaded.mode, loaded.probed, loaded.folder) == ("resync", [1, 3, 5], tmp_path)
    assert {path.name for path in (tmp_path / "probes").iterdir()} == {
        "step-000001.safetensors",
        "step-000003.safetensors",
        "step-000005.safetensors",
    }


@pytest.mark.parametrize("rng", ["injected", "torch", "r"])
def test_the_generator_of_draws_survives_saving(tmp_path, rng):
    settings = dataclasses.replace(SETTINGS, rng=rng)
    dataclasses.replace(make_trace(np.ones((2, 3))), settings=settings).save(tmp_path)
    assert Trace.load(tmp_path).settings == settings


@every_recipe
def test_a_trace_of_any_recipe_survives_saving(tmp_path, recipe):
    trace = finished_trace(recipe)
    trace.save(tmp_path)
    loaded = Trace.load(tmp_path)
    assert (loaded.recipe, loaded.settings) == (recipe, trace.settings)
    assert loaded.terms == trace.terms
    assert np.array_equal(loaded.losses, trace.losses)
    assert same(loaded.parameters, trace.parameters)
    assert same(loaded.latent_means, trace.latent_means)
    assert np.array_equal(loaded.samples, trace.samples)


def test_removing_a_trace_removes_its_probes_and_its_folder(tmp_path):
    folder = tmp_path / "trace"
    folder.mkdir()
    save_probed(folder, {1: {"a": np.ones(2)}, 2: {"a": np.ones(2)}})
    Trace.remove(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_to_be_kept_is_emptied(tmp_path):
    save_probed(tmp_path, {1: {"a": np.ones(2)}})
    Trace.remove(tmp_path, keep_folder=True)
    assert tmp_path.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_removing_a_trace_leaves_the_users_own_files(tmp_path):
    save_probed(tmp_path, {1: {"a": np.ones(2)}})
    mine = ["notes.txt", "probes/notes.txt", "probes/other.safetensors", "sub/trace.json"]
    for name in mine:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    Trace.remove(tmp_path)
    left = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert left == set(mine)
    assert all((tmp_path / name).read_text() == name for name in mine)


def test_removing_what_is_not_there_does_nothing(tmp_path):
    Trace.remove(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []
