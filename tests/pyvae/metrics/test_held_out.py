"""A loss on other images: against what a few lines compute by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import special

from pyvae.data.images import ImageData
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.metrics.held_out import evaluate
from pyvae.model.draws import Draws, Normal
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.runs.trained import load_network
from pyvae.training.loop import train

MORE = 730  # than one chunk, and no multiple of it


@pytest.fixture
def network_and(small):
    """A network of initial parameters, whose running statistics are not those of the start."""

    def make(name, **changes):
        recipe = get_recipe(name)
        settings = small(recipe, **changes)
        network = recipe.network(settings.latent_dim, **settings.hyper).double()
        network.load_state_dict(recipe.initial_parameters(2, settings.latent_dim, **settings.hyper))
        for key, buffer in network.named_buffers():
            buffer += 0.1 if key.endswith("var") else -0.1
        return network, settings

    return make


def noise_of(images, size, seed):
    """In chunks of 500, as it is drawn."""
    chunks = [min(500, images - start) for start in range(0, images, 500)]
    drawn = [
        Draws(seed).step(number, rows, {"noise": Normal((size,))})["noise"]
        for number, rows in enumerate(chunks)
    ]
    return torch.from_numpy(np.concatenate(drawn))


def points(number):
    xy = np.random.default_rng(4).normal(size=(number, 2))
    return ImageData("points", torch.from_numpy(xy), None, "made here")


@pytest.mark.parametrize("images", [9, MORE])
def test_the_elbo_is_its_formula_per_image(network_and, digits, images):
    network, settings = network_and("mlp")
    data = ImageData("some", digits.pixels[:images], None, "digits")
    found = evaluate(network, "mlp", settings, data, seed=6)
    x = data.batch(np.arange(images), torch.float64)
    with torch.no_grad():
        output = network.eval()(x, {"noise": noise_of(images, 3, 6)})
    t, p = x.numpy(), output.pixels.numpy()
    mu, log_var = output.mu.numpy(), output.log_var.numpy()
    reconstruction = -(special.xlogy(t, p) + special.xlog1py(1 - t, -p)).sum() / images
    regulariser = 0.5 * (mu**2 + np.exp(log_var) - log_var - 1).sum() / images
    assert found == {
        "total": pytest.approx(reconstruction + regulariser, rel=1e-12),
        "reconstruction": pytest.approx(reconstruction, rel=1e-12),
        "regulariser": pytest.approx(regulariser, rel=1e-12),
    }


@pytest.mark.parametrize(
    ("name", "images"), [("beta", MORE), ("conv", 20), ("clustering-toy", MORE)]
)
def test_terms_are_those_of_one_image_whatever_the_scale_of_training(
    network_and, digits, name, images
):
    network, settings = network_and(name)
    recipe = get_recipe(name)
    data = (
        points(images)
        if recipe.features == 2
        else ImageData("some", digits.pixels[:images], None, "digits")
    )
    found = evaluate(network, name, settings, data, seed=1)
    objective = OBJECTIVES[settings.objective]
    x = data.batch(np.arange(images), torch.float64)
    with torch.no_grad():
        output = network.eval()(x, {"noise": noise_of(images, 3, 1)})
        expected = objective(x, output, settings.hyper)
    scale = 1 if objective.mean else images
    assert found.keys() == set(objective.terms)
    for term, value in expected.items():
        assert found[term] == pytest.approx(value.item() / scale, rel=1e-11), term


@pytest.mark.parametrize("name", ["mlp", "conv", "clustering-toy"])
@pytest.mark.parametrize("training", [True, False])
def test_results_follow_from_the_seed_and_the_network_keeps_its_mode(
    network_and, digits, name, training
):
    network, settings = network_and(name)
    network.train(training)
    data = points(20) if name == "clustering-toy" else ImageData("a", digits.pixels[:20], None, "b")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    generator = torch.get_rng_state()
    one, again, other = (evaluate(network, name, settings, data, seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert one["reconstruction"] != other["reconstruction"]
    assert one["regulariser"] == other["regulariser"]  # no chance but the noise of z
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(module.training is training for module in network.modules())


@pytest.mark.slow
def test_semi_supervised_training_is_evaluated_without_the_terms_of_labels(network_and, digits):
    network, settings = network_and("clustering-semi-supervised")
    data = ImageData("some", digits.pixels[:15], None, "digits")  # labels are not needed
    found = evaluate(network, "clustering-semi-supervised", settings, data)
    assert found.keys() == set(OBJECTIVES["clustering"].terms)
    total = found["reconstruction"] + found["categorical_kl"] + 8 * found["gaussian_kl"]
    assert found["total"] == pytest.approx(total, rel=1e-12)


def test_a_run_in_float32_is_evaluated_in_float32(small, digits):
    recipe = get_recipe("beta")
    settings = small(recipe, dtype="float32")
    trace = train(Run(recipe, settings, digits), PyTorchEngine("cpu"))
    data = ImageData("some", digits.pixels[:30], None, "digits")
    narrow = evaluate(load_network(trace), "beta", settings, data)
    wide = evaluate(load_network(trace).double(), "beta", small(recipe), data)
    assert narrow["total"] != wide["total"]
    assert narrow["total"] == pytest.approx(wide["total"], rel=1e-5)
