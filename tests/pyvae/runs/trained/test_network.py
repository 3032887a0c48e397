from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.model.draws import Draws
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.runs.trained import load_network, load_trace, load_traces
from pyvae.training.loop import train


@pytest.fixture
def run(tmp_path, trained):
    """A folder as `pyvae train --objective both` leaves it."""
    for name, trace in trained.items():
        (tmp_path / name).mkdir()
        trace.save(tmp_path / name)
    return tmp_path


def test_a_folder_gives_its_own_trace(run):
    trace = load_trace(run / "emae")
    assert trace.settings.objective == "emae"


def test_a_run_gives_all_its_traces_vae_first(run):
    assert [trace.settings.objective for trace in load_traces(run)] == ["vae", "emae"]
    with pytest.raises(UserError, match=f"2 runs. Name one of them: {run}/vae or {run}/emae"):
        load_trace(run)


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


@pytest.mark.parametrize("changes", [{"hyper": {"clusters": 4}}, {"latent_dim": 6}])
def test_parameters_of_other_clusters_are_the_users_error(small, data_of, changes):
    recipe = get_recipe("clustering-toy")
    trace = train(Run(recipe, small(recipe, steps=1), data_of(recipe)), PyTorchEngine("cpu"))
    other = dataclasses.replace(trace, settings=small(recipe, **changes))
    with pytest.raises(UserError, match="do not fit recipe clustering-toy"):
        load_network(other)
