"""Mistakes in what a run leaves besides its steps: evaluation mode, weights, decoded images."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from stand_ins.narrow import NARROW
from stand_ins.verdicts import Averaged, InEvaluation, Mistaken, compare_engines

from comparisons.beyond_steps.after_training import part_after_training
from comparisons.saved.compare import compare_traces
from comparisons.saved.pairs import load_pairs
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.modules import BatchNorm, Dropout
from pyvae.model.run import Run
from pyvae.recipes import get_recipe

pytestmark = pytest.mark.slow

EVALUATION = "latent means in evaluation mode"
SAMPLES = "decoded samples, in evaluation mode"


def settings_of(recipe, **changes):
    small = {"batch_size": 12, "latent_dim": 5, "steps": 3, "dtype": "float64"}
    return recipe.settings(**small | changes)


MISTAKES = {  # engine, recipe, where, words
    "dropout left on": (
        lambda: InEvaluation((Dropout,)), "conv", EVALUATION,
        "port: dropout left on, with the masks of the means in training mode"),
    "means scaled": (
        lambda: InEvaluation(means=lambda mu: 1.5 * mu), "conv", EVALUATION,
        "port is what its parameters give times 1.5"),
    "means scaled, with batch norm": (
        lambda: InEvaluation(means=lambda mu: 1.5 * mu), "mlp", EVALUATION,
        "port is what its parameters give times 1.5"),
    "the batch's statistics": (
        lambda: InEvaluation((BatchNorm,)), "mlp", EVALUATION,
        "port: batch norm with the batch's statistics, not the running ones"),
    "averaged weights": (
        Averaged, "conv", "latent means in training mode", "not what its own parameters give"),
    "1 - q": (
        lambda: InEvaluation(pixels=lambda q: 1 - q), "conv", SAMPLES,
        "port: 1 - q where it is q: dark and light exchanged"),
    "no sigmoid": (
        lambda: InEvaluation(pixels=lambda q: np.log(q / (1 - q))), "strided-conv", SAMPLES,
        "port: without the last sigmoid: logits in place of probabilities"),
    "samples of another size": (
        lambda: InEvaluation(pixels=lambda q: q[:9]), "beta", SAMPLES,
        r"port has shape \(9, 784\) where it is \(16, 784\)"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "side"), [(name, at % 2) for at, name in enumerate(MISTAKES)])
def test_a_mistake_in_evaluation_is_placed_and_its_side_named(name, side, conv, digits, tmp_path):
    """None of them acts in a step: parameters and losses agree."""
    make, recipe_name, where, words = MISTAKES[name]
    recipe = NARROW[recipe_name]
    engines = [PyTorchEngine("cpu"), PyTorchEngine("cpu")]
    engines[side] = make()
    comparison = compare_engines(*engines, recipe, settings_of(recipe), digits, tmp_path)
    assert not comparison.agrees
    assert comparison.quantities["parameter"].agrees
    found = comparison.divergence
    assert (found.stage, found.wrong) == (where, "port")
    assert found.sentence() == f"the end of the run, after step 3: {where}"
    assert re.search(words, "; ".join(found.words)), found.words
    assert "rounding" not in comparison.note


def test_what_follows_from_the_parameters_is_not_laid_on_evaluation(conv, digits, tmp_path):
    """A wrong learning rate changes means and samples, too: they are right for their parameters."""
    run = settings_of(conv)

    class Hasty(Mistaken):
        def start(self, *arguments):
            super().start(*arguments)
            self.optimizer.param_groups[0]["lr"] *= 1.01

    comparison = compare_engines(PyTorchEngine("cpu"), Hasty(), conv, run, digits, tmp_path)
    assert {"latent_mean", "samples"} <= comparison.disagreeing()
    assert comparison.divergence.stage == "adam.update"
    sides = comparison.under_test, comparison.reference
    assert part_after_training(*sides, Run(conv, run, digits)) is None


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("conv", "float32"), ("mlp", "float64"), ("beta", "float32"), ("strided-conv", "float64")],
)
def test_nothing_is_found_where_nothing_is_wrong(name, dtype, conv, digits, tmp_path):
    """Even where differences are looked at bit by bit."""
    recipe = NARROW[name]
    other = Mistaken()
    run = settings_of(recipe, dtype=dtype)
    comparison = compare_engines(PyTorchEngine("cpu"), other, recipe, run, digits, tmp_path)
    assert comparison.agrees
    assert comparison.quantities["samples"].max_ulp == 0
    a, b = comparison.under_test, comparison.reference
    b = replace(b, samples=np.nextafter(b.samples, 0), latent_means={
        mode: np.nextafter(mu, 0) for mode, mu in b.latent_means.items()})  # fmt: skip
    assert part_after_training(a, b, Run(recipe, run, digits), exact=True) is None


@pytest.mark.parametrize("side", [0, 1])
def test_what_a_wide_tolerance_lets_pass_is_judged_by_the_own_parameters(
    side, conv, digits, tmp_path
):
    """In float32 a run may differ by 1 % of the means; a factor of 1.005 is no rounding."""
    engines = [PyTorchEngine("cpu"), PyTorchEngine("cpu")]
    engines[side] = InEvaluation(means=lambda mu: 1.005 * mu)
    run = settings_of(conv, dtype="float32")
    comparison = compare_engines(*engines, conv, run, digits, tmp_path)
    assert comparison.disagreeing() == set()
    assert not comparison.agrees
    found = comparison.divergence
    assert (found.stage, found.wrong) == (EVALUATION, "port")
    assert "port is what its parameters give times" in found.words[0]


def test_inverted_samples_of_a_saved_trace_are_a_disagreement(digits, tmp_path):
    beta = get_recipe("beta")
    comparison = compare_engines(
        PyTorchEngine("cpu"), Mistaken(), beta, settings_of(beta), digits, tmp_path
    )
    for trace, folder in ((comparison.under_test, "a"), (comparison.reference, "b")):
        (tmp_path / folder).mkdir()
        if folder == "b":
            trace = replace(trace, samples=1 - trace.samples)
        trace.save(tmp_path / folder)
    ((a, b),) = load_pairs(tmp_path / "a", tmp_path / "b")
    found = compare_traces(a, b)
    assert found.disagreeing() == {"samples"}
    assert (found.divergence.stage, found.divergence.wrong) == (SAMPLES, "port")
    assert "dark and light exchanged" in found.divergence.words[0]
    without = replace(b, samples=None)  # a trace may do without: nothing is shown of it
    assert compare_traces(a, without).agrees
