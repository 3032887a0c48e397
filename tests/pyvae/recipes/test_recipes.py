from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import signal, special
from torch import nn

from pyvae.errors import UserError
from pyvae.model.draws import Draws, Gumbel, Keep, Normal
from pyvae.model.modules import BatchNorm, Dropout, GumbelSoftmax
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.run import Run
from pyvae.recipes import RECIPES, get_recipe, variants
from pyvae.training.feeds import batches

L = 5
LARGE = ("clustering", "clustering-semi-supervised")
every_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))


def wide_head(features, latent_dim):
    return nn.Linear(features, 2 * latent_dim)


def clustering_layers(latent_dim, clusters):
    return {
        "px_z.fc1": nn.Linear(latent_dim, 40),
        "px_z.fc2": nn.Linear(40, 1024),
        "px_z.bn1": nn.BatchNorm1d(1024),
        "px_z.fc3": nn.Linear(1024, 6272),
        "px_z.deconv1": nn.ConvTranspose2d(128, 64, 4, 2, 1),
        "px_z.bn2": nn.BatchNorm2d(64),
        "px_z.deconv2": nn.ConvTranspose2d(64, 1, 4, 2, 1),
        "pz_y.fc1": nn.Linear(clusters, 1024),
        "pz_y.bn1": nn.BatchNorm1d(1024),
        "pz_y.fc2": wide_head(1024, latent_dim),
        "qy_x.conv1": nn.Conv2d(1, 64, 4, 1, 2),
        "qy_x.bn1": nn.BatchNorm2d(64),
        "qy_x.conv2": nn.Conv2d(64, 128, 4, 1, 2),
        "qy_x.bn2": nn.BatchNorm2d(128),
        "qy_x.fc1": nn.Linear(6272, 256),
        "qy_x.fc2": nn.Linear(256, clusters),
        "qz_xy.conv1": nn.Conv2d(1, 64, 4, 2, 1),
        "qz_xy.bn1": nn.BatchNorm2d(64),
        "qz_xy.conv2": nn.Conv2d(64, 128, 4, 2, 1),
        "qz_xy.bn2": nn.BatchNorm2d(128),
        "qz_xy.fc1": nn.Linear(6272, 40),
        "qz_xy.fc2": nn.Linear(6272, clusters),
        "qz_xy.fc3": nn.Linear(40 + clusters, 1024),
        "qz_xy.bn3": nn.BatchNorm1d(1024),
        "qz_xy.fc4": wide_head(1024, latent_dim),
    }


