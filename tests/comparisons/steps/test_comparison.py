"""Both engines agree; wrong ports do not."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from stand_ins.narrow import CHANNELS
from stand_ins.patched_r import PatchedBaseR

from comparisons.runs.live import compare as compare_engines
from comparisons.steps.comparison import compare_whole_runs, summary
from pyvae.engines.adam import ADAMS
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model import objectives
from pyvae.model.run import Run
from pyvae.training.loop import train
from r_bridge.engines.base_r import BaseREngine

pytestmark = pytest.mark.r


@pytest.fixture(scope="module")
def made(conv, digits, tmp_path_factory):
    """Both objectives, five steps, nothing wrong. Read only."""
    small = {"batch_size": 12, "latent_dim": 5, "steps": 5, "dtype": "float64"}
    runs = [Run(conv, conv.settings(objective=name, **small), digits) for name in ("vae", "emae")]
    with BaseREngine(threads=1) as reference:
        return compare_engines(
            runs, PyTorchEngine("cpu"), reference, tmp_path_factory.mktemp("made")
        )


def test_both_objectives_agree_to_rounding(made):
    for comparison in made:
        assert comparison.agrees
        assert comparison.quantities["loss"].max_rel <= 1e-13
        assert comparison.quantities["parameter"].max_abs <= 1e-10
        assert comparison.quantities["latent_mean"].max_abs <= 1e-11


SMALL = {"batch_size": 12, "latent_dim": 5, "steps": 3, "dtype": "float64"}


@pytest.fixture(scope="module")
def right(conv, digits):
    """The traces of a right engine, by objective and precision: each is made once."""
    made: dict = {}

    def train_once(objective, dtype="float64"):
        if (objective, dtype) not in made:
            run = Run(
                conv, conv.settings(**SMALL | {"objective": objective, "dtype": dtype}), digits
            )
            made[objective, dtype] = run, train(run, PyTorchEngine("cpu"))
        return made[objective, dtype]

    return train_once


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["vae", "emae"])
def test_float32_agrees_within_its_own_rule(right, objective):
    run, python = right(objective, "float32")
    with BaseREngine(threads=1) as reference:
        comparison = compare_whole_runs(python, train(run, reference))
    assert comparison.agrees
    assert comparison.quantities["loss"].max_rel <= 1e-5


FIRST = CHANNELS // 2  # channels of the first ReLU
# The mistakes that people make in ports, each in one line of R.
MISTAKES = {
    "Adam's epsilon at 1e-7": ("vae", "adam_settings$epsilon <- 1e-7"),
    "Adam's epsilon at 1e-7, EMAE": ("emae", "adam_settings$epsilon <- 1e-7"),
    "the KL's sign flipped": (
        "vae",
        """right <- regularisers$vae
        regularisers$vae$value <- function(mu, log_var) -right$value(mu, log_var)
        regularisers$vae$gradient <- function(mu, log_var) lapply(right$gradient(mu, log_var), `-`)
        """,
    ),
    "only the KL's gradient flipped": (
        "vae",
        """right <- regularisers$vae$gradient
        regularisers$vae$gradient <- function(mu, log_var) lapply(right(mu, log_var), `-`)""",
    ),
    "one ReLU dropped, forward and backward": (
        "vae",
        f"""relu_forward <- function(x) if (nrow(x) == {FIRST}) x else x * (x > 0)
        relu_backward <- function(dy, y) if (nrow(y) == {FIRST}) dy else dy * (y > 0)""",
    ),
    "one ReLU dropped in the backward pass alone": (
        "vae",
        f"relu_backward <- function(dy, y) if (nrow(y) == {FIRST}) dy else dy * (y > 0)",
    ),
    "learning rate off by 0.1 %": (
        "vae",
        """right <- session_start
        session_start <- function(learning_rate, ...)
          right(learning_rate = learning_rate * 1.001, ...)""",
    ),
    "EMAE's term without its half": (
        "emae",
        "regularisers$emae$value <- function(mu, log_var) sum(mu^2)",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_port_disagrees_in_three_steps(right, mistake):
    """By the tolerances of a whole run, which are wider than those of a single step."""
    objective, patch = MISTAKES[mistake]
    run, python = right(objective)
    with PatchedBaseR(patch) as reference:
        comparison = compare_whole_runs(python, train(run, reference))
    assert not comparison.agrees
    assert summary([comparison])["verdict"] == "disagree"


@pytest.fixture
def mistaken(right):
    """What a mistake in Python gives, held against Python without it."""

    def compared():
        run, python = right("vae")
        return compare_whole_runs(train(run, PyTorchEngine("cpu")), python)

    return compared


def test_python_without_a_mistake_agrees(mistaken):
    assert mistaken().agrees


def test_a_wrong_kl_in_python_is_caught(mistaken, right, monkeypatch):
    right("vae")
    vae = objectives.OBJECTIVES["vae"]

    def negative(x, output, hyper):
        parts = vae.parts(x, output, hyper)
        return parts | {"regulariser": -parts["regulariser"]}

    wrong = objectives.OBJECTIVES | {"vae": replace(vae, parts=negative)}
    monkeypatch.setattr("pyvae.engines.pytorch.OBJECTIVES", wrong)
    assert not mistaken().agrees


def test_a_relu_dropped_in_python_is_caught(mistaken, right, monkeypatch):
    right("vae")
    relu = F.relu
    monkeypatch.setattr(F, "relu", lambda x, **_: x if x.shape[1] == FIRST else relu(x))
    assert not mistaken().agrees


def test_an_epsilon_of_adam_wrong_in_python_is_caught(mistaken, right, monkeypatch):
    right("vae")
    adam = torch.optim.Adam
    monkeypatch.setitem(ADAMS, "torch", lambda p, lr: adam(p, lr=lr, eps=1e-7))
    comparison = mistaken()
    assert not comparison.agrees
    assert comparison.quantities["loss"].max_rel < 1e-3  # the losses look alike all the same


@pytest.mark.slow
def test_nan_on_one_side_is_a_disagreement_with_the_place_where_the_two_part(compare):
    patch = """right <- bce; count <- 0
    bce <- function(q, x) { count <<- count + 1; if (count > 1) NaN else right(q, x) }"""
    (comparison,) = compare(patch=patch)
    assert not comparison.agrees
    assert comparison.failure.startswith(
        "base-r: training diverged in step 2: the loss is not a finite number; it begins with "
        "reconstruction (forward): nan"
    )
    found = comparison.divergence
    assert (found.passing, found.stage, found.wrong) == ("forward", "reconstruction", "base-r")
    assert "base-r: 1 of 1 values NaN" in found.words
    assert comparison.quantities["loss"].agrees  # of the step that both took
    assert comparison.quantities["parameter"].problem == "base-r ended after 1 step"


def test_nan_in_a_trace_is_a_disagreement_with_a_word(made):
    spoilt = replace(made[0].reference, losses=made[0].reference.losses.copy())
    spoilt.losses[1] = np.nan
    comparison = compare_whole_runs(made[0].under_test, spoilt)
    assert not comparison.agrees
    assert "nan" in comparison.quantities["loss"].problem
    about = summary([comparison])
    assert about["objectives"]["vae"]["loss"]["max_abs"] is None
    json.dumps(about, allow_nan=False)


def test_the_summary_has_what_other_tools_read(made):
    about = summary(made)
    assert {"verdict", "engine", "dtype", "data", "batch_size", "steps", "objectives"} <= set(about)
    assert (about["engine"], about["data"], about["steps"]) == ("base-r", "digits", 5)
    assert list(about["objectives"]) == ["vae", "emae"]
    for objective in about["objectives"].values():
        assert objective["verdict"] == "agree"
        for quantity in ("loss", "parameter", "latent_mean"):
            numbers = objective[quantity]
            assert {"max_abs", "max_rel", "max_ulp", "required_rtol"} <= set(numbers)
            assert 0 <= numbers["required_rtol"] <= numbers["rtol"]
    json.dumps(about, allow_nan=False)


def test_a_comparison_shows_itself_in_a_line_and_in_a_notebook(made):
    assert repr(made[0]) == "<VAE, pytorch against base-r: agree>"
    page = made[0]._repr_html_()
    assert "VAE, pytorch against base-r: agree" in page
    for name, one in made[0].quantities.items():
        assert f"<td>{name.replace('_', ' ')}</td>" in page
        assert f"<td>{one.required_rtol:.1e}</td>" in page
    failed = replace(made[0], failure="<b>cannot", note="a note")
    assert repr(failed).endswith(": disagree>")
    assert "<p>&lt;b&gt;cannot</p>\n<p>a note</p>" in failed._repr_html_()


def test_tables_hold_every_number(made):
    comparison = made[0]
    history = comparison.history()
    assert list(history.columns) == [
        "engine", "objective", "start", "epoch", "step", "total", "reconstruction", "regulariser",
        "nats_per_image",
    ]  # fmt: skip
    assert len(history) == 2 * 5
    np.testing.assert_array_equal(
        history["total"].to_numpy(),
        np.concatenate([comparison.under_test.losses[:, 0], comparison.reference.losses[:, 0]]),
    )
    means = comparison.latent_means()
    assert len(means) == 2 * 2 * 12 * 5  # engines, modes, images, dimensions
    row = means.query(
        "engine == 'base-r' and mode == 'evaluation' and image == 7 and dimension == 2"
    )
    assert row["mu"].item() == comparison.reference.latent_means["evaluation"][6, 1]


def test_traces_of_different_length_disagree(made):
    a, b = made[0].under_test, made[0].reference
    assert compare_whole_runs(a, b).agrees
    comparison = compare_whole_runs(a, replace(b, losses=b.losses[:4], epochs=b.epochs[:4]))
    assert not comparison.agrees
    assert "shape (5,) against (4,)" in comparison.quantities["loss"].problem


def test_exactly_every_quantity_has_to_be_equal(conv, settings, digits):
    run = settings(rng="torch", steps=2)
    a, b = (train(Run(conv, run, digits), PyTorchEngine("cpu")) for _ in range(2))
    comparison = compare_whole_runs(a, b, exact=True)
    assert comparison.agrees
    about = summary([comparison])
    assert (about["exact"], about["rng"]) == (True, "torch")
    for name in comparison.quantities:
        numbers = about["objectives"]["vae"][name]
        assert numbers["max_ulp"] == numbers["max_abs"] == numbers["rtol"] == 0

    def changed(values, place):
        values = values.copy()
        values[place] = np.nextafter(values[place], np.inf)
        return values

    name, mode = "encoder.fc1.bias", "training"
    for quantity, changes in {
        "loss": {"losses": changed(b.losses, (1, 0))},
        "reconstruction": {"losses": changed(b.losses, (0, 1))},
        "regulariser": {"losses": changed(b.losses, (1, 2))},
        "parameter": {"parameters": b.parameters | {name: changed(b.parameters[name], 7)}},
        "latent_mean": {
            "latent_means": b.latent_means | {mode: changed(b.latent_means[mode], (3, 2))}
        },
    }.items():
        other = replace(b, **changes)
        assert compare_whole_runs(a, other).agrees
        found = compare_whole_runs(a, other, exact=True)
        apart = [name for name, agreement in found.quantities.items() if not agreement.agrees]
        assert apart == [quantity]
        assert found.quantities[quantity].max_ulp == 1
        json.dumps(summary([found]), allow_nan=False)
