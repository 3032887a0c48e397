from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy import special

from pyvae.errors import UserError
from pyvae.model.draws import Draws
from pyvae.recipes.conv import CONV
from pyvae.runs.trained import interpolate, load_network, reconstruct, sample

every_objective = pytest.mark.parametrize("objective", CONV.objectives)


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


def test_parameters_of_another_network_are_the_users_error(trained):
    settings = dataclasses.replace(trained["vae"].settings, latent_dim=6)
    with pytest.raises(UserError):
        sample(dataclasses.replace(trained["vae"], settings=settings), 2, 1)


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


@pytest.mark.usefixtures("narrow_recipes")
def test_a_way_goes_from_one_reconstruction_to_the_other_in_even_steps(any_trained, data_of):
    recipe, trace = any_trained
    data = data_of(recipe)
    way = interpolate(trace, data, 7, 2, n=5)
    assert way.z.shape == (5, 3)
    np.testing.assert_allclose(way.pixels[[0, -1]], reconstruct(trace, data, [7, 2]), atol=1e-12)
    np.testing.assert_allclose(np.diff(way.z, n=2, axis=0), 0, atol=1e-12)
    assert np.abs(np.diff(way.z, axis=0)).max() > 1e-6


@pytest.mark.parametrize("n", [1, 10_001])
def test_a_way_of_too_few_or_too_many_images_is_the_users_error(trained, digits, n):
    with pytest.raises(UserError, match=f"n={n}: expected 2 to 10000"):
        interpolate(trained["vae"], digits, 0, 1, n)


@pytest.mark.parametrize("n", [0, 10_001])
def test_a_number_of_samples_out_of_range_is_refused(trained, n):
    with pytest.raises(UserError, match=f"n={n}: expected 1 to 10000"):
        sample(trained["vae"], n, 1)
