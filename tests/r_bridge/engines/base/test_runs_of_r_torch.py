"""Runs in R's torch are PyTorch's in every bit, with its draws and with its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from alike.arrays import same
from alike.runs import (
    assert_being_looked_into_changes_nothing,
    assert_close,
    assert_goes_on,
    assert_probes_alike,
    assert_same_bits,
    go_through,
)
from stand_ins.patched_r import PatchedRTorch

from pyvae.engines.engine import DivergedError
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.model.draws import Draws
from pyvae.model.run import Run
from pyvae.training.loop import train
from r_bridge.errors import RError

pytestmark = pytest.mark.r


def in_r_torchs_order():
    return PyTorchEngine("cpu", adam="r-torch", kernels="torch")


@pytest.mark.r_torch
@pytest.mark.parametrize(
    ("dtype", "objective"),
    [
        ("float32", "vae"),
        ("float64", "emae"),
        pytest.param("float32", "emae", marks=pytest.mark.slow),
        pytest.param("float64", "vae", marks=pytest.mark.slow),
    ],
)
def test_r_torch_and_pytorch_are_equal_in_every_bit(rt, conv, settings, few, dtype, objective):
    run = settings(rng="torch", dtype=dtype, objective=objective, steps=5)
    a, expected, python = go_through(in_r_torchs_order(), conv, run, few, probed=(1, 3))
    b, found, here = go_through(rt, conv, run, few, probed=(1, 3))
    assert np.array_equal(b.losses, a.losses)
    assert np.array_equal(b.epochs, a.epochs)
    assert_same_bits(b.parameters, a.parameters)
    assert_same_bits(b.latent_means, a.latent_means)
    assert np.array_equal(b.samples, a.samples)
    assert np.array_equal(here, python)
    for step in (1, 3):
        seen = {k: value for k, value in expected[step].items() if not k.startswith("draw/")}
        assert_same_bits(found[step], seen)


@pytest.mark.r_torch
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pytorchs_own_adam_differs_from_the_second_step_on(rt, conv, settings, few, dtype):
    """The bits above are no accident: with lerp_ they are others."""
    run = settings(rng="torch", dtype=dtype, steps=5)
    a, b = (train(Run(conv, run, few), engine) for engine in (PyTorchEngine("cpu"), rt))
    assert np.array_equal(a.losses[:2], b.losses[:2])
    assert not np.array_equal(a.losses, b.losses)
    np.testing.assert_allclose(a.losses, b.losses, rtol=1e-4 if dtype == "float32" else 1e-12)


@pytest.mark.r_torch
@pytest.mark.parametrize("objective", ["vae", pytest.param("emae", marks=pytest.mark.slow)])
def test_r_torch_on_injected_draws_agrees_to_rounding(rt, r, conv, settings, few, objective):
    """With PyTorch, whose Adam has the other order of operations, and with base R."""
    run = settings(objective=objective, steps=5)
    a, expected, _ = go_through(PyTorchEngine("cpu"), conv, run, few, probed=(1,))
    b, found, stood = go_through(rt, conv, run, few, probed=(1,))
    assert_close(b, a)
    assert_probes_alike(found[1], expected[1], 1e-13)
    assert stood == [None] * 6
    assert_close(b, train(Run(conv, run, few), r))


@pytest.mark.r_torch
def test_an_injected_float32_run_is_equal_in_every_bit_too(rt, conv, settings, few):
    run = settings(dtype="float32")
    a, b = (train(Run(conv, run, few), engine) for engine in (in_r_torchs_order(), rt))
    assert np.array_equal(a.losses, b.losses)
    assert_same_bits(b.parameters, a.parameters)


@pytest.mark.r_torch
def test_losses_of_r_torch_are_in_double_precision(rt, conv, settings, digits):
    """R torch makes float32 of 0.5 * x where x is a sum: 1e-8 of it would be lost."""
    run = settings(rng="torch", steps=1)
    (losses,) = train(Run(conv, run, digits), rt).losses
    assert not np.array_equal(losses, losses.astype(np.float32))
    assert losses[0] == losses[1] + losses[2]


@pytest.mark.r_torch
@pytest.mark.parametrize("rng", ["torch", pytest.param("injected", marks=pytest.mark.slow)])
def test_a_run_of_r_torch_goes_on_from_a_checkpoint_to_the_bit(rt, conv, settings, few, rng):
    assert_goes_on(rt, conv, settings(rng=rng, dtype="float32", steps=5), few)


@pytest.mark.r_torch
def test_r_torch_draws_no_more_for_being_looked_into(rt, conv, settings, few):
    run = settings(rng="torch", dtype="float32")
    assert_being_looked_into_changes_nothing(rt, conv, run, few)


@pytest.mark.r_torch
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("steps", [0, 1])
def test_pytorchs_state_goes_into_r_torch_and_back(rt, conv, settings, digits, dtype, steps):
    """Before the first step, too."""
    run = settings(dtype=dtype)
    parameters = conv.initial_parameters(run.seed, run.latent_dim)
    python = in_r_torchs_order()
    python.start(conv, run, parameters)
    draws = Draws(run.seed, dtype).step(0, run.batch_size, conv.draws(run.latent_dim))
    x = digits.batch(np.arange(run.batch_size), run.torch_dtype)
    for _ in range(steps):
        python.step(x, draws)
    state = python.state()
    rt.start(conv, run, conv.initial_parameters(99, run.latent_dim))
    rt.restore(state)
    back = rt.state()
    assert back["step"].shape == ()
    assert_same_bits(back, state)
    losses = [engine.step(x, draws).double() for engine in (python, rt)]
    assert torch.equal(*losses)
    assert_same_bits(rt.state(), python.state())


@pytest.mark.r_torch
def test_r_torchs_means_in_both_modes(rt, conv, settings, digits):
    run = settings(rng="torch")
    x = digits.batch(np.arange(30), torch.float64)
    python = in_r_torchs_order()
    for engine in (python, rt):
        engine.start(conv, run, None)
    for training in (True, False, True):
        a, b = (engine.latent_means(x, None, training) for engine in (python, rt))
        assert np.array_equal(a, b)
    assert np.array_equal(rt.latents(16), python.latents(16))
    assert np.array_equal(rt.batch_order(1797), python.batch_order(1797))
    assert np.array_equal(rt.generator_state(), python.generator_state())


@pytest.mark.r_torch
@pytest.mark.parametrize("seed", [0, 2**31, 2**32 + 1, 2**53 - 1, 2**53])
def test_seeds_reach_r_torch_whole(rt, conv, settings, seed):
    python = in_r_torchs_order()
    for engine in (python, rt):
        engine.start(conv, settings(rng="torch", seed=seed), None)
    assert same(rt.state(), python.state())
    assert np.array_equal(rt.generator_state(), python.generator_state())


@pytest.mark.r_torch
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"rng": "torch", "seed": 2**53 + 1},
            f"--seed {2**53 + 1} with the generator of engine r-torch: expected 0 to {2**53}",
        ),
        (
            {"rng": "r"},
            "engine r-torch cannot draw with the generator 'r'. Use --rng injected or native.",
        ),
    ],
)
def test_what_r_torchs_generator_cannot_do_is_one_line(rt, conv, settings, changes, words):
    with pytest.raises(UserError) as caught:
        rt.start(conv, settings(**changes), None)
    assert str(caught.value) == words


@pytest.mark.r_torch
def test_r_torchs_environment_names_both_torches(rt):
    about = rt.environment()
    assert about["R torch"].split(".")[0].isdecimal()
    assert about["LibTorch"].split(".")[0].isdecimal()
    assert about["threads"] == str(torch.get_num_threads())
    assert rt.process.call("torch_get_num_threads") == torch.get_num_threads()


@pytest.mark.r_torch
def test_a_run_of_r_torch_that_diverges_is_told_as_pytorchs(rt, conv, settings, few):
    run = settings(rng="torch", learning_rate=1e6)
    for engine in (rt, PyTorchEngine("cpu")):
        with pytest.raises(DivergedError, match="Try a smaller --learning-rate"):
            train(Run(conv, run, few), engine)


@pytest.mark.r_torch
@pytest.mark.slow
def test_an_error_in_r_torch_has_rs_text_and_place_and_keeps_what_was_seen(conv, settings, digits):
    patch = """torch_layers$kl_normal <- function(s) {
      mu <- s$x[[1L]]
      if (ncol(mu) != 5L) stop("the mean has ", ncol(mu), " columns")
      torch_matmul(mu, s$x[[2L]])
    }"""
    with PatchedRTorch(patch) as engine:
        run = settings(objective="vae", steps=1)
        with pytest.raises(RError, match=r"the mean has 4 columns.*at session.R line"):
            train(Run(conv, replace(run, latent_dim=4), digits), engine)
        probe: dict = {}
        with pytest.raises(RError, match="shapes cannot be multiplied") as caught:
            train(Run(conv, run, digits), engine, probe=lambda step: probe)
        assert "Exception raised from" not in str(caught.value)  # frames of C++
        train(Run(conv, replace(run, objective="emae"), digits), engine)  # R lives on
    assert {"start/encoder.conv1.weight", "forward/input", "forward/decoder.sigmoid"} <= set(probe)
    assert not any(key.startswith(("gradient/", "parameter/")) for key in probe)
