"""The same of every recipe: probes, own draws, batch norm, divergence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from alike.arrays import assert_close, copied, part, same
from stand_ins.narrow import NARROW

from pyvae.engines.generators import make_generator
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.run import Run
from pyvae.model.stages import is_buffer
from pyvae.recipes import RECIPES
from pyvae.training.feeds import batches

LARGE = pytest.param("clustering-semi-supervised", marks=pytest.mark.slow)
EVERY = [
    pytest.param(name, marks=pytest.mark.slow) if name in ("clustering", *LARGE.values) else name
    for name in RECIPES
]
every_normed = pytest.mark.parametrize("name", ["mlp", "clustering-toy", LARGE])  # batch norm


@pytest.fixture
def begin(small, data_of):
    """A started engine of any recipe, its settings, and what each of its steps is given."""

    def make(recipe, **changes):
        settings = small(recipe, **changes)
        engine = PyTorchEngine("cpu")
        initial = recipe.initial_parameters(settings.seed, settings.latent_dim, **settings.hyper)
        engine.start(recipe, settings, initial)
        return (
            engine,
            settings,
            [given[1:] for given in batches(Run(recipe, settings, data_of(recipe)))],
        )

    return make


@pytest.mark.parametrize("name", EVERY)
def test_a_probe_of_any_recipe_holds_what_its_quantities_promise(name, begin):
    recipe = NARROW[name]
    engine, settings, [(x, draws), *_] = begin(recipe)
    plain, *_ = begin(recipe)
    probe = {}
    losses = engine.step(x, draws, probe)
    assert torch.equal(losses, plain.step(x, draws))
    assert same(engine.state(), plain.state())
    assert probe.keys() == {quantity.key for quantity in recipe.quantities(settings)}
    assert {str(value.dtype) for value in probe.values()} == {"float64"}
    terms = OBJECTIVES[settings.objective].terms
    assert [probe[f"forward/{name}"] for name in terms] == losses.tolist()
    after = part(probe, "parameter") | part(probe, "buffer")
    assert same(after, engine.parameters())
    assert part(probe, "start").keys() == after.keys()


@pytest.mark.parametrize("name", ["mlp", "beta", "clustering-toy", LARGE])
def test_own_draws_of_any_recipe_are_in_the_probe(name, small, data_of):
    recipe = NARROW[name]
    settings = small(recipe, rng="torch")
    always = {} if recipe.given is None else recipe.given(data_of(recipe), settings)
    x = data_of(recipe).batch(np.arange(6), torch.float64)
    probed, plain = PyTorchEngine("cpu"), PyTorchEngine("cpu")
    probe, before = {}, torch.get_rng_state()
    for engine, asked in ((probed, {"probe": probe}), (plain, {})):
        engine.start(recipe, settings, None)
        engine.losses = engine.step(x, always or None, **asked)
        engine.means = engine.latent_means(x, always or None, training=True)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(probed.losses, plain.losses)
    assert np.array_equal(probed.means, plain.means)
    spec = recipe.draws(settings.latent_dim, **settings.hyper)
    promised = {quantity.key for quantity in recipe.quantities(settings)}
    assert probe.keys() == promised | {f"draw/{name}" for name in spec}
    # an engine that is told these draws does the same
    told = PyTorchEngine("cpu")
    generator = make_generator("torch", settings.seed)
    initial = generator.initial_parameters(recipe, settings.latent_dim, **settings.hyper)
    told.start(recipe, small(recipe), initial)
    assert torch.equal(told.step(x, part(probe, "draw") | always), plain.losses)


def by_the_stages(recipe, settings, state, x, draws):
    """What every stage returns, from its name, its options and its inputs alone, by elementary
    operations; and batch norm's running statistics after the step."""
    seen, running = {}, {name: value.clone() for name, value in state.items() if is_buffer(name)}
    given = {name: torch.from_numpy(draw) for name, draw in draws.items()}
    for stage in recipe.stages_for(settings):
        options = dict(stage.options)
        draw = given[stage.draw] if stage.draw else None
        if stage.layer == "input":
            seen[stage.name] = x.clone().requires_grad_() if draw is None else draw
            continue
        taken = [seen[name] for name in stage.inputs]
        if stage.is_term:  # the loss's own view of the images
            taken = [x if name == "input" else seen[name] for name in stage.inputs]
            seen[stage.name] = term(stage.layer, taken, options, len(x))
            continue
        weights = [state.get(f"{stage.path}.{name}") for name in ("weight", "bias")]
        if stage.layer == "batch_norm":
            update_running(running, stage.path, taken[0].detach(), options["momentum"])
        seen[stage.name] = layer(stage.layer, taken, options, weights, draw)
    return seen, running


