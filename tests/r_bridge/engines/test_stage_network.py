"""Every recipe in base R, run from its stages, against PyTorch on the same draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from stand_ins.narrow import NARROW
from torch import nn

from pyvae.data.images import load_digits, load_toy
from pyvae.engines.engine import DivergedError
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.model.draws import Draws
from pyvae.model.run import Run
from pyvae.model.stages import is_buffer
from pyvae.recipes import RECIPES
from pyvae.training.loop import train
from r_bridge.engines.base_r import BaseREngine
from r_bridge.engines.stage_network import network_arguments, stage_arguments

pytestmark = pytest.mark.r

SMALL = {
    "mlp": {},
    "mlp-wide": {},
    "strided-conv": {"latent_dim": 3},
    "beta": {"hyper": {"beta": 0.3}},
    "clustering-toy": {"hyper": {"temperature": 0.8}},
    "clustering": {},
    "clustering-semi-supervised": {"hyper": {"labels": 11}},
}
CLUSTERING = [
    pytest.param(name, marks=pytest.mark.slow) if name.startswith("clustering") else name
    for name in SMALL
    if name != "clustering-toy"
]
NAMES = [*CLUSTERING, "clustering-toy"]


@pytest.fixture(scope="module")
def r():
    with BaseREngine(threads=1) as engine:
        yield engine


def a_run(name, steps=2, **changes):
    recipe = NARROW[name]
    given = {"batch_size": 6, "steps": steps, "dtype": "float64", **SMALL[name], **changes}
    data = load_toy(60) if recipe.features == 2 else load_digits()
    return recipe, recipe.settings(**given), data


@pytest.mark.parametrize("name", NAMES)
def test_losses_are_pytorchs(r, name):
    run = a_run(name, 3)
    python, mine = (train(Run(*run), engine) for engine in (PyTorchEngine("cpu"), r))
    # clustering amplifies rounding from step to step, most of all with so few images
    rtol = 1e-8 if name == "clustering" else 1e-11
    np.testing.assert_allclose(mine.losses[:1], python.losses[:1], rtol=1e-12)
    np.testing.assert_allclose(mine.losses, python.losses, rtol=rtol)
    np.testing.assert_allclose(
        mine.latent_means["training"], python.latent_means["training"], atol=100 * rtol
    )
    assert list(mine.parameters) == list(python.parameters)
    assert mine.samples.shape == python.samples.shape


def probe_of(engine, name):
    recipe, settings, data = a_run(name, 1)
    probe: dict = {}
    train(Run(recipe, settings, data), engine, probe=lambda step: probe)
    return probe, recipe, settings


@pytest.mark.parametrize("name", NAMES)
def test_a_probe_holds_what_pytorchs_holds(r, name):
    mine, recipe, settings = probe_of(r, name)
    python, *_ = probe_of(PyTorchEngine("cpu"), name)
    keys = [quantity.key for quantity in recipe.quantities(settings)]
    assert set(keys) <= set(mine)
    assert set(keys) <= set(python)
    for key in keys:
        assert mine[key].shape == python[key].shape, key
        if not key.startswith(("gradient/", "moment", "parameter/")):
            scale = np.abs(python[key]).max()
            np.testing.assert_allclose(mine[key], python[key], atol=1e-11 * scale, err_msg=key)


@pytest.mark.parametrize("name", ["mlp", "clustering-toy"])
def test_a_state_goes_from_one_engine_to_the_other(r, name):
    recipe, settings, data = a_run(name, 2)
    python = PyTorchEngine("cpu")
    train(Run(recipe, settings, data), python)
    train(Run(recipe, recipe.settings(**settings.as_dict() | {"seed": 5}), data), r)
    r.restore(python.state())
    for key, value in python.state().items():
        assert np.array_equal(r.state()[key], value), key
    assert any(is_buffer(key) for key in r.state())
    x = data.batch(np.arange(6), torch.float64)
    spec = recipe.draws(settings.latent_dim, **settings.hyper)
    draws = Draws(9).step(0, 6, spec)
    losses = [engine.step(x, draws) for engine in (python, r)]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-12, atol=0)
    for training in (True, False):
        means = [engine.latent_means(x, draws, training) for engine in (python, r)]
        np.testing.assert_allclose(means[0], means[1], atol=1e-7)


def test_a_look_at_the_means_does_not_move_the_running_statistics(r):
    recipe, settings, data = a_run("mlp", 1)
    train(Run(recipe, settings, data), r)
    before = r.parameters()
    x = data.batch(np.arange(6), torch.float64)
    draws = Draws(1).step(0, 6, recipe.draws(settings.latent_dim))
    r.latent_means(x, draws, training=True)
    for name, value in r.parameters().items():
        assert np.array_equal(value, before[name]), name


def test_torch_nns_batch_norm_counts_its_steps(r):
    """In a recipe of the user's own: its count is a buffer, of shape ()."""
    mlp = RECIPES["mlp"]

    def network(latent_dim):
        made = mlp.network(latent_dim)
        made.encoder.bn1 = nn.BatchNorm1d(20)
        return made

    recipe = replace(mlp, name="counted", network=network)
    settings = recipe.settings(batch_size=6, steps=3, dtype="float64")
    python = PyTorchEngine("cpu")
    a, b = (train(Run(recipe, settings, load_digits()), engine) for engine in (python, r))
    assert list(a.parameters) == list(b.parameters)
    count = "encoder.bn1.num_batches_tracked"
    assert (b.parameters[count].shape, b.parameters[count]) == ((), 3)
    np.testing.assert_allclose(b.losses, a.losses, rtol=1e-11)
    x = load_digits().batch(np.arange(6), torch.float64)
    draws = Draws(1).step(0, 6, recipe.draws(settings.latent_dim))
    probe: dict = {}
    r.step(x, draws, probe)
    assert probe[f"start/{count}"] == 3
    assert (probe[f"buffer/{count}"].shape, probe[f"buffer/{count}"]) == ((), 4)
    r.restore(python.state())
    assert r.state()[f"buffer/{count}"] == 3
    r.latent_means(x, draws, training=True)
    assert r.state()[f"buffer/{count}"] == 3


