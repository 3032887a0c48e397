"""The same of every recipe, and the data that a recipe cannot take."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from alike.arrays import same
from stand_ins.narrow import NARROW
from stand_ins.recording_engines import OwnEngine

from pyvae.data.images import ImageData
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.model.draws import Draws
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.training.feeds import batches
from pyvae.training.inputs import check_data
from pyvae.training.loop import train


def test_a_run_of_any_recipe_has_all_terms_of_its_objective(any_trained):
    recipe, trace = any_trained
    objective = OBJECTIVES[recipe.objectives[0]]
    assert trace.terms == objective.terms
    assert trace.losses.shape == (3, len(objective.terms))
    assert np.isfinite(trace.losses).all()
    hyper = trace.settings.hyper
    total, reconstruction, regulariser = trace.losses[:, :3].T
    weight = hyper[objective.weight] if objective.weight else 1
    np.testing.assert_allclose(total, reconstruction + weight * regulariser, rtol=1e-14)
    assert trace.latent_means["evaluation"].shape == (6, 3)
    assert trace.samples.shape == (16, recipe.features)
    assert trace.parameters.keys() == recipe.initial_parameters(1, 3, **hyper).keys()


def test_the_same_seed_gives_the_same_bits_of_any_recipe(any_trained, data_of):
    recipe, once = any_trained
    torch.rand(3)  # the global generator has no say
    before = torch.get_rng_state()
    again = train(Run(recipe, once.settings, data_of(recipe)), PyTorchEngine("cpu"))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(once.losses, again.losses)
    assert same(once.parameters, again.parameters)
    assert same(once.latent_means, again.latent_means)
    assert np.array_equal(once.samples, again.samples)


@pytest.mark.parametrize("name", ["mlp", "mlp-wide", "beta", "strided-conv", "clustering-toy"])
def test_another_seed_gives_another_run_of_any_recipe(name, small, data_of):
    recipe = NARROW[name]
    runs = [
        train(Run(recipe, small(recipe, seed=seed, steps=1), data_of(recipe)), PyTorchEngine("cpu"))
        for seed in (1, 2)
    ]
    assert runs[0].losses[0, 0] != runs[1].losses[0, 0]
    assert not np.array_equal(runs[0].samples, runs[1].samples)


@pytest.mark.parametrize(
    "name",
    [
        *("mlp", "mlp-wide", "beta", "strided-conv", "clustering-toy"),
        pytest.param("clustering-semi-supervised", marks=pytest.mark.slow),
    ],
)
def test_a_run_of_any_recipe_with_torchs_generator_is_a_plain_loop(name, small, data_of):
    """As one writes it without pyvae, to the bit with PyTorch's kernels; it draws for itself."""
    recipe = NARROW[name]
    wanted = small(recipe, rng="torch", dtype="float32", batch_size=20, epochs=2, steps=None)
    data = data_of(recipe)
    labels = None if data.labels is None else data.labels[:50]
    some = ImageData("some", data.pixels[:50], labels, "here")
    trace = train(Run(recipe, wanted, some), PyTorchEngine("cpu", kernels="torch"))
    given = {} if recipe.given is None else recipe.given(some, wanted)
    given = {name: torch.from_numpy(value) for name, value in given.items()}
    losses = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(wanted.seed)
        network = recipe.network(wanted.latent_dim, **wanted.hyper)
        adam = torch.optim.Adam(network.parameters(), lr=wanted.learning_rate)
        for _ in range(2):
            order = torch.randperm(50)
            for batch in range(2):
                x = some.batch(order[20 * batch : 20 * batch + 20].numpy(), torch.float32)
                network.train()
                adam.zero_grad()
                loss = OBJECTIVES[wanted.objective](x, network(x, given), wanted.hyper)
                loss["total"].backward()
                adam.step()
                losses.append([loss[term].item() for term in trace.terms])
    assert trace.losses.tolist() == losses
    for key, value in network.state_dict().items():
        assert np.array_equal(trace.parameters[key], value), key


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "mlp",
            r"recipe mlp takes images of 28x28 pixels, and toy holds points in the plane\. Choose ",
        ),
        (
            "clustering-toy",
            r"takes points in the plane \(--data toy\), and digits holds images of 28x28 pixels",
        ),
    ],
)
def test_data_that_a_recipe_cannot_take_are_the_users_error(name, said, small, data_of, digits):
    recipe = get_recipe(name)
    data = digits if recipe.features == 2 else data_of(get_recipe("clustering-toy"))
    engine = OwnEngine()
    with pytest.raises(UserError, match=said):
        train(Run(recipe, small(recipe), data), engine)
    assert engine.log == []


def test_a_recipe_of_other_numbers_says_how_many(digits):
    recipe = replace(get_recipe("mlp"), features=1024, shape=())
    with pytest.raises(
        UserError, match="takes rows of 1024 numbers, and digits holds images of 28x28 pixels"
    ):
        check_data(recipe, digits)


def test_what_is_given_in_every_step_is_given_with_the_draws(small, data_of):
    recipe = get_recipe("clustering-semi-supervised")
    wanted = small(recipe)
    always = recipe.given(data_of(recipe), wanted)
    draws, spec = Draws(wanted.seed, wanted.dtype), recipe.draws(3, **wanted.hyper)
    for step, x, given in batches(Run(recipe, wanted, data_of(recipe))):
        assert same(given, draws.step(step - 1, 6, spec) | always)
        assert x.shape == (6, 784)
        assert given["labelled_noise"].shape == (12, 3)