def article_layers(latent_dim, recipe="conv"):
    """The article's layers with parameters, in the order in which its code creates them."""
    if recipe.startswith("clustering") and recipe != "clustering-toy":
        return clustering_layers(latent_dim, 10)
    return {
        "conv": lambda: {
            "encoder.conv1": nn.Conv2d(1, 32, 3),
            "encoder.conv2": nn.Conv2d(32, 64, 3),
            "encoder.fc1": nn.Linear(9216, 128),
            "encoder.fc2": nn.Linear(128, latent_dim),
            "encoder.fc3": nn.Linear(128, latent_dim),
            "decoder.fc1": nn.Linear(latent_dim, 128),
            "decoder.fc2": nn.Linear(128, 128),
            "decoder.conv1": nn.ConvTranspose2d(128, 256, 1),
            "decoder.conv2": nn.ConvTranspose2d(256, 784, 1),
        },
        "mlp": lambda: {
            "encoder.fc1": nn.Linear(784, 20),
            "encoder.bn1": nn.BatchNorm1d(20),
            "encoder.fc2_mean": nn.Linear(20, latent_dim),
            "encoder.fc2_var": nn.Linear(20, latent_dim),
            "decoder.fc3": nn.Linear(latent_dim, 20),
            "decoder.fc4": nn.Linear(20, 784),
        },
        "mlp-wide": lambda: {
            "encoder.fc1": nn.Linear(784, 200),
            "encoder.fc2": nn.Linear(200, 200),
            "encoder.fc_mean": nn.Linear(200, latent_dim),
            "encoder.fc_var": nn.Linear(200, latent_dim),
            "decoder.fc1": nn.Linear(latent_dim, 200),
            "decoder.fc2": nn.Linear(200, 200),
            "decoder.fc3": nn.Linear(200, 784),
        },
        "strided-conv": lambda: {
            "encoder.conv1": nn.Conv2d(1, 32, 3, 2, 1),
            "encoder.conv2": nn.Conv2d(32, 64, 3, 2, 1),
            "encoder.fc": wide_head(3136, latent_dim),
            "decoder.fc": nn.Linear(latent_dim, 3136),
            "decoder.deconv1": nn.ConvTranspose2d(64, 64, 3, 2),
            "decoder.deconv2": nn.ConvTranspose2d(64, 32, 3, 2),
            "decoder.conv": nn.Conv2d(32, 1, 4),
        },
        "beta": lambda: {
            "encoder.fc1": nn.Linear(784, 128),
            "encoder.mean_layer": nn.Linear(128, latent_dim),
            "encoder.log_variance_layer": nn.Linear(128, latent_dim),
            "decoder.fc1": nn.Linear(latent_dim, 128),
            "decoder.fc2": nn.Linear(128, 784),
        },
        "clustering-toy": lambda: {
            "px_z.fc1": nn.Linear(latent_dim, 128),
            "px_z.bn1": nn.BatchNorm1d(128),
            "px_z.fc2": nn.Linear(128, 2),
            "pz_y.fc1": nn.Linear(3, 1024),
            "pz_y.bn1": nn.BatchNorm1d(1024),
            "pz_y.fc2": wide_head(1024, latent_dim),
            "qy_x.fc1": nn.Linear(2, 128),
            "qy_x.bn1": nn.BatchNorm1d(128),
            "qy_x.fc2": nn.Linear(128, 3),
            "qz_xy.fc1": nn.Linear(2, 40),
            "qz_xy.fc2": nn.Linear(2, 3),
            "qz_xy.fc3": nn.Linear(43, 128),
            "qz_xy.bn3": nn.BatchNorm1d(128),
            "qz_xy.fc4": wide_head(128, latent_dim),
        },
    }[recipe]()


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


@every_recipe
@pytest.mark.parametrize("latent_dim", [1, 30])
def test_parameters_are_those_of_the_articles_layers(recipe, small, latent_dim):
    network = recipe.network(latent_dim, **small(recipe).hyper)
    found = {name: value.shape for name, value in network.named_parameters()}
    wanted = {
        f"{layer}.{name}": value.shape
        for layer, module in article_layers(latent_dim, recipe.name).items()
        for name, value in module.named_parameters()
    }
    assert list(found.items()) == list(wanted.items())


@pytest.mark.parametrize(
    ("name", "tensors", "parameters"),
    [
        ("conv", 18, 1_461_324),
        # 784-20-10 and 10-20-784, two heads, 20 pairs of batch norm
        ("mlp", 12, (785 * 20 + 40 + 2 * 21 * 10) + (11 * 20 + 21 * 784)),
        (
            "mlp-wide", 14,
            (785 * 200 + 201 * 200 + 2 * 201 * 10) + (11 * 200 + 201 * 200 + 201 * 784),
        ),
        ("beta", 10, (785 * 128 + 2 * 129 * 2) + (3 * 128 + 129 * 784)),
        (
            "strided-conv", 14,
            (10 * 32 + (9 * 32 + 1) * 64 + 3137 * 4)
            + (3 * 3136 + (9 * 64 * 64 + 64) + (9 * 64 * 32 + 32) + (16 * 32 + 1)),
        ),
    ],
)  # fmt: skip
def test_the_published_networks_have_so_many_parameters(name, tensors, parameters):
    recipe = get_recipe(name)
    found = list(recipe.network(recipe.latent_dim).parameters())
    assert (len(found), sum(value.numel() for value in found)) == (tensors, parameters)


