"""Every recipe in R torch, run from its stages, against PyTorch: the same bits from the same seed,
where the two LibTorchs round alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stand_ins.patched_r import PatchedRTorch
from torch import nn

from comparisons import compare
from pyvae.data.images import load_digits, load_toy
from pyvae.engines.engine import DivergedError
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.engines.registry import get_abilities
from pyvae.errors import UserError
from pyvae.model.draws import Draws, Keep, Normal
from pyvae.model.modules import Dropout
from pyvae.model.recipe import GaussianVAE, Recipe
from pyvae.model.run import Run
from pyvae.model.stages import is_buffer
from pyvae.recipes import RECIPES
from pyvae.training.loop import train
from r_bridge.engines.r_torch import RTorchEngine
from r_bridge.engines.stage_network import LAYERS, stage_arguments
from r_bridge.errors import RError

SMALL = {
    "mlp": {},
    "mlp-wide": {},
    "strided-conv": {"latent_dim": 3},
    "beta": {"hyper": {"beta": 0.3}},
    "clustering-toy": {"hyper": {"temperature": 0.8}},
    "clustering": {},
    "clustering-semi-supervised": {"hyper": {"labels": 11}},
}
NAMES = [  # conv is tested in base/
    pytest.param(name, marks=pytest.mark.slow) if name.startswith("clustering") else name
    for name in SMALL
]
OWN = ("torch", "injected")


@pytest.fixture(scope="module")
def rt():
    """R torch, on as many threads as PyTorch."""
    with RTorchEngine() as engine:
        yield engine


@pytest.fixture(scope="module")
def same_libtorch(rt):
    """Whether both sides have the same LibTorch: batch norm's backward pass rounds otherwise in
    others."""
    return torch.__version__.partition("+")[0] == rt.environment()["LibTorch"].partition("+")[0]


def python():
    return PyTorchEngine("cpu", adam="r-torch", kernels="torch")


def a_run(name, steps=2, **changes):
    recipe = RECIPES[name]
    given = {"batch_size": 12, "steps": steps, "dtype": "float32", **SMALL[name], **changes}
    data = load_toy(60) if recipe.features == 2 else load_digits()
    return recipe, recipe.settings(**given), data


def has_batch_norm(recipe):
    return any(stage.layer == "batch_norm" for stage in recipe.stages)


def go_through(engine, run):
    """A run's trace, the probe of its first step, and where the generator stands at its end."""
    probe: dict = {}
    trace = train(Run(*run), engine, probe=lambda step: probe if step == 1 else None)
    return trace, probe, engine.generator_state()


def same_bits(found, expected):
    """R's are float64, whatever the run's precision was."""
    found, expected = (np.asarray(value, np.float64) for value in (found, expected))
    return found.shape == expected.shape and np.array_equal(found, expected)


def arrays(trace):
    whole = {"losses": trace.losses, "samples": trace.samples, **trace.latent_means}
    return whole | {f"parameter/{name}": value for name, value in trace.parameters.items()}


def test_it_declares_the_layers_of_its_table():
    abilities = get_abilities("r-torch")
    assert abilities.layers == get_abilities("base-r").layers == LAYERS
    assert all(abilities.runs(name) for name in RECIPES)
    for recipe in RECIPES.values():
        abilities.check_run("r-torch", recipe, recipe.settings())


@pytest.mark.r_torch
@pytest.mark.parametrize("rng", OWN)
@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_pytorchs_in_every_bit(rt, same_libtorch, name, rng):
    """From the seed alone, or on the same draws; up to where batch norm's gradients are computed
    by another LibTorch."""
    run = a_run(name, rng=rng)
    (a, expected, stood), (b, found, here) = (go_through(engine, run) for engine in (python(), rt))
    assert (here is None) if rng == "injected" else np.array_equal(here, stood)
    assert list(a.parameters) == list(b.parameters)
    assert found.keys() == {key for key in expected if not key.startswith("draw/")}
    exact = same_libtorch or not has_batch_norm(run[0])
    forward = ("start/", "forward/", "buffer/")
    for key in found:
        if exact or key.startswith(forward):
            assert same_bits(found[key], expected[key]), key
    assert same_bits(b.losses[:1], a.losses[:1])
    if exact:
        for key, value in arrays(a).items():
            assert same_bits(arrays(b)[key], value), key