def test_decoding_is_the_networks_in_evaluation_mode(r):
    recipe, settings, data = a_run("mlp", 2)
    python = PyTorchEngine("cpu")
    for engine in (python, r):
        train(Run(recipe, settings, data), engine)
    r.restore(python.state())
    z = np.random.default_rng(0).standard_normal((4, settings.latent_dim))
    np.testing.assert_allclose(r.decode(z), python.decode(z), rtol=1e-12)


def test_a_run_that_diverges_says_so(r):
    recipe, settings, data = a_run("beta", 60, learning_rate=1e30)
    with pytest.raises(DivergedError):
        train(Run(recipe, settings, data), r)


@pytest.mark.parametrize("name", ["mlp", "clustering-toy", "clustering-semi-supervised"])
def test_rs_own_generator_does_not_know_batch_norm_and_gumbel_noise(r, name):
    run = a_run(name, 1, rng="r")
    for engine in (r, PyTorchEngine("cpu")):
        with pytest.raises(UserError, match=rf"R's generator cannot draw .*recipe {name}\. Use"):
            train(Run(*run), engine)


@pytest.mark.parametrize("name", ["beta", "strided-conv", "mlp-wide"])
def test_rs_own_generator_is_repeated_in_python(r, name):
    run = a_run(name, 2, rng="r")
    python, mine = (train(Run(*run), engine) for engine in (PyTorchEngine("cpu"), r))
    np.testing.assert_allclose(mine.losses, python.losses, rtol=1e-11)
    np.testing.assert_allclose(mine.samples, python.samples, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "chunk"), [("conv", 28), ("beta", 250), ("mlp", 2**31), ("clustering", 2**31)]
)
def test_only_large_batches_of_images_that_do_not_depend_on_each_other_are_cut(name, chunk):
    recipe = RECIPES[name]
    assert network_arguments(recipe, recipe.settings(batch_size=250))["chunk"] == chunk


def test_conv_runs_again_after_another_recipe(r):
    train(Run(*a_run("beta", 1)), r)
    conv = RECIPES["conv"]
    settings = conv.settings(batch_size=4, steps=1, latent_dim=3, dtype="float64")
    trace = train(Run(conv, settings, load_digits()), r)
    assert np.isfinite(trace.losses).all()


def _frozen(network):
    network.decoder.fc1.bias.requires_grad_(False)


def _shared(network):
    network.decoder.fc1.bias = network.encoder.fc1.bias


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_frozen, r"'decoder\.fc1\.bias' is frozen, and R trains all parameters"),
        (_shared, r"'encoder\.fc1\.bias' and 'decoder\.fc1\.bias' are one parameter"),
    ],
)
@pytest.mark.parametrize("engine", ["base-r", "r-torch"])
def test_parameters_that_r_would_train_otherwise_are_refused(change, words, engine):
    beta = RECIPES["beta"]

    def network(latent_dim, **hyper):
        made = beta.network(latent_dim, **hyper)
        change(made)
        return made

    recipe = replace(beta, network=network)
    with pytest.raises(UserError, match=f"engine {engine} cannot run recipe 'beta': {words}"):
        stage_arguments(engine, recipe, recipe.settings())