SIZES = {  # pixels a side
    "strided-conv": {
        "encoder.conv1": 14, "encoder.conv2": 7, "decoder.unflatten": 7, "decoder.deconv1": 15,
        "decoder.deconv2": 31, "decoder.conv": 28,
    },
    "clustering": {
        "qy_x.conv1": 29, "qy_x.pool1": 14, "qy_x.conv2": 15, "qy_x.pool2": 7,
        "qz_xy.conv1": 14, "qz_xy.conv2": 7,
        "px_z.unflatten": 7, "px_z.deconv1": 14, "px_z.deconv2": 28,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_images_have_the_articles_sizes_on_their_way(name):
    network = get_recipe(name).network(L)
    found = {}
    for layer in SIZES[name]:
        network.get_submodule(layer).register_forward_hook(
            lambda _, args, result, layer=layer: found.update({layer: result.shape[2:]})
        )
    network(torch.rand(2, 784))
    assert found == {layer: (side, side) for layer, side in SIZES[name].items()}


def test_the_published_settings(conv):
    assert (conv.epochs, conv.batch_size, conv.latent_dim, conv.learning_rate) == (
        50,
        250,
        30,
        1e-3,
    )
    assert conv.objectives == ("vae", "emae")
    assert conv.further == ("em",)


def test_variants_are_asked_for_by_their_recipes_name():
    assert variants("mlp") == ["wide"]
    assert variants("clustering") == ["semi-supervised", "toy"]
    assert variants("conv") == []
    assert get_recipe("mlp", "wide") is RECIPES["mlp-wide"]
    assert get_recipe("clustering", "semi-supervised") is RECIPES["clustering-semi-supervised"]
    with pytest.raises(UserError, match=r"unknown variant of recipe mlp 'wild'.*'wide'"):
        get_recipe("mlp", "wild")
    with pytest.raises(UserError, match=r"recipe conv has no variants. Leave out --variant"):
        get_recipe("conv", "wide")


@pytest.mark.parametrize("injected", [True, False])
def test_the_network_is_the_articles_by_scipy(conv, network, x, injected):
    network.train(injected)
    draws = drawn(conv, 0, 2) if injected else None
    with torch.no_grad():
        zero = {"noise": torch.zeros(2, L, dtype=torch.float64)}
        found = network(x, draws or zero)
    for ours, theirs in zip(found, numpy_forward(network, x, draws), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-13)


def flat(output):
    """All tensors that a network returned, in one list."""
    parts = ([part] if torch.is_tensor(part) else flat(part) for part in output if part is not None)
    return [tensor for part in parts for tensor in part]


@pytest.fixture
def step_of(small, data_of):
    """What a network is given in a step: settings, network (float64), images, and draws."""

    def make(recipe, step=1, **changes):
        settings = small(recipe, batch_size=4, **changes)
        network = recipe.network(settings.latent_dim, **settings.hyper).double()
        network.load_state_dict(recipe.initial_parameters(1, settings.latent_dim, **settings.hyper))
        given = batches(Run(recipe, settings, data_of(recipe)))
        _, x, draws = next(one for one in given if one[0] == step)
        return settings, network, x, {name: torch.from_numpy(v) for name, v in draws.items()}

    return make


@every_recipe
def test_draws_fit_what_the_network_drops_and_adds(recipe, step_of):
    settings, network, x, _ = step_of(recipe)
    spec = recipe.draws(settings.latent_dim, **settings.hyper)
    seen = {}
    for name, module in network.named_modules():
        key = name.rpartition(".")[2]
        if isinstance(module, Dropout):
            seen[key] = module.p
        if isinstance(module, Dropout | GumbelSoftmax):
            module.register_forward_pre_hook(
                lambda _, args, key=key: seen.update({f"{key} shape": tuple(args[0].shape)})
            )
    mu = network(x).mu
    # a second use, of images with labels, takes what the first does
    for name, kind in spec.items():
        if name.startswith("labelled_"):
            first = spec[name.removeprefix("labelled_")]
            assert kind == type(kind)(**vars(first) | {"rows": settings.hyper["labels"]})
    own = {name: kind for name, kind in spec.items() if not name.startswith("labelled_")}
    masks = {name: kind for name, kind in own.items() if isinstance(kind, Keep)}
    noises = [kind for kind in own.values() if isinstance(kind, Normal)]
    gumbels = [kind for kind in own.values() if isinstance(kind, Gumbel)]
    assert [kind.shape for kind in noises] == [tuple(mu.shape[1:])]
    expected = {name: kind.p for name, kind in masks.items()}
    expected |= {f"{name} shape": (4, *kind.shape) for name, kind in masks.items()}
    if gumbels:
        expected["gumbel_softmax shape"] = (4, *gumbels[0].shape)
    assert seen == expected


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in RECIPES],
)
def test_every_draw_matters_and_is_used_as_given(name, step_of):
    recipe = get_recipe(name)
    _, network, x, first = step_of(recipe)
    *_, second = step_of(recipe, step=2)
    second |= {
        name: value.flip(0) for name, value in second.items() if name in ("labelled", "labels")
    }

    def outputs(draws):
        return flat(network(x, draws))

    assert all(map(torch.equal, outputs(first), outputs(first)))
    for name in first:
        other = outputs(first | {name: second[name]})
        assert not all(map(torch.equal, other, outputs(first))), name