@pytest.mark.r_torch
@pytest.mark.parametrize("name", NAMES)
def test_losses_in_double_precision_are_pytorchs(rt, name):
    run = a_run(name, steps=10, dtype="float64")
    a, b = (train(Run(*run), engine) for engine in (python(), rt))
    # clustering amplifies rounding from step to step, most of all with so few images
    rtol = 1e-7 if name.startswith("clustering") else 1e-10
    np.testing.assert_allclose(b.losses[:1], a.losses[:1], rtol=1e-13)
    np.testing.assert_allclose(b.losses, a.losses, rtol=rtol)


@pytest.mark.r_torch
@pytest.mark.parametrize("name", ["mlp", "clustering-toy"])
def test_a_state_goes_from_one_engine_to_the_other(rt, name):
    run = recipe, settings, data = a_run(name)
    engine = python()
    train(Run(*run), engine)
    train(Run(recipe, recipe.settings(**settings.as_dict() | {"seed": 5}), data), rt)
    rt.restore(engine.state())
    assert rt.state().keys() == engine.state().keys()
    for key, value in engine.state().items():
        assert same_bits(rt.state()[key], value), key
    assert any(is_buffer(key) for key in rt.state())
    x = data.batch(np.arange(12), torch.float32)
    draws = Draws(9, "float32").step(0, 12, recipe.draws(settings.latent_dim, **settings.hyper))
    assert torch.equal(*[one.step(x, draws).double() for one in (engine, rt)])
    rt.restore(engine.state())
    before = rt.parameters()
    for training in (True, False):
        assert same_bits(*[one.latent_means(x, draws, training) for one in (rt, engine)])
    after = rt.parameters()  # a look does not move the running statistics
    assert all(np.array_equal(after[name], before[name]) for name in before)
    z = np.random.default_rng(0).standard_normal((4, settings.latent_dim)).astype("float32")
    assert same_bits(rt.decode(z), engine.decode(z))


@pytest.mark.r_torch
@pytest.mark.parametrize("name", ["mlp", "clustering-toy"])
def test_a_run_goes_on_from_a_checkpoint_to_the_bit(rt, name):
    kept = []

    def keep(progress):
        if progress.step == 3:
            kept.append(progress.checkpoint())

    run = a_run(name, steps=5, rng="torch")
    whole = train(Run(*run), rt, callbacks=[keep])
    rest = train(Run(*run), rt, resume=kept[0])
    assert np.array_equal(whole.losses[3:], rest.losses)
    for key in ("samples", "training", "evaluation"):
        assert np.array_equal(arrays(rest)[key], arrays(whole)[key]), key
    assert all(np.array_equal(rest.parameters[key], value) for key, value in
               whole.parameters.items())  # fmt: skip


@pytest.mark.r_torch
def test_a_step_that_diverges_leaves_running_statistics_alone(rt):
    recipe, settings, data = a_run("mlp", dtype="float64")
    parameters = recipe.initial_parameters(settings.seed, settings.latent_dim)
    parameters["decoder.fc4.weight"].fill_(float("nan"))
    x = data.batch(np.arange(12), torch.float64)
    draws = Draws(1).step(0, 12, recipe.draws(settings.latent_dim))
    probes: dict = {}
    for engine in (python(), rt):
        engine.start(recipe, settings, parameters)
        before = engine.state()
        for probe in (None, probes.setdefault(engine.name, {})):
            with pytest.raises(DivergedError):
                engine.step(x, draws, probe)
            after = engine.state()
            assert all(np.array_equal(after[key], before[key], equal_nan=True) for key in before)
    moved = [key for key in probes["pytorch"] if key.startswith("buffer/")]
    assert moved
    for key in moved:  # what the step that was not taken had made of them
        assert same_bits(probes["r-torch"][key], probes["pytorch"][key])
        assert not np.array_equal(probes["r-torch"][key], before[key])


class Encoder(nn.Module):
    def __init__(self, latent_dim):
        super().__init__()
        self.fc = nn.Linear(784, 8)
        self.norm = nn.BatchNorm1d(8)  # which counts its steps
        self.act = nn.LeakyReLU(0.1)
        self.mu, self.log_var = nn.Linear(8, latent_dim, bias=False), nn.Linear(8, latent_dim)

    def forward(self, x, draws=None):
        x = self.act(self.norm(self.fc(x)))
        return self.mu(x), self.log_var(x)


