from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import signal, special
from torch import nn

from pyvae.draws import Draws, Keep, Normal
from pyvae.errors import UserError
from pyvae.recipes import RECIPES, get_recipe
from pyvae.recipes.conv import Dropout

L = 5
every_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))


def article_layers(latent_dim):
    """The article's layers with parameters, in the order in which its code creates them."""
    return {
        "encoder.conv1": nn.Conv2d(1, 32, 3),
        "encoder.conv2": nn.Conv2d(32, 64, 3),
        "encoder.fc1": nn.Linear(9216, 128),
        "encoder.fc2": nn.Linear(128, latent_dim),
        "encoder.fc3": nn.Linear(128, latent_dim),
        "decoder.fc1": nn.Linear(latent_dim, 128),
        "decoder.fc2": nn.Linear(128, 128),
        "decoder.conv1": nn.ConvTranspose2d(128, 256, 1),
        "decoder.conv2": nn.ConvTranspose2d(256, 784, 1),
    }


def drawn(recipe, step, batch_size, latent_dim=L):
    draws = Draws(4).step(step, batch_size, recipe.draws(latent_dim))
    return {name: torch.from_numpy(draw) for name, draw in draws.items()}


@pytest.fixture
def network(conv):
    """The article's network in double precision, seeded."""
    network = conv.network(L).double()
    network.load_state_dict(conv.initial_parameters(8, L))
    return network


@pytest.fixture
def x():
    return torch.from_numpy(np.random.default_rng(1).uniform(0, 1, (2, 784)))


def numpy_forward(network, x, draws=None):
    """The article's network by scipy and NumPy: pixels, mu, log_var (noise zero without draws)."""
    p = {name: value.numpy() for name, value in network.state_dict().items()}

    def dense(name, h):
        return h @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def conv(name, h):
        w, b = p[f"{name}.weight"], p[f"{name}.bias"]
        return np.stack(
            [
                [signal.correlate(image, kernel, "valid")[0] for kernel in w] + b[:, None, None]
                for image in h
            ]
        )

    def dropout(h, name, p):
        return h if draws is None else np.where(draws[name].numpy(), h / (1 - p), 0)

    def relu(h):
        return np.maximum(h, 0)

    h = relu(conv("encoder.conv1", x.numpy().reshape(-1, 1, 28, 28)))
    h = relu(conv("encoder.conv2", h))
    h = h.reshape(len(x), 64, 12, 2, 12, 2).max(axis=(3, 5))
    h = dropout(h, "dropout1", 0.25).reshape(len(x), 9216)
    h = dropout(relu(dense("encoder.fc1", h)), "dropout2", 0.5)
    mu, log_var = dense("encoder.fc2", h), dense("encoder.fc3", h)
    noise = 0 if draws is None else draws["noise"].numpy()
    h = relu(dense("decoder.fc1", mu + np.exp(log_var / 2) * noise))
    h = relu(dense("decoder.fc2", h))
    for name in ("decoder.conv1", "decoder.conv2"):  # 1x1 on 1x1: (in, out) matrices
        h = h @ p[f"{name}.weight"][:, :, 0, 0] + p[f"{name}.bias"]
        h = relu(h) if name == "decoder.conv1" else h
    return special.expit(h), mu, log_var


@pytest.mark.parametrize("latent_dim", [1, 30])
def test_parameters_are_those_of_the_articles_layers(conv, latent_dim):
    found = {name: value.shape for name, value in conv.network(latent_dim).named_parameters()}
    wanted = {
        f"{layer}.{name}": value.shape
        for layer, module in article_layers(latent_dim).items()
        for name, value in module.named_parameters()
    }
    assert list(found.items()) == list(wanted.items())


def test_the_published_network_has_18_tensors_and_1461324_parameters(conv):
    parameters = list(conv.network(30).parameters())
    assert (len(parameters), sum(value.numel() for value in parameters)) == (18, 1_461_324)


def test_the_published_settings(conv):
    assert (conv.epochs, conv.batch_size, conv.latent_dim, conv.learning_rate) == (
        50,
        250,
        30,
        1e-3,
    )
    assert conv.objectives == ("vae", "emae")


@pytest.mark.parametrize("injected", [True, False])
def test_the_network_is_the_articles_by_scipy(conv, network, x, injected):
    network.train(injected)
    draws = drawn(conv, 0, 2) if injected else None
    with torch.no_grad():
        zero = {"noise": torch.zeros(2, L, dtype=torch.float64)}
        found = network(x, draws or zero)
    for ours, theirs in zip(found, numpy_forward(network, x, draws), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-13)


