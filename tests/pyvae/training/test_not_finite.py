"""A loss that is no finite number: the step is not taken, and where it began is named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stand_ins.narrow import NARROW

from pyvae.engines.engine import DivergedError
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.run import Run
from pyvae.model.stages import is_buffer
from pyvae.recipes import RECIPES, get_recipe
from pyvae.training.feeds import batches
from pyvae.training.not_finite import first_not_finite

LARGE = ("clustering", "clustering-semi-supervised")  # seconds for what takes the others one
EVERY = [pytest.param(n, marks=pytest.mark.slow) if n in LARGE else n for n in RECIPES]


@pytest.fixture
def begun(small, data_of):
    """An engine after a step, and what its next one is given."""

    def make(name, **changes):
        recipe = NARROW[name]
        settings = small(recipe, **changes)
        engine = PyTorchEngine("cpu")
        initial = recipe.initial_parameters(settings.seed, settings.latent_dim, **settings.hyper)
        engine.start(recipe, settings, initial)
        (_, *first), (_, *second), *_ = batches(Run(recipe, settings, data_of(recipe)))
        engine.step(*first)
        return engine, recipe, second

    return make


def spoilt(state, key, value, index=...):
    """A state with one element changed, or all of one array."""
    changed = {name: np.array(array) for name, array in state.items()}
    changed[key][index] = value
    return changed


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k], equal_nan=True) for k in a)


def fails(engine, given):
    """The probe of a step that diverges; it changes nothing, with and without a probe."""
    before, probe = engine.state(), {}
    for asked in ((), (probe,)):
        with pytest.raises(DivergedError, match="loss is not a finite number"):
            engine.step(*given, *asked)
        assert same(engine.state(), before)
    assert {key.split("/")[0] for key in probe} <= {"start", "forward", "buffer"}
    return probe


def posterior(recipe):
    """The sample of z, its log-variance, and the layer with a bias that gives that."""
    stages = {stage.name: stage for stage in recipe.stages}
    sample = next(stage for stage in recipe.stages if stage.layer == "reparameterise")
    layer = log_var = stages[sample.inputs[1]]
    while layer.layer != "linear":
        layer = stages[layer.inputs[0]]
    return sample.name, log_var.name, layer.name


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_a_parameter_that_is_no_number_is_named(name, begun):
    engine, recipe, given = begun(name)
    state = engine.state()
    keys = [key for key in state if key.startswith("parameter/")]
    for key in (keys[0], keys[-1]) if name in ("conv", *LARGE) else keys:
        index = tuple(size - 1 for size in state[key].shape)
        engine.restore(spoilt(state, key, np.nan, index))
        found = first_not_finite(fails(engine, given), recipe)
        assert found == f"{key.partition('/')[2]} (start), first at {list(index)}: nan"
    engine.restore(state)
    assert torch.isfinite(engine.step(*given)).all()


@pytest.mark.parametrize("name", [n for n in EVERY if n != "mlp-wide"])  # that has a logarithm
def test_a_sample_that_overflows_is_named(name, begun):
    """Of log-variances that are finite themselves: exp(5000) is not."""
    engine, recipe, given = begun(name)
    sample, log_var, layer = posterior(recipe)
    engine.restore(spoilt(engine.state(), f"parameter/{layer}.bias", 1e4))
    probe = fails(engine, given)
    assert np.isfinite(probe[f"forward/{log_var}"]).all()
    value = np.inf * np.sign(given[1]["noise"][0, 0])
    assert first_not_finite(probe, recipe) == f"{sample} (forward), first at [0, 0]: {value}"


@pytest.mark.parametrize("name", ["conv", "mlp", "strided-conv", "beta"])
def test_an_infinite_kl_is_named_where_all_layers_are_finite(name, begun):
    """exp(400) is finite, and a Bernoulli likelihood holds its logarithms; exp(800) is not."""
    engine, recipe, given = begun(name)
    *_, layer = posterior(recipe)
    engine.restore(spoilt(engine.state(), f"parameter/{layer}.bias", 800.0))
    probe = fails(engine, given)
    assert first_not_finite(probe, recipe) == "regulariser (forward): inf"
    assert np.isfinite(probe["forward/reconstruction"])
    assert probe["forward/total"] == np.inf


@pytest.mark.parametrize("name", ["mlp", "clustering-toy"])
def test_running_statistics_are_what_they_were(name, begun):
    """The layer has moved them before the loss is known: the probe tells, the engine forgets."""
    engine, _, given = begun(name)
    first = next(key for key in engine.state() if key.startswith("parameter/"))
    engine.restore(spoilt(engine.state(), first, np.nan))
    before = {k: v for k, v in engine.parameters().items() if is_buffer(k)}
    assert before
    probe = fails(engine, given)
    assert any(np.isnan(probe[f"buffer/{key}"]).any() for key in before)
    assert same({k: engine.parameters()[k] for k in before}, before)


def test_what_comes_first_in_a_step_is_named_first():
    """Whatever the order in the probe; nothing of a probe without a number that is none."""
    recipe = get_recipe("mlp")
    bad, good = np.array([[1.0, 2.0], [3.0, -np.inf]]), np.ones((2, 2))
    words = ", first at [1, 1]: -inf"
    expected = {
        "start/encoder.fc1.weight": f"encoder.fc1.weight (start){words}",
        "start/encoder.bn1.running_mean": f"encoder.bn1.running_mean (start){words}",
        "forward/encoder.bn1": f"encoder.bn1 (forward){words}",
        "buffer/encoder.bn1.running_mean": f"encoder.bn1.running_mean (forward){words}",
        "forward/decoder.fc4": f"decoder.fc4 (forward){words}",
        "gradient/decoder.fc4": f"decoder.fc4 (backward){words}",
        "gradient/encoder.fc1.weight": f"encoder.fc1.weight (backward){words}",
        "moment2/encoder.fc1.weight": f"encoder.fc1.weight (second moment){words}",
        "parameter/encoder.fc1.weight": f"encoder.fc1.weight (parameter){words}",
    }
    probe = dict.fromkeys(reversed(expected), good)
    assert first_not_finite(probe, recipe) == first_not_finite({}, recipe) == ""
    for key, words in reversed(expected.items()):  # earlier and earlier ones
        probe[key] = bad
        assert first_not_finite(probe, recipe) == words


def test_an_element_is_found_by_its_place_not_by_its_place_in_memory():
    recipe = get_recipe("beta")
    value = np.asfortranarray(np.ones((2, 3, 4)))
    value[0, 2, 3] = value[1, 0, 0] = np.nan
    found = first_not_finite({"forward/input": value}, recipe)
    assert found == "input (forward), first at [0, 2, 3]: nan"


def test_the_error_says_where_if_it_is_known():
    assert str(DivergedError()) == (
        "training diverged: the loss is not a finite number. Try a smaller --learning-rate."
    )
    assert str(DivergedError(12, "encoder.fc3 (forward), first at [3, 7]: inf")) == (
        "training diverged in step 12: the loss is not a finite number; it begins with "
        "encoder.fc3 (forward), first at [3, 7]: inf. Try a smaller --learning-rate."
    )
