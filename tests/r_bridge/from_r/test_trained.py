"""What R asks of a trained network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyvae.data.images import ImageData
from pyvae.metrics.held_out import evaluate
from pyvae.recipes import get_recipe
from pyvae.runs.trained import load_network
from pyvae.trace.trace import Trace
from r_bridge.from_r import dimensions, generate, pack, predict, unpack

pytestmark = pytest.mark.slow


def model_of(found):
    settings = found["settings"]
    names = ("objective", "latent_dim", "dtype", "hyper")
    return {
        "parameters": bytes(found["parameters"]),
        "recipe": found["recipe"],
        **{name: settings[name] for name in names},
    }


def network_of(found):
    from pyvae.files.arrays import parse_arrays

    model = model_of(found)
    recipe = get_recipe(model["recipe"])
    settings = recipe.settings(
        objective=model["objective"], latent_dim=model["latent_dim"], dtype=model["dtype"]
    )
    parameters = parse_arrays(model["parameters"])
    return load_network(
        Trace("pytorch", recipe.name, settings, {}, {}, parameters=parameters)
    ), settings


def test_predictions_are_the_networks_in_evaluation_mode(images, run):
    _, found = run(images, batch_size=40, epochs=1)  # one batch: all images, in another order
    model = model_of(found)
    mu = unpack(predict(model, "latent", images)["value"])
    batch = unpack(found["latent_means"]["evaluation"])
    assert np.allclose(mu[np.argsort(mu[:, 0])], batch[np.argsort(batch[:, 0])], atol=1e-12)
    again = unpack(predict(model, "reconstruction", images)["value"])
    decoded = unpack(generate(model, pack(mu))["value"])
    assert again.shape == (40, 784)
    assert np.allclose(again, decoded, atol=1e-12)
    assert "recipe beta" in predict(model, "cluster", images)["error"]["problem"]
    assert "does not exist" in predict(model, "latent", {"data": "no.npz"})["error"]["problem"]
    damaged = model | {"parameters": model["parameters"][:99]}
    assert "cannot be read" in predict(damaged, "latent", images)["error"]["problem"]


@torch.no_grad()
def test_the_posterior_is_the_encoders(images, run):
    _, found = run(images)
    both = predict(model_of(found), "posterior", images)["value"]
    network, _ = network_of(found)
    x = torch.from_numpy(unpack(images) / 255.0)
    for name, expected in zip(("mu", "log_var"), network.posterior(x), strict=True):
        assert unpack(both[name]) == pytest.approx(expected.numpy(), abs=1e-12)


def test_dimensions_add_up_to_the_kl_of_the_loss(images, run):
    _, found = run(images)
    measured = dimensions(model_of(found), images)["value"]
    network, settings = network_of(found)
    pixels = torch.from_numpy(unpack(images).copy())
    losses = evaluate(network, "beta", settings, ImageData("x", pixels, None, "R"))
    assert unpack(measured["kl"]).sum() == pytest.approx(losses["regulariser"], rel=1e-10)
    assert measured["images"] == 40
    assert unpack(measured["sd"]).shape == (3,)


def test_the_prior_of_a_clustering_recipe_is_that_of_its_clusters(run):
    x = pack(np.random.default_rng(2).normal(size=(40, 2))) | {"name": "R"}
    _, found = run(x, recipe="clustering-toy", objective="clustering-points")
    measured = dimensions(model_of(found), x)["value"]
    network, settings = network_of(found)
    data = ImageData("x", torch.from_numpy(unpack(x).copy()), None, "R")
    losses = evaluate(network, "clustering-toy", settings, data)
    assert unpack(measured["kl"]).sum() == pytest.approx(losses["gaussian_kl"], rel=1e-10)
    shares = unpack(predict(model_of(found), "cluster", x)["value"])
    assert shares.sum(axis=1) == pytest.approx(1)


def test_a_file_is_run_only_if_it_was_named(images, run, tmp_path, monkeypatch):
    from pyvae import recipes

    monkeypatch.setattr(recipes, "_opened", {})
    trap = tmp_path / "trap.py"
    trap.write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\nRECIPE = None\n")
    _, found = run(images)
    model = model_of(found) | {"recipe": f"{trap}:RECIPE"}
    assert "unknown recipe" in predict(model, "latent", images)["error"]["problem"]
    assert not (tmp_path / "sprung").exists()
    named = predict(model | {"recipe_file": f"{trap}:RECIPE"}, "latent", images)
    assert "trap.py" in named["error"]["problem"]
    assert (tmp_path / "sprung").exists()
