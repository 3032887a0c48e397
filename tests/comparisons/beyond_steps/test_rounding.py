"""Rounding is called by its name within what it was measured to make, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stand_ins.rounding import RoundedOtherwise
from stand_ins.verdicts import AMSGrad, Drifting, Mistaken, compare_engines

from comparisons.beyond_steps.rounding import FACTOR, Neighbour, measure_rounding
from comparisons.steps.comparison import compare_whole_runs
from pyvae.engines.devices import set_threads
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.training.loop import train

pytestmark = pytest.mark.slow

SAID = "the difference has grown from rounding"


def test_a_neighbour_is_one_unit_in_the_last_place_away(conv, settings):
    run = settings()
    start = conv.initial_parameters(run.seed, run.latent_dim)
    engines = PyTorchEngine("cpu"), Neighbour(1), Neighbour(1), Neighbour(2)
    moved = []
    for engine in engines:
        engine.start(conv, run, start)
        kept, engine.optimizer.step = engine.optimizer.step, lambda: None
        x = torch.rand(12, 784, dtype=torch.float64)
        drawn = {
            name: np.ones((12, *kind.shape)) for name, kind in conv.draws(run.latent_dim).items()
        }
        engine.step(x, drawn)
        engine.optimizer.step = kept
        moved.append(np.concatenate([v.ravel() for v in engine.parameters().values()]))
    plain, one, again, two = moved
    assert np.array_equal(np.abs(one - plain), np.spacing(np.minimum(abs(one), abs(plain))))
    assert np.array_equal(one, again)
    assert 0.4 < np.mean(one > plain) < 0.6
    assert not np.array_equal(one, two)


HONEST = {  # recipe, settings: runs that rounding drives apart by more than the tolerance
    "mlp": {"dtype": "float32", "batch_size": 100, "steps": 12},
    "clustering": {"dtype": "float64", "batch_size": 8, "steps": 40},
}


@pytest.mark.parametrize(
    "name", ["mlp", pytest.param("clustering", marks=[pytest.mark.slow, pytest.mark.long])]
)
def test_sums_in_another_order_are_called_rounding_with_the_bound(name, digits, tmp_path):
    recipe = get_recipe(name)
    run = recipe.settings(**HONEST[name])
    engines = PyTorchEngine("cpu"), RoundedOtherwise("cpu")
    comparison = compare_engines(*engines, recipe, run, digits, tmp_path)
    assert not comparison.agrees
    assert comparison.divergence is None
    assert SAID in comparison.note
    assert f"up to {FACTOR} times that is called rounding" in comparison.note
    for quantity in comparison.disagreeing():  # what was found, and what rounding makes
        size = f"{comparison.quantities[quantity].required_rtol:.1e}"
        assert f"{quantity.replace('_', ' ')} needs {size}, rounding makes " in comparison.note


def test_another_number_of_threads_is_within_what_is_measured(digits):
    """Whether or not the tolerance is passed."""
    recipe = get_recipe("mlp")
    run = recipe.settings(**HONEST["mlp"] | {"steps": 4})
    traces = []
    for threads in (1, 2):
        set_threads(threads)
        traces.append(train(Run(recipe, run, digits), PyTorchEngine("cpu")))
    rounding = measure_rounding(Run(recipe, run, digits))
    comparison = compare_whole_runs(*traces)
    assert comparison.quantities["loss"].max_ulp > 0  # they do differ
    assert rounding.beyond(comparison) == []
    for name, agreement in comparison.quantities.items():
        assert agreement.required_rtol <= FACTOR * rounding.needed[name]


def test_a_drift_that_no_step_shows_and_rounding_does_not_make_is_not_called_rounding(
    digits, tmp_path
):
    beta = get_recipe("beta")
    run = beta.settings(batch_size=12, latent_dim=5, steps=4, dtype="float64")
    comparison = compare_engines(PyTorchEngine("cpu"), Drifting(), beta, run, digits, tmp_path)
    assert not comparison.agrees
    assert comparison.divergence is None
    assert SAID not in comparison.note
    assert "every step agrees when both engines start it from the same state" in comparison.note
    assert "but the difference is larger than rounding makes it: loss needs" in comparison.note
    assert "the losses part by more than rounding from step 2 on" in comparison.note


@pytest.mark.parametrize(("name", "mode"), [("mlp", "free"), ("beta", "resync")])
def test_what_an_optimiser_keeps_to_itself_is_a_disagreement(name, mode, digits, tmp_path):
    """AMSGrad's maximum is in no state that is handed over; a few free steps show it."""
    recipe = get_recipe(name)
    run = recipe.settings(batch_size=12, latent_dim=3, steps=3, dtype="float64")
    engines = PyTorchEngine("cpu"), AMSGrad()
    comparison = compare_engines(*engines, recipe, run, digits, tmp_path, mode=mode)
    assert not comparison.agrees
    assert not comparison.quantities["free_run"].agrees
    found = comparison.divergence
    assert (found.stage, found.wrong) == ("adam.update", "port")
    assert found.step == 2  # in the first the maximum is the moment itself
    assert "rounding" not in comparison.note
    assert "AMSGrad" in comparison.note


def test_a_resynchronised_comparison_that_agrees_says_how_a_free_run_went(digits, tmp_path):
    mlp = get_recipe("mlp")
    run = mlp.settings(batch_size=12, latent_dim=5, steps=3, dtype="float64")
    engines = PyTorchEngine("cpu"), Mistaken()
    comparison = compare_engines(*engines, mlp, run, digits, tmp_path, mode="resync")
    assert comparison.agrees
    assert comparison.quantities["free_run"].max_ulp == 0