def update_running(running, path, h, momentum):
    axes = [0, *range(2, h.ndim)]
    for name, value in (("mean", h.mean(axes)), ("var", h.var(axes, unbiased=True))):
        old = running[f"{path}.running_{name}"]
        running[f"{path}.running_{name}"] = (1 - momentum) * old + momentum * value


def images(h):
    """Features as square maps of one channel."""
    return h if h.ndim == 4 else h.reshape(len(h), 1, 28, 28)


def normalised(h, weight, bias, eps):
    axes = [0, *range(2, h.ndim)]
    shape = (1, -1, *[1] * (h.ndim - 2))
    mean, variance = h.mean(axes).reshape(shape), h.var(axes, unbiased=False).reshape(shape)
    return weight.reshape(shape) * (h - mean) / torch.sqrt(variance + eps) + bias.reshape(shape)


def layer(kind, taken, options, weights, draw):
    h = taken[0]
    weight, bias = weights
    strides = {"stride": options.get("stride", 1), "padding": options.get("padding", 0)}
    return {
        "conv2d": lambda: F.conv2d(images(h), weight, bias, **strides),
        "conv_transpose2d": lambda: F.conv_transpose2d(h, weight, bias, **strides),
        "linear": lambda: h @ weight.T + bias,
        "relu": lambda: h * (h > 0),
        "leaky_relu": lambda: torch.where(h > 0, h, options["slope"] * h),
        "max_pool2d": lambda: F.max_pool2d(h, 2),
        "flatten": lambda: h.reshape(len(h), -1),
        "unflatten": lambda: h.reshape(
            len(h), options["channels"], *[round((h.shape[1] / options["channels"]) ** 0.5)] * 2
        ),
        "dropout": lambda: torch.where(draw, h / (1 - options["p"]), 0),
        "batch_norm": lambda: normalised(h, weight, bias, options["eps"]),
        "softmax": lambda: torch.exp(h) / torch.exp(h).sum(1, keepdim=True),
        "gumbel_softmax": lambda: torch.softmax(
            (torch.log(h) + draw) / options["temperature"], dim=1
        ),
        "softplus": lambda: torch.log1p(torch.exp(h)),
        "log": lambda: torch.log(h),
        "multiply": lambda: h * taken[1],
        "concat": lambda: torch.cat(taken, 1),
        "first_half": lambda: h.chunk(2, 1)[0],
        "second_half": lambda: h.chunk(2, 1)[1],
        "reparameterise": lambda: h + torch.sqrt(torch.exp(taken[1])) * draw,
        "sigmoid": lambda: 1 / (1 + torch.exp(-h)),
    }[kind]()


def term(kind, taken, options, images):
    if kind == "sum":
        return sum(weight * value for weight, value in zip(options["weights"], taken, strict=True))
    scale = {"sum": 1, "image": images, "element": taken[0].numel()}[options["per"]]
    a, b, *others = [*taken, None]

    def gaussians():
        variance, prior = a_variance(), torch.exp(others[1])
        return (
            0.5
            * (torch.log(prior / variance) + (variance + (a - others[0]) ** 2) / prior - 1).sum()
        )

    def a_variance():
        return torch.exp(b)

    return {
        "bce": lambda: -(b * torch.log(a) + (1 - b) * torch.log(1 - a)).sum(),
        "mse": lambda: ((a - b) ** 2).sum(),
        "gaussian": lambda: -torch.distributions.Normal(a, options["variance"] ** 0.5)
        .log_prob(b).sum(),
        "kl_normal": lambda: 0.5 * (a**2 + a_variance() - b - 1).sum(),
        "kl_gaussians": gaussians,
        "kl_categorical": lambda: (a * torch.log(a * a.shape[1])).sum(),
        "cross_entropy": lambda: (torch.logsumexp(a, 1) - (a * b).sum(1)).sum(),
    }[kind]() / scale  # fmt: skip


