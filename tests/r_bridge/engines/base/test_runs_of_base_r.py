"""Runs in base R, with PyTorch's draws and with R's own generator."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from alike.arrays import part, same
from alike.runs import (
    assert_being_looked_into_changes_nothing,
    assert_close,
    assert_goes_on,
    assert_probes_alike,
    assert_same_bits,
    go_through,
)
from stand_ins.patched_r import PatchedBaseR

from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.training.loop import train
from r_bridge import R_FILES
from r_bridge.engines.base_r import BaseREngine

pytestmark = pytest.mark.r


@pytest.mark.parametrize("objective", ["vae", "emae", "em"])
def test_a_run_gives_the_trace_of_pytorch(r, conv, settings, digits, objective):
    run = settings(objective=objective, steps=4)
    a = train(Run(conv, run, digits), PyTorchEngine("cpu"))
    b = train(Run(conv, run, digits), r)
    np.testing.assert_allclose(b.losses, a.losses, rtol=1e-13)
    assert list(b.parameters) == list(a.parameters)
    for name in a.parameters:
        assert b.parameters[name].shape == a.parameters[name].shape
        np.testing.assert_allclose(b.parameters[name], a.parameters[name], atol=1e-10)
    for mode in ("training", "evaluation"):
        np.testing.assert_allclose(b.latent_means[mode], a.latent_means[mode], atol=1e-11)
    np.testing.assert_allclose(b.samples, a.samples, atol=1e-12)


def test_a_float32_run_gives_r_the_values_that_pytorch_sees(r, conv, settings, digits):
    run = settings(dtype="float32", steps=2)
    a = train(Run(conv, run, digits), PyTorchEngine("cpu"))
    b = train(Run(conv, run, digits), r)
    assert a.parameters["encoder.fc1.weight"].dtype == np.float32
    assert b.parameters["encoder.fc1.weight"].dtype == np.float64
    np.testing.assert_allclose(b.losses, a.losses, rtol=1e-5)


def test_two_runs_in_one_process_do_not_touch_each_other(r, conv, settings, digits):
    first = train(Run(conv, settings(), digits), r)
    train(Run(conv, settings(objective="emae", batch_size=4, latent_dim=3), digits), r)
    again = train(Run(conv, settings(), digits), r)
    assert np.array_equal(first.losses, again.losses)


@pytest.mark.slow
def test_a_changed_r_gives_other_numbers(conv, settings, digits):
    with PatchedBaseR("adam_settings$beta1 <- 0.5") as engine:
        patched = train(Run(conv, settings(), digits), engine)
        plain = train(Run(conv, settings(), digits), PyTorchEngine("cpu"))
    assert patched.losses[0] == pytest.approx(plain.losses[0], rel=1e-13)
    assert patched.losses[2] != pytest.approx(plain.losses[2], rel=1e-9)


def test_the_environment_names_r_and_its_blas(r):
    about = r.environment()
    assert about["R"].count(".") == 2
    assert about["threads"] == "1"
    assert "blas" in about


@pytest.mark.parametrize("objective", ["vae", pytest.param("emae", marks=pytest.mark.slow)])
def test_a_seed_alone_brings_the_run_that_pytorch_repeats(r, conv, settings, few, objective):
    """Into a second epoch; R's generator stands where its repetition in Python does, throughout."""
    run = settings(rng="r", objective=objective, steps=3)
    a, expected, python = go_through(PyTorchEngine("cpu"), conv, run, few, probed=(1, 3))
    b, found, here = go_through(r, conv, run, few, probed=(1, 3))
    assert_close(b, a)
    assert {"draw/dropout1", "draw/dropout2", "draw/noise"} <= expected[1].keys()
    assert_probes_alike(found[1], expected[1])
    assert_probes_alike(found[3], expected[3], 1e-8)  # what two steps have made of rounding
    for mine, state in zip(here, python, strict=True):
        assert mine.dtype == np.int32
        assert np.array_equal(mine[1:], state)  # R's begins with the kinds
    # masks and noise in every step, masks and latents at the end
    assert len({state.tobytes() for state in here}) == 4


def test_before_the_first_step_both_hold_the_same_bits(r, conv, settings):
    run = settings(rng="r", seed=7)
    python = PyTorchEngine("cpu")
    for engine in (python, r):
        engine.start(conv, run, None)
    assert_same_bits(r.state(), python.state())
    assert np.array_equal(r.batch_order(1797), python.batch_order(1797))
    assert np.array_equal(r.latents(3), python.latents(3))
    other = r.latents(3)
    assert other.shape == (3, 5)
    assert not np.array_equal(other, python.latents(4)[:3])  # of other numbers of draws
    r.start(conv, replace(run, seed=8), None)
    assert not same(part(r.state(), "parameter"), part(python.state(), "parameter"))