@every_recipe
def test_draws_fit_what_the_network_drops_and_adds(recipe):
    network = recipe.network(L)
    spec = recipe.draws(L)
    seen = {}
    for name, module in network.named_modules():
        if isinstance(module, Dropout):
            key = name.rpartition(".")[2]
            seen[key] = module.p
            module.register_forward_pre_hook(
                lambda _, args, key=key: seen.update({f"{key} shape": tuple(args[0].shape)})
            )
    mu = network(torch.rand(3, 784)).mu
    masks = {name: kind for name, kind in spec.items() if isinstance(kind, Keep)}
    noises = [kind for kind in spec.values() if isinstance(kind, Normal)]
    assert [kind.shape for kind in noises] == [tuple(mu.shape[1:])]
    expected = {name: kind.p for name, kind in masks.items()}
    expected |= {f"{name} shape": (3, *kind.shape) for name, kind in masks.items()}
    assert seen == expected


@every_recipe
def test_every_draw_matters_and_is_used_as_given(recipe):
    network = recipe.network(L).double()
    x = torch.rand(3, 784, dtype=torch.float64)
    first, second = (drawn(recipe, step, 3) for step in (0, 1))
    assert torch.equal(network(x, first).pixels, network(x, first).pixels)
    for name in first:
        other = first | {name: second[name]}
        assert not torch.equal(network(x, other).pixels, network(x, first).pixels)


def test_the_decoder_sees_mu_plus_sigma_epsilon(conv, network, x):
    seen = []
    network.decoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    draws = drawn(conv, 0, 2)
    _, mu, log_var = network(x, draws)
    sigma = np.sqrt(np.exp(log_var.detach().numpy()))
    expected = mu.detach().numpy() + sigma * draws["noise"].numpy()
    np.testing.assert_allclose(seen[0].detach().numpy(), expected, atol=1e-14)


@every_recipe
def test_outputs_have_the_promised_shapes_and_ranges(recipe):
    pixels, mu, log_var = recipe.network(L)(torch.rand(3, 784))
    assert (pixels.shape, mu.shape, log_var.shape) == ((3, 784), (3, L), (3, L))
    assert bool(((pixels >= 0) & (pixels <= 1)).all())


@every_recipe
@pytest.mark.parametrize("training", [True, False])
def test_without_draws_chance_is_pytorchs_own(recipe, training):
    network = recipe.network(L).train(training)
    x = torch.rand(3, 784)
    outputs = []
    for seed in (1, 1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            outputs.append(network(x))
    assert torch.equal(outputs[0].pixels, outputs[1].pixels)
    assert not torch.equal(outputs[0].pixels, outputs[2].pixels)  # the noise is on in both modes
    assert torch.equal(outputs[0].mu, outputs[2].mu) is not training


def test_native_dropout_zeroes_or_scales():
    x = torch.ones(1000)
    dropped = Dropout(0.25)(x)
    assert set(dropped.tolist()) == {0.0, (1 / 0.75 * x[0]).item()}
    assert torch.equal(Dropout(0.25).eval()(x), x)


def test_given_masks_are_used_in_evaluation_mode_too():
    keep = torch.tensor([True, False, True])
    dropped = Dropout(0.5).eval()(torch.tensor([1.0, 2.0, 3.0]), keep)
    assert dropped.tolist() == [2.0, 0.0, 6.0]


@every_recipe
def test_every_parameter_gets_a_gradient(recipe):
    network = recipe.network(L)
    sum(output.sum() for output in network(torch.rand(4, 784))).backward()
    assert all(bool(value.grad.abs().sum() > 0) for value in network.parameters())


@every_recipe
def test_initial_parameters_follow_from_the_seed_alone(recipe):
    one, again, other = (recipe.initial_parameters(seed, L) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one)
    assert all(value.dtype == torch.float32 for value in one.values())


@every_recipe
def test_initial_parameters_leave_the_global_generator_alone(recipe):
    before = torch.random.get_rng_state()
    recipe.initial_parameters(99, L)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_initial_parameters_are_what_pytorch_draws_for_the_articles_layers(conv):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(17)
        layers = article_layers(L)
    found = conv.initial_parameters(17, L)
    for layer, module in layers.items():
        for name, value in module.named_parameters():
            assert torch.equal(found[f"{layer}.{name}"], value), f"{layer}.{name}"


@every_recipe
def test_a_recipe_says_where_it_is_from(recipe):
    assert get_recipe(recipe.name) is recipe
    assert recipe.title
    assert recipe.source


def test_an_unknown_recipe_is_told_the_nearest_name():
    with pytest.raises(UserError, match=r"unknown recipe 'covn'.*did you mean 'conv'"):
        get_recipe("covn")