@every_recipe
def test_given_draws_leave_pytorchs_generator_alone(recipe, step_of):
    _, network, x, draws = step_of(recipe)
    before = torch.random.get_rng_state()
    network(x, draws)
    network.posterior(x, {name: draw for name, draw in draws.items() if name != "noise"})
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_decoder_sees_mu_plus_sigma_epsilon(conv, network, x):
    seen = []
    network.decoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    draws = drawn(conv, 0, 2)
    _, mu, log_var = network(x, draws)
    sigma = np.sqrt(np.exp(log_var.detach().numpy()))
    expected = mu.detach().numpy() + sigma * draws["noise"].numpy()
    np.testing.assert_allclose(seen[0].detach().numpy(), expected, atol=1e-14)


@every_recipe
def test_outputs_have_the_promised_shapes_and_ranges(recipe, step_of):
    settings, network, x, draws = step_of(recipe)
    output = network(x, draws)
    size = settings.latent_dim
    assert output.pixels.shape == (4, recipe.features)
    assert output.mu.shape == output.log_var.shape == (4, size)
    if recipe.features == 784:
        assert bool(((output.pixels >= 0) & (output.pixels <= 1)).all())
    if recipe.name.startswith("clustering"):
        classes = settings.hyper["clusters"]
        assert output.prior_mu.shape == output.prior_log_var.shape == (4, size)
        distributions = [output.pi] + ([output.labelled.pi] if recipe.given else [])
        assert [len(pi) for pi in distributions] == [4, 12][: len(distributions)]
        for pi in distributions:
            assert pi.shape[1] == classes
            torch.testing.assert_close(pi.sum(1), torch.ones_like(pi[:, 0]))
    assert network.decode(torch.zeros(2, size, dtype=torch.float64)).shape == (2, recipe.features)
    mu, log_var = network.posterior(x, draws)
    assert torch.equal(mu, output.mu)
    assert torch.equal(log_var, output.log_var)