def test_the_means_of_an_image_depend_on_draws_in_training_alone(r, conv, settings, digits):
    x = digits.batch(np.arange(10), torch.float64)
    r.start(conv, settings(rng="r"), None)
    before = r.generator_state()
    evaluation = r.latent_means(x, None, training=False)
    assert np.array_equal(r.latent_means(x, None, training=False), evaluation)
    assert np.array_equal(r.generator_state(), before)
    training = r.latent_means(x, None, training=True)
    after = r.generator_state()
    assert not np.allclose(training, evaluation)
    assert not np.array_equal(after, before)
    r.restore_generator(before)
    assert np.array_equal(r.latent_means(x, None, training=True), training)
    assert np.array_equal(r.generator_state(), after)


def test_being_looked_into_draws_no_more(r, conv, settings, few):
    assert_being_looked_into_changes_nothing(r, conv, settings(rng="r"), few)


@pytest.mark.parametrize("rng", ["r", pytest.param("injected", marks=pytest.mark.slow)])
def test_a_run_goes_on_from_a_checkpoint_to_the_bit(r, conv, settings, few, rng):
    assert_goes_on(r, conv, settings(rng=rng, steps=5), few)


def bits(trace):
    """All that a run has computed, to the bit."""
    arrays = {"losses": trace.losses, "samples": trace.samples}
    arrays |= trace.latent_means | {f"parameter/{k}": v for k, v in trace.parameters.items()}
    return {name: (value.shape, value.tobytes()) for name, value in arrays.items()}


def short_run(threads, recipe, run, data, **options):
    """In a fresh R."""
    with BaseREngine(threads) as engine:
        return bits(train(Run(recipe, run, data), engine, **options))


@pytest.mark.parametrize("name", ["conv", "mlp"])
def test_another_process_and_another_thread_bring_the_same_bits(r, settings, few, name):
    """Looked into in every step, too; with R's own draws where it has some."""
    recipe = get_recipe(name)
    run = settings(rng="r")
    if name != "conv":
        run = recipe.settings(batch_size=5, steps=3, dtype="float64")
    with ThreadPoolExecutor(1) as pool:
        elsewhere = pool.submit(short_run, 1, recipe, run, few, probe=lambda step: {}).result()
    assert elsewhere == bits(train(Run(recipe, run, few), r))


@pytest.mark.slow
def test_the_same_number_of_threads_brings_the_same_bits(conv, settings, few):
    first, second = (short_run(2, conv, settings(steps=2), few) for _ in range(2))
    assert first == second


def test_an_injected_run_has_no_generator(r, conv, settings):
    run = settings()
    r.start(conv, run, conv.initial_parameters(run.seed, run.latent_dim))
    assert r.generator_state() is None


@pytest.mark.parametrize("seed", [0, 2**31 - 1])
def test_rs_smallest_and_largest_seed(r, conv, settings, seed):
    python = PyTorchEngine("cpu")
    for engine in (python, r):
        engine.start(conv, settings(rng="r", seed=seed), None)
    assert_same_bits(r.state(), python.state())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"rng": "r", "seed": 2**31},
            "--seed 2147483648 with the generator of engine base-r: expected 0 to 2147483647",
        ),
        (
            {"rng": "torch"},
            "engine base-r cannot draw with the generator 'torch'. Use --rng injected or native.",
        ),
    ],
)
def test_what_base_rs_generator_cannot_do_is_one_line(r, conv, settings, changes, words):
    with pytest.raises(UserError) as caught:
        r.start(conv, settings(**changes), None)
    assert str(caught.value) == words


def test_both_sessions_answer_what_engines_ask():
    """With the same arguments, in base R and in R torch; R's partial matching would hide others."""
    asked = set(
        re.findall(r'"(session_\w+)"', (R_FILES.parent / "engines" / "base.py").read_text())
    )
    declared = [
        dict(re.findall(r"^(session_\w+) <- function\((.*?)\)", text, re.MULTILINE | re.DOTALL))
        for text in (
            (R_FILES / f"{name}.R").read_text() for name in ("base_r/session", "torch/session")
        )
    ]
    asked.add("session_start")  # each engine's own
    common = asked & declared[0].keys() & declared[1].keys()
    assert asked <= declared[0].keys() | declared[1].keys()
    assert {"session_start", "session_step", "session_state", "session_latents"} <= common
    assert len(common) == 11
    for name in common - {"session_start"}:
        names = [re.findall(r"(\w+)(?: = [^,]*)?(?:,|$)", one[name]) for one in declared]
        assert names[0] == names[1], name
