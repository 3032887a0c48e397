from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from narrow import NARROW
from scipy import special

from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.model.draws import Draws
from pyvae.model.run import Run
from pyvae.recipes import RECIPES, get_recipe
from pyvae.recipes.conv import CONV
from pyvae.runs.trained import load_network, load_traces, sample
from pyvae.training.loop import train

every_objective = pytest.mark.parametrize("objective", CONV.objectives)


@pytest.fixture
def run(tmp_path, trained):
    """A folder as `pyvae train --objective both` leaves it."""
    for name, trace in trained.items():
        (tmp_path / name).mkdir()
        trace.save(tmp_path / name)
    return tmp_path


@every_objective
def test_a_sample_is_the_decoder_by_numpy_on_normal_latents(trained, objective):
    p = trained[objective].parameters
    h = Draws(8).normal("samples", 0, (9, 5))
    for layer in ("fc1", "fc2"):
        h = np.maximum(h @ p[f"decoder.{layer}.weight"].T + p[f"decoder.{layer}.bias"], 0)
    h = np.maximum(h @ p["decoder.conv1.weight"][:, :, 0, 0] + p["decoder.conv1.bias"], 0)
    h = h @ p["decoder.conv2.weight"][:, :, 0, 0] + p["decoder.conv2.bias"]
    np.testing.assert_allclose(sample(trained[objective], 9, 8), special.expit(h), atol=1e-14)


@every_objective
def test_the_runs_own_samples_are_drawn_again_by_its_seed(trained, objective):
    trace = trained[objective]
    np.testing.assert_allclose(
        sample(trace, len(trace.samples), trace.settings.seed), trace.samples, atol=1e-14
    )


def test_samples_follow_from_the_seed(trained):
    one, again, other = (sample(trained["vae"], 3, seed) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_folder_gives_its_own_trace(run):
    (trace,) = load_traces(run / "emae")
    assert trace.settings.objective == "emae"


def test_a_run_gives_all_its_traces_vae_first(run):
    assert [trace.settings.objective for trace in load_traces(run)] == ["vae", "emae"]


def test_an_unfinished_trace_is_left_out(run, trained):
    partial = dataclasses.replace(trained["vae"], parameters={}, latent_means={}, samples=None)
    partial.save(run / "vae")
    assert [trace.settings.objective for trace in load_traces(run)] == ["emae"]
    with pytest.raises(UserError, match="holds no finished run"):
        load_traces(run / "vae")


@pytest.mark.parametrize("name", ["absent", "empty", "file"])
def test_what_holds_no_run_is_the_users_error(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    said = "file' is a file\\. Give the folder" if name == "file" else "holds no finished run"
    with pytest.raises(UserError, match=rf"{said}.*pyvae train"):
        load_traces(tmp_path / name)


def test_parameters_of_another_network_are_the_users_error(trained):
    settings = dataclasses.replace(trained["vae"].settings, latent_dim=6)
    with pytest.raises(UserError):
        sample(dataclasses.replace(trained["vae"], settings=settings), 2, 1)


@pytest.fixture
def narrow_recipes(monkeypatch):
    """The recipes of `any_trained` by their names."""
    for name, recipe in NARROW.items():
        monkeypatch.setitem(RECIPES, name, recipe)


@pytest.mark.usefixtures("narrow_recipes")
def test_the_network_of_any_trace_is_the_trained_one_in_evaluation_mode(any_trained, data_of):
    recipe, trace = any_trained
    before = torch.get_rng_state()
    network = load_network(trace)
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(module.training for module in network.modules())
    state = network.state_dict()
    assert state.keys() == trace.parameters.keys()
    for name, value in trace.parameters.items():
        assert np.array_equal(state[name], value)
        assert state[name].dtype == torch.float64
    # it encodes the run's last batch as the run did
    settings = trace.settings
    order = Draws(settings.seed).batch_order(0, len(data_of(recipe)))
    first = (trace.steps - 1) * settings.batch_size
    x = data_of(recipe).batch(order[first : first + settings.batch_size], torch.float64)
    with torch.no_grad():
        mu, _ = network.posterior(x)
    np.testing.assert_allclose(mu, trace.latent_means["evaluation"], atol=1e-12)


@pytest.mark.usefixtures("narrow_recipes")
def test_samples_of_any_recipe_are_decoded_from_its_prior(any_trained):
    recipe, trace = any_trained
    found = sample(trace, 7, 8)
    assert found.shape == (7, recipe.features)
    assert np.array_equal(found, sample(trace, 7, 8))
    assert not np.array_equal(found, sample(trace, 7, 9))
    noise = torch.from_numpy(Draws(8).normal("samples", 0, (7, 3)))
    network = load_network(trace)
    z = noise
    if recipe.name.startswith("clustering"):  # of p(z|y), the clusters in turn
        clusters = trace.settings.hyper["clusters"]
        y = torch.eye(clusters, dtype=torch.float64)[[k % clusters for k in range(7)]]
        with torch.no_grad():
            mu, log_var = network.pz_y(y)
        z = mu + torch.sqrt(torch.exp(log_var)) * noise
    with torch.no_grad():
        np.testing.assert_allclose(found, network.decoder(z), atol=1e-12)


@pytest.mark.parametrize("changes", [{"hyper": {"clusters": 4}}, {"latent_dim": 6}])
def test_parameters_of_other_clusters_are_the_users_error(small, data_of, changes):
    recipe = get_recipe("clustering-toy")
    trace = train(Run(recipe, small(recipe, steps=1), data_of(recipe)), PyTorchEngine("cpu"))
    other = dataclasses.replace(trace, settings=small(recipe, **changes))
    with pytest.raises(UserError, match="do not fit recipe clustering-toy"):
        load_network(other)