@pytest.mark.parametrize("name", [name for name in EVERY if name != "conv"])
def test_a_probe_of_any_recipe_is_what_its_stages_say(name, begin):
    """Forward by elementary operations, backward by autograd on these."""
    recipe = NARROW[name]
    engine, settings, given = begin(recipe, learning_rate=3e-3)
    engine.step(*given[0])
    before = {k: torch.from_numpy(v) for k, v in engine.parameters().items()}
    leaves = {k: v.requires_grad_() for k, v in before.items() if not is_buffer(k)}
    probe = {}
    engine.step(*given[1], probe)

    seen, running = by_the_stages(recipe, settings, before, *given[1])
    forward = part(probe, "forward")
    assert forward.keys() == seen.keys()
    for stage, value in seen.items():
        found = forward[stage].reshape(value.shape)
        size = max(1.0, value.abs().max().item())
        np.testing.assert_allclose(found, value.detach(), rtol=0, atol=1e-10 * size, err_msg=stage)
    for statistic, value in running.items():
        assert_close(probe[f"buffer/{statistic}"], value, statistic)

    differentiated = {key.split("/", 1)[1] for key in probe if key.startswith("gradient/")}
    wanted = {k: v for k, v in (seen | leaves).items() if k in differentiated}
    assert wanted.keys() == differentiated
    gradients = torch.autograd.grad(seen["total"], list(wanted.values()))
    largest = max(gradient.abs().max().item() for gradient in gradients)
    for key, value in zip(wanted, gradients, strict=True):
        found = probe[f"gradient/{key}"].reshape(value.shape)
        size = max(np.abs(value.numpy()).max(), 1e-4 * largest)  # zero before batch norm
        np.testing.assert_allclose(found, value, rtol=0, atol=1e-8 * size, err_msg=key)


@every_normed
def test_a_run_with_batch_norm_goes_on_from_a_state_to_the_bit(name, begin):
    recipe = NARROW[name]
    whole, settings, given = begin(recipe)
    stopped, *_ = begin(recipe)
    for one in (whole, stopped):
        one.step(*given[0])
    state = stopped.state()
    buffers = recipe.buffer_names(settings.latent_dim, **settings.hyper)
    assert list(part(state, "buffer")) == buffers
    initial = recipe.initial_parameters(99, settings.latent_dim, **settings.hyper)
    assert not any(np.array_equal(state[f"buffer/{key}"], initial[key]) for key in buffers)
    kept = copied(state)
    fresh = PyTorchEngine("cpu")
    fresh.start(recipe, settings, initial)
    fresh.restore(state)
    assert same(fresh.state(), state)
    for one in given[1:]:
        assert torch.equal(fresh.step(*one), whole.step(*one))
    assert same(fresh.state(), whole.state())
    assert same(state, kept)


@every_normed
@pytest.mark.parametrize("rng", ["injected", "torch"])
def test_looking_leaves_running_statistics_as_they_were(name, small, data_of, rng):
    recipe = NARROW[name]
    settings = small(recipe, rng=rng)
    engine = PyTorchEngine("cpu")
    if rng == "torch":
        engine.start(recipe, settings, None)
        draws = {} if recipe.given is None else recipe.given(data_of(recipe), settings)
    else:
        parameters = recipe.initial_parameters(1, settings.latent_dim, **settings.hyper)
        engine.start(recipe, settings, parameters)
        _, _, draws = next(batches(Run(recipe, settings, data_of(recipe))))
    x = data_of(recipe).batch(np.arange(6), torch.float64)
    engine.step(x, draws)
    before, generator = engine.parameters(), torch.get_rng_state()
    training = engine.latent_means(x, draws, training=True)
    evaluation = engine.latent_means(x, None, training=False)
    engine.decode(np.zeros((4, settings.latent_dim)))
    assert same(engine.parameters(), before)
    assert torch.equal(torch.get_rng_state(), generator)
    assert training.shape == evaluation.shape == (6, settings.latent_dim)
    assert not np.array_equal(training, evaluation)  # the batch's statistics, not the running ones


@pytest.mark.parametrize("name", ["beta", "clustering-toy", "mlp", "clustering"])
def test_divergence_of_any_recipe_is_the_users_error(name, begin):
    """Also where there is no Bernoulli likelihood that would refuse what is no number."""
    engine, _, given = begin(NARROW[name], learning_rate=1e200, steps=5, latent_dim=2)

    def run():
        for one in given:
            engine.step(*one)

    with pytest.raises(UserError, match=r"diverged.*--learning-rate"):
        run()
