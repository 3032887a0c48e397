"""Every recipe through all of a comparison: PyTorch against itself with other rounding errors, so
that no R is needed."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from rich.console import Console
from stand_ins.narrow import NARROW
from stand_ins.rounding import RoundedOtherwise

from comparisons.report.html import write_report
from comparisons.report.tables import last_step_line
from comparisons.report.write import conclude
from comparisons.runs.live import compare
from comparisons.stages.compare import NO_EFFECT
from comparisons.stages.no_effect import NoEffect
from comparisons.steps.compare import compare_steps
from comparisons.steps.comparison import compare_whole_runs, summary
from comparisons.steps.pair import Pair
from pyvae.data.images import load_toy
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.run import Run
from pyvae.recipes import RECIPES
from pyvae.training.loop import train

SMALL = {"clustering": 6, "clustering-semi-supervised": 6}
SLOW = (*SMALL, "conv", "strided-conv")
NAMES = sorted(set(RECIPES) - {"clustering", "mlp-wide"})  # whose layers and terms others have


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run_of(name, steps=3, **changes):
    recipe = NARROW[name]
    hyper = {"labels": 10} if name.endswith("supervised") else {}
    settings = recipe.settings(batch_size=SMALL.get(name, 20), latent_dim=3, steps=steps,
        **{"dtype": "float64", "hyper": hyper} | changes,
    )  # fmt: skip
    return recipe, settings


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_comparison_agrees_and_all_of_it_is_written(name, digits, tmp_path, undrawn):
    recipe, settings = run_of(name, steps=2)
    data = load_toy() if recipe.features == 2 else digits
    run = Run(recipe, settings, data)
    made = compare(run, PyTorchEngine("cpu"), RoundedOtherwise("cpu"), tmp_path)
    (comparison,) = made
    console = Console(record=True, width=200)
    assert conclude(console, made, tmp_path, report=True) == 0
    assert (tmp_path / "report.html").stat().st_size > 10_000
    about = json.loads((tmp_path / "comparison.json").read_text())
    assert (about["verdict"], about["recipe"]) == ("agree", name)
    objective = OBJECTIVES[settings.objective]
    assert set(objective.further) <= set(comparison.quantities)
    assert len(comparison.stages) == len(recipe.quantities(settings))
    table = console.export_text()
    assert objective.title in table
    left_out = NoEffect.of_stages(recipe.stages)
    assert set(comparison.not_judged) == {*left_out.biases, *left_out.means}
    assert ("not judged" in table) == bool(left_out.biases)
    assert ("not_judged" in about["objectives"][objective.name]) == bool(left_out.biases)


@pytest.mark.parametrize(
    ("name", "resync"),
    [
        *(pytest.param(n, False, marks=[pytest.mark.slow] if n in SLOW else []) for n in NAMES),
        ("mlp", True),
        ("clustering-toy", True),
    ],
)
def test_stages_of_further_steps_agree(name, resync, digits):
    recipe, settings = run_of(name, steps=2)
    data = load_toy() if recipe.features == 2 else digits
    pair = Pair(Run(recipe, settings, data), PyTorchEngine("cpu"), RoundedOtherwise("cpu"))
    found = list(compare_steps(pair, last=2, resync=resync, inspect={1, 2}))
    assert [step.divergence for step in found] == [None, None]
    explained = [a.quantity.name for a in found[1].agreements if NO_EFFECT in a.explained]
    drifts = bool(NoEffect.of_stages(recipe.stages).biases) and not resync
    assert bool(explained) == drifts


@pytest.mark.parametrize("name", ["mlp", "clustering-toy"])
def test_re_synchronised_steps_that_are_not_inspected_agree(name, digits):
    recipe, settings = run_of(name, steps=3)
    data = load_toy() if recipe.features == 2 else digits
    pair = Pair(Run(recipe, settings, data), PyTorchEngine("cpu"), RoundedOtherwise("cpu"))
    found = list(compare_steps(pair, last=3, resync=True, inspect=()))
    assert len(found) == 3
    for step in found:
        keys = {agreement.quantity.key for agreement in step.agreements}
        assert all(agreement.agrees for agreement in step.agreements)
        assert any(key.startswith("buffer/") for key in keys)
        assert {f"forward/{name}" for name in OBJECTIVES[settings.objective].terms} <= keys


def test_a_bias_with_an_effect_is_judged(digits):
    recipe, settings = run_of("clustering-toy")
    engine = PyTorchEngine("cpu")
    a = train(Run(recipe, settings, load_toy()), engine)
    for name, agrees in (("px_z.fc1.bias", True), ("px_z.fc2.bias", False)):
        b = train(Run(recipe, settings, load_toy()), engine)
        b.parameters[name] = b.parameters[name] + 1e-3
        assert compare_whole_runs(a, b).agrees == agrees
        assert not compare_whole_runs(a, b, exact=True).agrees
    assert summary([compare_whole_runs(a, a, exact=True)])["verdict"] == "agree"
    assert compare_whole_runs(a, a, exact=True).not_judged == ()


def test_evaluation_mode_has_a_rule_of_its_own_with_batch_norm(digits):
    recipe, settings = run_of("mlp")
    engine = PyTorchEngine("cpu")
    a, b = (train(Run(recipe, settings, digits), engine) for _ in range(2))
    b.latent_means["evaluation"] = b.latent_means["evaluation"] * (1 + 1e-5)
    assert compare_whole_runs(a, b).agrees
    b.latent_means["training"] = b.latent_means["training"] * (1 + 1e-5)
    found = compare_whole_runs(a, b).quantities
    assert not found["latent_mean"].agrees
    assert found["evaluation_mean"].agrees


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mlp-wide", r"nats per image, mean over 20 images$"),
        ("beta", r"^last step: [\d.e-]+, mean over 20 images$"),
        ("clustering-toy", r"nats, sum over 20 points; [\d.]+ nats per point$"),
    ],
)
def test_the_last_step_says_on_what_scale_it_is(name, words, digits):
    recipe, settings = run_of(name, steps=1)
    data = load_toy() if recipe.features == 2 else digits
    trace = train(Run(recipe, settings, data), PyTorchEngine("cpu"))
    assert re.search(words, last_step_line(compare_whole_runs(trace, trace)))


@pytest.mark.slow
def test_a_report_names_hyperparameters(tmp_path, digits):
    recipe, settings = run_of("clustering-toy", steps=1, hyper={"temperature": 0.75})
    trace = train(Run(recipe, settings, load_toy()), PyTorchEngine("cpu"))
    write_report([compare_whole_runs(trace, trace)], tmp_path / "report.html", "")
    page = (tmp_path / "report.html").read_text()
    assert "temperature" in page
    assert "0.75" in page
    assert np.isfinite(trace.losses).all()
