"""What a run can start from."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.figures.style import LEAST_DEVIATION
from pyvae.metrics.latents import active_units
from pyvae.model.run import Run
from pyvae.recipes import RECIPES, get_recipe
from pyvae.recipes.conv import CONV
from pyvae.runs.starts import (
    STATES,
    last_state,
    objectives_of,
    runs_in,
    start_from_run,
    start_of_trace,
    trained_start,
)
from pyvae.runs.train import train_into
from pyvae.runs.trained import load_network
from pyvae.runs.verify import verify_trace
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import StopTraining
from pyvae.training.checkpoint import Checkpoint
from pyvae.training.loop import start, train

SMALL = {"batch_size": 12, "latent_dim": 5, "dtype": "float64"}


def make(steps=3, objective="vae", **changes):
    return CONV.settings(**SMALL | {"steps": steps, "objective": objective} | changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, digits):
    """As `pyvae train --objective both` leaves it."""
    out = tmp_path_factory.mktemp("runs") / "conv"
    train_into(out, [Run(CONV, make(objective=n), digits) for n in ("vae", "emae")],
               PyTorchEngine("cpu"))  # fmt: skip
    return out


@pytest.mark.slow
def test_parameters_moments_and_adams_count_are_those_that_the_run_ended_with(folder, digits):
    for objective in ("vae", "emae"):
        begun = start_from_run(folder, CONV, make(objective=objective))
        engine = PyTorchEngine("cpu")
        start(engine, Run(CONV, make(objective=objective), digits, begun))
        kept = Checkpoint.find(folder / objective).checkpoint.state
        state = engine.state()
        assert state["step"] == 3
        assert state.keys() == kept.keys()
        assert all(np.array_equal(state[key], kept[key]) for key in kept)


def test_a_run_without_a_checkpoint_gives_its_parameters_alone(folder, tmp_path):
    Trace.load(folder / "vae").save(tmp_path)
    begun = start_from_run(tmp_path, CONV, make())
    assert (dict(begun.moments), begun.taken) == ({}, 0)
    assert begun.title == "the parameters after 3 steps of digits, without Adam's moments"
    assert start_from_run(folder, CONV, make()).title.endswith(" digits, with Adam's moments")
    for name, value in Trace.load(folder / "vae").parameters.items():
        assert np.array_equal(begun.parameters[name], value)


def test_moments_in_a_damaged_checkpoint_are_not_dropped_silently(folder, tmp_path):
    run = tmp_path / "vae"
    shutil.copytree(folder / "vae", run)
    numbers = run / "checkpoint-00000003.safetensors"
    numbers.write_bytes(numbers.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"--start .*the checkpoint of step 3 is damaged") as error:
        start_from_run(run, CONV, make())
    assert "remove that checkpoint's two files" in error.value.remedy
    assert "without Adam's moments" in error.value.remedy
    assert last_state(runs_in(run)["vae"]).steps == 3  # its parameters are whole
    for file in run.glob("checkpoint-00000003.*"):
        file.unlink()
    assert start_from_run(run, CONV, make()).title.endswith("without Adam's moments")


@pytest.mark.slow
def test_a_run_whose_newest_checkpoint_is_damaged_is_not_taken_from_an_older_one_unasked(
    tmp_path, digits
):
    def stop(now):
        if now.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_into(tmp_path, Run(CONV, make(steps=4), digits), PyTorchEngine("cpu"), [stop])
    run = tmp_path / "vae"
    kept = Checkpoint.find(run).checkpoint
    replace(kept, step=kept.step + 1).save(run)
    newer = run / f"checkpoint-{kept.step + 1:08d}.safetensors"
    newer.write_bytes(b"")
    with pytest.raises(UserError, match=f"step {kept.step + 1} is damaged") as error:
        start_from_run(run, CONV, make())
    assert f"to start from the checkpoint of step {kept.step}" in error.value.remedy
    for file in run.glob(f"checkpoint-{kept.step:08d}.*"):
        file.unlink()
    with pytest.raises(UserError, match=r"no checkpoint that can be read: .* is damaged"):
        last_state(runs_in(run)["vae"])


def test_a_run_that_was_interrupted_gives_its_last_checkpoint(tmp_path, digits):
    def stop(now):
        if now.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_into(tmp_path, Run(CONV, make(), digits), PyTorchEngine("cpu"), [stop])
    assert not runs_in(tmp_path)["vae"].complete
    kept = Checkpoint.find(tmp_path / "vae").checkpoint
    state = last_state(runs_in(tmp_path)["vae"])
    assert state.steps == kept.step >= 1
    for name, value in state.parameters.items():
        assert np.array_equal(value, kept.state[f"parameter/{name}"])
    Checkpoint.remove(tmp_path / "vae")
    with pytest.raises(UserError, match="is not finished and has no checkpoint"):
        last_state(runs_in(tmp_path)["vae"])


@pytest.mark.slow
def test_a_run_from_there_says_so_and_is_verified_bit_by_bit(folder, tmp_path, digits):
    begun = start_from_run(folder, CONV, make())
    trace = train(Run(CONV, make(steps=2), digits, begun), PyTorchEngine("cpu"))
    plain = train(Run(CONV, make(steps=2), digits), PyTorchEngine("cpu"))
    assert trace.losses[0, 0] != plain.losses[0, 0]
    trace.save(tmp_path)
    saved = Trace.load(tmp_path)
    assert saved.start == begun.describe()
    assert saved.start["source"] == str(folder)
    assert start_of_trace(saved).sha256 == begun.sha256
    assert start_of_trace(plain) is None
    assert verify_trace(saved, PyTorchEngine("cpu"), digits, 2).same
    told = json.loads((tmp_path / "trace.json").read_text())
    told["start"] = told["start"] | {"sha256": "0" * 64}
    (tmp_path / "trace.json").write_text(json.dumps(told))
    with pytest.raises(UserError, match="has changed since"):
        verify_trace(Trace.load(tmp_path), PyTorchEngine("cpu"), digits, 2)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"name": "no/t", "sha256": "0" * 64}, "not a word in small letters"),
        ({"name": "run", "sha256": "0"}, "start's sha256"),
        ({"name": "run", "sha256": "0" * 64, "taken": -1}, "start's taken"),
        ({"name": "run"}, "sha256 is missing"),
        ([], "start is"),
    ],
)
def test_a_trace_with_an_odd_start_is_refused(folder, tmp_path, value, said):
    Trace.load(folder / "vae").save(tmp_path)
    told = json.loads((tmp_path / "trace.json").read_text())
    (tmp_path / "trace.json").write_text(json.dumps(told | {"start": value}))
    with pytest.raises(UserError, match=said):
        Trace.load(tmp_path)


@pytest.mark.slow
def test_a_run_from_another_start_is_another_run(folder, tmp_path, digits):
    engine = PyTorchEngine("cpu")
    train_into(tmp_path, Run(CONV, make(steps=1), digits), engine)
    begun = start_from_run(folder, CONV, make())
    with pytest.raises(UserError, match=r"another run, which is finished \(start initial, now run"):
        train_into(tmp_path, Run(CONV, make(steps=1), digits, begun), engine)


def test_what_does_not_fit_is_one_line(folder, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    one = folder / "vae"
    for place, recipe, settings, said in (
        (tmp_path / "no", CONV, make(), "no' does not exist"),
        (tmp_path / "file", CONV, make(), "file' is a file"),
        (tmp_path / "empty", CONV, make(), "empty' holds no run"),
        (folder, get_recipe("beta"), get_recipe("beta").settings(), "recipe conv, not of beta"),
        (one, CONV, make(objective="emae"), "objective vae, none of emae, and Adam's moments"),
        (folder, CONV, make(latent_dim=4), "5 latent dimensions, not 4. Use --latent-dim 5"),
    ):
        with pytest.raises(UserError) as error:
            start_from_run(place, recipe, settings)
        assert said in str(error.value)
        assert "\n" not in str(error.value)


def test_the_objectives_of_a_folder_are_those_of_its_runs(folder):
    assert sorted(objectives_of(folder)) == ["emae", "vae"]
    assert objectives_of(folder / "emae") == ["emae"]


def test_what_is_shipped_is_whole_and_says_how_to_get_it_again():
    for path in STATES.glob("*.safetensors"):
        about = json.loads(path.with_suffix(".json").read_text())
        assert about["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert about["recipe"] == path.stem
        assert path.stat().st_size < 3_000_000
        assert about["commands"][0].startswith(f"pyvae train {path.stem} ")
        assert "/work" not in path.with_suffix(".json").read_text()


def test_the_shipped_state_of_conv_is_trained(digits):
    """Its samples differ from each other as digits do, and it has active dimensions."""
    settings = CONV.settings(steps=1, batch_size=200)
    begun = trained_start(CONV, settings)
    trace = Trace("pytorch", "conv", settings, {}, {})
    trace.parameters = {name: np.float32(value) for name, value in begun.parameters.items()}
    network = load_network(trace)
    with torch.no_grad():
        x = digits.batch(np.arange(500), torch.float32)
        mu, _ = network.posterior(x)
        images = network.decode(torch.randn(64, 30, generator=torch.Generator().manual_seed(1)))
    assert 1 <= active_units(mu) <= 29
    assert images.std(axis=0).max() > 4 * LEAST_DEVIATION
    assert "steps of mnist" in begun.title


def test_where_nothing_that_fits_is_shipped_there_is_none():
    assert trained_start(CONV, CONV.settings(latent_dim=2)) is None
    assert trained_start(replace(CONV, file=("a", "b", "c"))) is None
    assert all(trained_start(RECIPES[name]) is None for name in RECIPES if name != "conv")


def test_a_state_that_another_version_shipped_is_named(digits):
    settings = CONV.settings(steps=1, batch_size=4)
    run = Run(CONV, settings, digits, trained_start(CONV, settings))

    def end(now):
        raise StopTraining

    trace = train(run, PyTorchEngine("cpu"), [end])
    assert start_of_trace(trace) is not None
    trace.start = trace.start | {"sha256": "0" * 64}
    with pytest.raises(UserError, match="this pyvae ships another state"):
        start_of_trace(trace)
