"""A loss that is no finite number in R: the step is not taken, and where it began is named as in
PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stand_ins.narrow import NARROW

from pyvae.data.images import load_digits, load_toy
from pyvae.engines.engine import DivergedError
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.run import Run
from pyvae.recipes import RECIPES
from pyvae.training.feeds import batches
from pyvae.training.not_finite import first_not_finite
from r_bridge.engines.base_r import BaseREngine
from r_bridge.engines.r_torch import RTorchEngine
from r_bridge.errors import RError

pytestmark = pytest.mark.r

SMALL = ("conv", "mlp", "mlp-wide", "strided-conv", "beta", "clustering-toy")
EVERY = [n if n in SMALL else pytest.param(n, marks=pytest.mark.long) for n in RECIPES]
BATCH, CHUNK = 28, 25  # images of a step, and those that base R works on at a time


@pytest.fixture(scope="module")
def r():
    with BaseREngine(threads=1) as engine:
        yield engine


def begin(name, *engines, **changes):
    """Starts a recipe's run in engines that have all taken the first step of the first; the
    recipe, the state, and what the second step is given."""
    recipe = NARROW[name]
    size = BATCH if name in ("conv", "beta") else 6
    given = {"batch_size": size, "steps": 2, "latent_dim": 3, "dtype": "float64", "seed": 3}
    hyper = {"labels": 12} if recipe.given else {}
    settings = recipe.settings(**given | changes, hyper=hyper)
    data = load_toy(60) if recipe.features == 2 else load_digits()
    (_, *first), (_, *second) = batches(Run(recipe, settings, data))
    for engine in engines:
        parameters = recipe.initial_parameters(settings.seed, settings.latent_dim, **hyper)
        engine.start(recipe, settings, parameters)
        if size == BATCH and isinstance(engine, BaseREngine):
            engine._chunk = CHUNK  # as of the published widths
    engines[0].step(*first)
    for engine in engines[1:]:
        engine.restore(engines[0].state())
    return recipe, engines[0].state(), second


def spoilt(state, key, value, index=...):
    """A state with one element changed, or all of one array."""
    changed = {name: np.array(array) for name, array in state.items()}
    changed[key][index] = value
    return changed


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k], equal_nan=True) for k in a)


def fails(engine, recipe, given):
    """What is said of a step that diverges; it changes nothing, with and without a probe."""
    before, probe = engine.state(), {}
    for asked in ((), (probe,)):
        with pytest.raises(DivergedError, match="loss is not a finite number"):
            engine.step(*given, *asked)
        assert same(engine.state(), before)
    assert not any(key.startswith(("moment", "parameter/")) for key in probe)
    assert "forward/input" in probe
    return first_not_finite(probe, recipe)


@pytest.mark.parametrize("name", EVERY)
def test_a_parameter_that_is_no_number_is_named(r, name):
    """Running statistics stay what they were, too."""
    recipe, state, given = begin(name, r)
    keys = [key for key in state if key.startswith("parameter/")]
    for key, value in ((keys[0], np.nan), (keys[-1], np.nan), (keys[2], np.inf)):
        index = tuple(size // 2 for size in state[key].shape)
        r.restore(spoilt(state, key, value, index))
        found = fails(r, recipe, given)
        assert found == f"{key.partition('/')[2]} (start), first at {list(index)}: {value}"
    r.restore(state)
    assert torch.isfinite(r.step(*given)).all()


@pytest.mark.parametrize("name", EVERY[:-2] + EVERY[-1:])
def test_where_numbers_overflow_is_told_as_pytorch_tells_it(r, name):
    """Weights of 1e200 in a layer in the middle: the product of two such is too large."""
    python = PyTorchEngine("cpu")
    recipe, state, given = begin(name, r, python)
    weights = [key for key in state if key.startswith("parameter/") and state[key].ndim > 1]
    large = state
    for key in weights[1:]:
        large = spoilt(large, key, 1e200)
    told = []
    for engine in (r, python):
        engine.restore(large)
        told.append(fails(engine, recipe, given))
    assert told[0] == told[1]
    assert "(forward)" in told[0]


@pytest.mark.parametrize("name", ["conv", "mlp", "beta"])
def test_an_infinite_kl_is_named_where_all_layers_are_finite(r, name):
    """exp(400) is finite, exp(800) is not."""
    recipe, state, given = begin(name, r)
    sample = next(stage for stage in recipe.stages if stage.layer == "reparameterise")
    r.restore(spoilt(state, f"parameter/{sample.inputs[1]}.bias", 800.0))
    assert fails(r, recipe, given) == "regulariser (forward): inf"


@pytest.mark.parametrize("name", ["conv", "beta"])
def test_an_image_of_any_part_of_the_batch_is_named(r, name):
    recipe, _, (x, draws) = begin(name, r)
    noise = draws["noise"].copy()
    noise[BATCH - 1, 2] = np.inf
    found = fails(r, recipe, (x, draws | {"noise": noise}))
    sample = next(stage for stage in recipe.stages if stage.layer == "reparameterise").name
    assert found == f"{sample} (forward), first at [{BATCH - 1}, 2]: inf"


def test_a_run_in_rs_own_draws_stops_too(r, conv, settings):
    run = settings(rng="r")
    r.start(conv, run, None)
    r.restore(spoilt(r.state(), "parameter/encoder.fc1.bias", np.nan))
    x = load_digits().batch(np.arange(12), torch.float64)
    assert fails(r, conv, (x, None)) == "encoder.fc1.bias (start), first at [0]: nan"


def test_of_a_batch_that_fails_in_its_second_part_the_first_is_left(r):
    _, _, (x, draws) = begin("conv", r)
    r.process.evaluate(
        """whole <- session_part
        session_part <- function(session, x, ...) {
          if (nrow(x) < 25) stop("only ", nrow(x), " images")
          whole(session, x, ...)
        }
        NULL"""
    )
    probe: dict = {}
    try:
        with pytest.raises(RError, match="only 3 images"):
            r.step(x, draws, probe)
    finally:
        r.process.evaluate("session_part <- whole; NULL")
    assert np.array_equal(probe["forward/input"], x[:25])
    assert {len(v) for k, v in probe.items() if k.startswith(("forward/", "gradient/"))} == {25}


@pytest.mark.parametrize("corner", range(4))
def test_max_pooling_hands_no_number_on(r, corner):
    """As PyTorch's, in whichever corner it is; the other windows are what they are."""
    x = np.random.default_rng(corner).normal(size=(2, 2, 6, 1))  # channel, column, row, image
    x[1, corner % 2, 2 + corner // 2, 0] = np.nan
    r.process.evaluate("pooled <- function(x) max_pool2d_forward(x)$y; NULL")
    found = r.process.call("pooled", x=x)
    expected = x.reshape(2, 1, 2, 3, 2, 1).max(axis=(2, 4))
    assert np.array_equal(found, expected, equal_nan=True)
    assert np.isnan(found).sum() == 1


@pytest.mark.r_torch
@pytest.mark.parametrize("key", ["parameter/encoder.fc3.bias", "parameter/encoder.conv1.weight"])
@pytest.mark.parametrize("value", [800.0, np.nan])
def test_r_torch_stops_as_pytorch_does(key, value):
    python = PyTorchEngine("cpu", adam="r-torch")
    with RTorchEngine() as rt:
        recipe, state, given = begin("conv", rt, python)
        if np.isfinite(value):
            key = "parameter/encoder.fc3.bias"
        told = []
        for engine in (rt, python):
            engine.restore(spoilt(state, key, value))
            told.append(fails(engine, recipe, given))
        assert told[0] == told[1] != ""
        rt.restore(state)
        python.restore(state)
        assert torch.equal(rt.step(*given), python.step(*given))