@every_recipe
@pytest.mark.parametrize("training", [True, False])
def test_without_draws_chance_is_pytorchs_own(recipe, step_of, training):
    _, network, x, _ = step_of(recipe)
    network.train(training)
    outputs = []
    for seed in (1, 1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            outputs.append(network(x))
    assert torch.equal(outputs[0].pixels, outputs[1].pixels)
    # z is drawn in both modes, but by the clustering article in training alone
    certain = recipe.name.startswith("clustering") and not training
    assert torch.equal(outputs[0].pixels, outputs[2].pixels) is certain
    before_z = recipe.name in ("conv", *(name for name in RECIPES if name.startswith("clustering")))
    assert torch.equal(outputs[0].mu, outputs[2].mu) is not (training and before_z)


def without_effect(recipe):
    """Biases that batch norm takes away again: it subtracts the mean of whatever it is given."""
    by_name = {stage.name: stage for stage in recipe.stages}
    shifts, found = [s.inputs[0] for s in recipe.stages if s.layer == "batch_norm"], set()
    while shifts:
        stage = by_name[shifts.pop()]
        if stage.layer in ("linear", "conv2d", "conv_transpose2d"):
            found.add(f"{stage.path}.bias")
        if stage.layer in ("linear", "concat"):
            shifts += stage.inputs
    return found


@every_recipe
def test_every_parameter_gets_a_gradient_but_biases_before_batch_norm(recipe, step_of):
    settings, network, x, draws = step_of(recipe)
    losses = OBJECTIVES[recipe.objectives[0]](x, network(x, draws), settings.hyper)
    losses["total"].backward()
    sizes = {name: value.grad.abs().max().item() for name, value in network.named_parameters()}
    none = without_effect(recipe)
    for name, size in sizes.items():
        if name in none:
            assert size < 1e-9 * sizes[name.replace("bias", "weight")], name
        else:
            assert size > 0, name
    assert bool(none) == any(stage.layer == "batch_norm" for stage in recipe.stages[2:]) & (
        recipe.name != "mlp"  # its ReLU stands in between
    )


@pytest.mark.parametrize("name", ["mlp", "mlp-wide", "beta", "clustering-toy"])
def test_gradients_of_the_total_are_those_of_finite_differences(name, step_of):
    """Along random directions through all parameters; with dropout, Gumbel-softmax and batch norm
    as they are in training."""
    recipe = get_recipe(name)
    settings, network, x, draws = step_of(recipe)
    objective = OBJECTIVES[recipe.objectives[0]]
    parameters = list(network.parameters())

    def total():
        return objective(x, network(x, draws), settings.hyper)["total"]

    gradients = torch.autograd.grad(total(), parameters)
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        direction = [
            torch.randn(p.shape, generator=generator, dtype=p.dtype) * p.detach().abs().mean()
            for p in parameters
        ]
        slope = sum((g * d).sum() for g, d in zip(gradients, direction, strict=True)).item()
        step, ends = 1e-6, []
        for sign in (1, -1):
            with torch.no_grad():
                for parameter, d in zip(parameters, direction, strict=True):
                    parameter += sign * step * d
                ends.append(total().item())
                for parameter, d in zip(parameters, direction, strict=True):
                    parameter -= sign * step * d
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(slope, rel=2e-5, abs=1e-6)


def drawn_parameters(recipe, latent_dim, hyper):
    """Those that are not the ones and zeros of batch norm."""
    network = recipe.network(latent_dim, **hyper)
    normal = [name for name, m in network.named_modules() if isinstance(m, BatchNorm)]
    return {n for n in network.state_dict() if n.rpartition(".")[0] not in normal}


@every_recipe
def test_initial_parameters_follow_from_the_seed_alone(recipe, small):
    hyper = small(recipe).hyper
    one, again, other = (recipe.initial_parameters(seed, L, **hyper) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], again[name]) for name in one)
    drawn = drawn_parameters(recipe, L, hyper)
    assert {name for name in one if not torch.equal(one[name], other[name])} == drawn
    assert all(value.dtype == torch.float32 for value in one.values())


@every_recipe
def test_initial_parameters_leave_the_global_generator_alone(recipe, small):
    before = torch.random.get_rng_state()
    recipe.initial_parameters(99, L, **small(recipe).hyper)
    assert torch.equal(torch.random.get_rng_state(), before)


@every_recipe
def test_initial_parameters_are_what_pytorch_draws_for_the_articles_layers(recipe, small):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(17)
        layers = article_layers(L, recipe.name)
    found = recipe.initial_parameters(17, L, **small(recipe).hyper)
    wanted = {
        f"{layer}.{name}": value
        for layer, module in layers.items()
        for name, value in module.state_dict().items()
        if name != "num_batches_tracked"
    }
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name


@every_recipe
def test_a_recipe_says_where_it_is_from(recipe):
    assert get_recipe(recipe.name) is recipe
    assert recipe.title
    assert recipe.source


def test_an_unknown_recipe_is_told_the_nearest_name():
    with pytest.raises(UserError, match=r"unknown recipe 'covn'.*Did you mean 'conv'\?"):
        get_recipe("covn")