class Decoder(nn.Module):
    def __init__(self, latent_dim, masked=True):
        super().__init__()
        self.drop = Dropout(0.3)
        self.masked = masked
        self.fc = nn.Linear(latent_dim, 784)
        self.sigmoid = nn.Sigmoid()

    def forward(self, z, draws=None):
        mask = (draws or {}).get("mask") if self.masked else None
        return self.sigmoid(self.fc(self.drop(z, mask)))


def own_recipe(masked=True):
    return Recipe(
        name="own", title="", source="",
        network=lambda latent_dim: GaussianVAE(Encoder(latent_dim), Decoder(latent_dim, masked)),
        draws=lambda latent_dim: {"noise": Normal((latent_dim,)), "mask": Keep((latent_dim,), 0.3)},
        objectives=("elbo",), epochs=1, batch_size=12, latent_dim=3, learning_rate=1e-3,
    )  # fmt: skip


@pytest.mark.r_torch
@pytest.mark.parametrize("rng", OWN)
def test_a_recipe_of_the_users_own_runs_too(rt, same_libtorch, rng):
    recipe = own_recipe()
    run = recipe, recipe.settings(steps=3, dtype="float64", rng=rng), load_digits()
    (a, expected, _), (b, found, _) = (go_through(engine, run) for engine in (python(), rt))
    np.testing.assert_allclose(b.losses, a.losses, rtol=1e-12)
    assert set(expected) - set(found) <= {"draw/noise", "draw/mask"}
    assert found["buffer/encoder.norm.num_batches_tracked"].shape == ()
    assert b.parameters["encoder.norm.num_batches_tracked"] == 3
    if same_libtorch:
        assert same_bits(b.losses, a.losses)


def test_a_mask_that_is_not_among_the_draws_is_told_before_anything_starts():
    recipe = own_recipe(masked=False)
    with pytest.raises(UserError) as caught:
        stage_arguments("r-torch", recipe, recipe.settings())
    assert str(caught.value) == (
        "engine r-torch cannot run recipe 'own': 'decoder.drop' is given no mask or noise of the "
        "recipe's draws. Name it in the recipe's draws, and hand it to the module."
    )


@pytest.mark.r_torch
def test_what_a_step_lacks_is_told(rt):
    recipe, settings, data = a_run("clustering-semi-supervised")
    rt.start(recipe, settings, recipe.initial_parameters(1, 2, **settings.hyper))
    x, noise = data.batch(np.arange(12), torch.float32), np.zeros((12, 2))
    with pytest.raises(RError, match="input 'labelled' was not given; draws are: noise"):
        rt.step(x, {"noise": noise})
    given = {"labelled": np.zeros((11, 784)), "labels": np.zeros((11, 10)), "noise": noise}
    with pytest.raises(RError, match=r"'qy_x.dropout' was not given its draw 'dropout'"):
        rt.step(x, given)


@pytest.mark.r_torch
@pytest.mark.parametrize(
    ("name", "layer", "option", "stage", "words"),
    [
        ("mlp", "batch_norm", "eps <- 1e-3", "encoder.bn1", "epsilon = 0.001 where it is 1e-05"),
        ("clustering-toy", "leaky_relu", "slope <- 0.01", "qz_xy.lrelu3", "slope 0.01 where it is"),
    ],
)
def test_a_mistake_in_a_layer_is_placed_and_named(name, layer, option, stage, words, tmp_path):
    """Both sides are told apart by a third computation: R torch is the wrong one."""
    patch = f"""right <- torch_layers${layer}
    torch_layers${layer} <- function(s) {{ s$options${option}; right(s) }}"""
    run = Run(*a_run(name, dtype="float64"))
    with PatchedRTorch(patch) as wrong:
        (found,) = compare(run, PyTorchEngine("cpu"), wrong, tmp_path)
    assert not found.agrees
    assert found.divergence.sentence() == f"step 1, {stage}, forward"
    assert found.divergence.wrong == "r-torch"
    assert words in " ".join(found.divergence.words)
