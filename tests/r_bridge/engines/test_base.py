"""The R engines: base R's layers and gradients by independent computations; their own generators,
and R's torch, against PyTorch."""

from __future__ import annotations

import math
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import optimize, signal
from stand_ins.patched_r import PatchedBaseR, PatchedRTorch

from pyvae.engines.engine import DivergedError
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.model.draws import Draws
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.run import Run
from pyvae.model.stages import quantities
from pyvae.recipes import get_recipe
from pyvae.training.checkpoint import Checkpoint
from pyvae.training.loop import train
from r_bridge import R_FILES
from r_bridge.engines import stage_network
from r_bridge.engines.base import _flat
from r_bridge.engines.base_r import BaseREngine
from r_bridge.engines.r_torch import RTorchEngine
from r_bridge.errors import RError

pytestmark = pytest.mark.r


@pytest.fixture(scope="module")
def r():
    with BaseREngine(threads=1) as engine:
        yield engine


@pytest.fixture
def images(request):
    """How many are in a batch: more where every bit is to be equal, which small sums are anyway."""
    return 12 if request.node.get_closest_marker("r_torch") else 5


@pytest.fixture
def settings(settings, images):
    """Makes settings for a short run."""
    return lambda **changes: settings(**{"batch_size": images} | changes)


@pytest.fixture
def parts_of_two(conv, monkeypatch):
    """R works on no more than two images at a time."""
    numbers = sum(math.prod(shape) for stage in conv.stages for shape in stage.shapes)
    monkeypatch.setattr(stage_network, "CHUNK", 2 * numbers)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def maps(x):
    """(N, C, H, W) as R's layers hold it: c(C, W, H, N)."""
    return x.transpose(1, 3, 2, 0)


def evaluate(r, code, **values):
    """Evaluates R code on the given values."""
    names = ", ".join(values)
    r.process.evaluate(f"under_test <- function({names}) {{ {code} }}; NULL")
    return r.process.call("under_test", **values)


def test_conv2d_is_scipys_correlation(r, rng):
    x, w, b = rng.normal(size=(2, 3, 6, 5)), rng.normal(size=(4, 3, 3, 3)), rng.normal(size=4)
    y = evaluate(r, "conv2d_forward(x, w, b)$y", x=maps(x), w=w, b=b)
    expected = np.stack(
        [[b[o] + signal.correlate(image, w[o], mode="valid")[0] for o in range(4)] for image in x]
    )
    np.testing.assert_allclose(y, maps(expected), atol=1e-13)


def test_max_pool_gives_ties_to_the_first_in_reading_order(r):
    """All sixteen patterns of one window's corners being equal to its largest."""
    patterns = np.array([[(k >> i) & 1 for i in range(4)] for k in range(16)], dtype=float)
    x = patterns.reshape(1, 16, 2, 2)
    tensor = torch.tensor(x, requires_grad=True)
    pooled = F.max_pool2d(tensor, 2)
    dy = torch.arange(1.0, 17, dtype=torch.float64).reshape(pooled.shape)
    pooled.backward(dy)
    back = evaluate(
        r,
        """forward <- max_pool2d_forward(x)
        list(y = forward$y, x = max_pool2d_backward(dy, x, forward$winner))""",
        x=maps(x),
        dy=maps(dy.numpy()),
    )
    assert np.array_equal(back["y"], maps(pooled.detach().numpy()))
    assert np.array_equal(back["x"], maps(tensor.grad.numpy()))
    assert (back["x"] != 0).sum() == 16  # one element of each window, no more


def test_bce_and_its_gradient_are_torchs_at_the_edges_too(r):
    q = np.array([[0.0, 1.0, 0.0, 1.0, 1e-300, 1 - 1e-16, 0.3, 1e-13]])
    x = np.array([[0.0, 1.0, 1.0, 0.0, 0.5, 0.5, 0.7, 0.2]])
    tensor = torch.tensor(q, requires_grad=True)
    loss = F.binary_cross_entropy(tensor, torch.tensor(x), reduction="sum")
    loss.backward()
    back = evaluate(r, "list(value = bce(q, x), gradient = bce_backward(q, x))", q=q, x=x)
    np.testing.assert_allclose(back["value"], loss.item(), rtol=1e-15)
    np.testing.assert_allclose(back["gradient"], tensor.grad, rtol=1e-15)


@pytest.mark.parametrize("objective", ["vae", "emae", "em"])
def test_regularisers_gradients_are_finite_differences(r, rng, objective):
    mu, log_var = rng.normal(size=(2, 3, 4))
    value = f"regularisers${objective}$value(mu, log_var)"
    gradient = evaluate(
        r, f"regularisers${objective}$gradient(mu, log_var)", mu=mu, log_var=log_var
    )

    def at(theta):
        mu, log_var = theta.reshape(2, 3, 4)
        return evaluate(r, value, mu=mu, log_var=log_var)[0]

    theta = np.stack([mu, log_var]).ravel()
    numeric = optimize.approx_fprime(theta, at, 1e-6).reshape(2, 3, 4)
    np.testing.assert_allclose(gradient["mu"], numeric[0], atol=1e-5)
    np.testing.assert_allclose(gradient["log_var"], numeric[1], atol=1e-5)


@pytest.mark.parametrize("noisy", [True, False])
def test_the_samples_gradients_are_finite_differences(r, rng, noisy):
    mu, log_var, noise, dz = rng.normal(size=(4, 3, 4))
    noise = noise if noisy else None
    forward = evaluate(
        r, "reparameterise_forward(mu, log_var, noise)", mu=mu, log_var=log_var, noise=noise
    )
    sigma = np.exp(log_var) ** 0.5
    np.testing.assert_allclose(forward, mu + sigma * noise if noisy else mu, atol=1e-14)
    back = evaluate(
        r, "reparameterise_backward(dz, log_var, noise)", dz=dz, log_var=log_var, noise=noise
    )

    def at(theta):
        mu, log_var = theta.reshape(2, 3, 4)
        code = "sum(dz * reparameterise_forward(mu, log_var, noise))"
        return evaluate(r, code, dz=dz, mu=mu, log_var=log_var, noise=noise)[0]

    theta, h = np.stack([mu, log_var]).ravel(), 1e-5
    steps = h * np.eye(theta.size)
    numeric = np.array([(at(theta + d) - at(theta - d)) / (2 * h) for d in steps])
    for name, expected in zip(("mu", "log_var"), numeric.reshape(2, 3, 4), strict=True):
        np.testing.assert_allclose(back[name], expected, rtol=0, atol=1e-8)


def start(r, conv, settings, digits, objective, **changes):
    """A session at the initial parameters, and the first batch with its draws."""
    run = settings(objective=objective, **changes)
    parameters = conv.initial_parameters(run.seed, run.latent_dim)
    r.start(conv, run, parameters)
    draws = Draws(run.seed).step(0, run.batch_size, conv.draws(run.latent_dim))
    x = digits.batch(np.arange(run.batch_size), torch.float64)
    return run, parameters, x, draws


@pytest.mark.parametrize("objective", ["vae", "emae", "em"])
def test_every_parameters_gradient_is_autograds(r, conv, settings, digits, objective):
    run, parameters, x, draws = start(r, conv, settings, digits, objective)
    network = conv.network(run.latent_dim).double()
    network.load_state_dict(parameters)
    tensors = {name: torch.from_numpy(draw) for name, draw in draws.items()}
    losses = OBJECTIVES[objective](x, network(x, tensors))
    losses["total"].backward()
    back = r.process.call("session_gradients", session=r.session, x=x.numpy(), draws=_flat(draws))
    np.testing.assert_allclose(
        back["losses"], [losses[name].item() for name in OBJECTIVES[objective].terms], rtol=1e-13
    )
    assert list(back["gradients"]) == list(parameters)
    for name, parameter in network.named_parameters():
        expected = parameter.grad.numpy()
        scale = np.abs(expected).max()
        np.testing.assert_allclose(back["gradients"][name], expected, atol=1e-13 * scale)


@pytest.mark.parametrize("objective", ["vae", "emae", "em"])
def test_gradients_are_finite_differences_of_rs_own_loss(r, conv, settings, digits, objective):
    """Independent of PyTorch: a step along a random direction changes the loss as promised."""
    _, _, x, draws = start(r, conv, settings, digits, objective, batch_size=4)
    arguments = {"session": r.session, "x": x.numpy(), "draws": _flat(draws)}
    r.process.evaluate(
        """along <- function(session, x, draws, h) {
          p <- session$parameters
          set.seed(1)
          direction <- lapply(p, function(v) array(rnorm(length(v)), dim = if (is.null(dim(v)))
            length(v) else dim(v)) * 1e-3)
          loss <- function(t) {
            session$parameters <- Map(function(v, d) v + t * c(d), p, direction)
            value <- session_gradients(session, x, draws)$losses[["total"]]
            session$parameters <- p
            value
          }
          g <- session_gradients(session, x, draws)$gradients
          c((loss(h) - loss(-h)) / (2 * h), sum(mapply(function(a, b) sum(a * b), g, direction)))
        }; NULL"""
    )
    numeric, promised = r.process.call("along", h=1e-4, **arguments)
    assert numeric == pytest.approx(promised, rel=1e-4)


def test_parts_of_a_batch_add_up(r, conv, settings, digits):
    _, parameters, x, draws = start(r, conv, settings, digits, "vae", batch_size=7)
    arguments = {"session": r.session, "x": x.numpy(), "draws": _flat(draws)}
    r.process.evaluate(
        "with_chunk <- function(session, x, draws, chunk) { session$chunk <- chunk;"
        "session_gradients(session, x, draws) }; NULL"
    )
    whole = r.process.call("with_chunk", chunk=7, **arguments)
    for chunk in (1, 3):
        parts = r.process.call("with_chunk", chunk=chunk, **arguments)
        np.testing.assert_allclose(parts["losses"], whole["losses"], rtol=1e-14)
        for name in parameters:
            scale = np.abs(whole["gradients"][name]).max()
            np.testing.assert_allclose(
                parts["gradients"][name], whole["gradients"][name], atol=1e-13 * scale
            )


def test_adam_is_the_papers_algorithm(r, rng):
    theta = rng.normal(size=20)
    gradients = rng.normal(size=(5, 20)) * 10.0 ** np.linspace(-9, 2, 20)
    m = v = np.zeros(20)
    expected = theta.copy()
    for t, g in enumerate(gradients, start=1):
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        m_hat, v_hat = m / (1 - 0.9**t), v / (1 - 0.999**t)
        expected = expected - 0.01 * m_hat / (np.sqrt(v_hat) + 1e-8)
    result = evaluate(
        r,
        """p <- list(theta = theta); s <- adam_state(p)
        for (t in seq_len(nrow(g))) {
          step <- adam_step(p, list(theta = g[t, ]), s, 0.01)
          p <- step$parameters; s <- step$state
        }
        p$theta""",
        theta=theta,
        g=gradients,
    )
    np.testing.assert_allclose(result, expected, rtol=1e-12)


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


def step_of(conv, digits, run, step):
    """The images and draws of one step (from 0)."""
    draws = Draws(run.seed).step(step, run.batch_size, conv.draws(run.latent_dim))
    rows = np.arange(step * run.batch_size, (step + 1) * run.batch_size)
    return digits.batch(rows, torch.float64), draws


def part(probe, kind):
    return {k.split("/", 1)[1]: value for k, value in probe.items() if k.startswith(f"{kind}/")}


def same(one, two):
    """Whether two dicts of arrays are the same to the bit."""
    return one.keys() == two.keys() and all(
        one[key].dtype == two[key].dtype
        and one[key].shape == two[key].shape
        and one[key].tobytes() == two[key].tobytes()
        for key in one
    )


# more than one of R's parts with a last one that is not full; whole parts; one; less than one. They
# are no matter of the objective.
objectives_and_sizes = pytest.mark.parametrize(
    ("objective", "batch_size"),
    [("vae", 5), ("vae", 4), ("vae", 2), ("vae", 1), ("emae", 5), ("em", 5)],
)


@pytest.mark.slow
@pytest.mark.usefixtures("parts_of_two")
@objectives_and_sizes
def test_being_looked_into_changes_no_bit_of_a_step(
    r, conv, settings, digits, objective, batch_size
):
    ends = []
    for probes in ((None, None), ({}, {})):
        run, *_ = start(r, conv, settings, digits, objective, batch_size=batch_size)
        losses = [r.step(*step_of(conv, digits, run, k), probes[k]) for k in range(2)]
        ends.append((torch.stack(losses), r.state(), r.parameters()))
    (plain, state, parameters), (probed, state_too, parameters_too) = ends
    assert torch.equal(plain, probed)
    assert same(state, state_too)
    assert same(parameters, parameters_too)
    assert not torch.equal(plain[0], plain[1])


@pytest.mark.usefixtures("parts_of_two")
@objectives_and_sizes
@pytest.mark.parametrize("latent_dim", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_every_stage_agrees_with_pytorchs(
    r, conv, settings, digits, objective, batch_size, latent_dim
):
    """In the second step, which starts from PyTorch's state: moments are there."""
    run, parameters, *_ = start(
        r, conv, settings, digits, objective, batch_size=batch_size, latent_dim=latent_dim
    )
    python = PyTorchEngine("cpu")
    python.start(conv, run, parameters)
    python.step(*step_of(conv, digits, run, 0))
    state = python.state()
    r.restore(state)
    expected, found = {}, {}
    losses = python.step(*step_of(conv, digits, run, 1), expected)
    torch.testing.assert_close(
        r.step(*step_of(conv, digits, run, 1), found), losses, rtol=1e-13, atol=0
    )
    promised = quantities(conv.stages, conv.parameter_names(latent_dim))
    assert found.keys() == {quantity.key for quantity in promised}
    for key, value in expected.items():
        assert found[key].shape == value.shape, key
        assert found[key].dtype == np.float64, key
        # where a gradient is small against epsilon, Adam multiplies its rounding by up to
        # learning rate / epsilon: 1e5
        tolerance = 1e-9 if key.startswith("parameter/") else 1e-12
        scale = np.abs(value).max()
        np.testing.assert_allclose(found[key], value, rtol=0, atol=tolerance * scale, err_msg=key)
    for name in parameters:
        assert np.array_equal(found[f"start/{name}"], state[f"parameter/{name}"])


def test_a_probes_moments_and_parameters_are_adams(r, conv, settings, digits):
    run, parameters, *_ = start(r, conv, settings, digits, "vae", learning_rate=3e-3)
    m = v = dict.fromkeys(parameters, 0.0)
    for step in (1, 2):
        probe = {}
        r.step(*step_of(conv, digits, run, step - 1), probe)
        gradient, moment1, moment2 = (part(probe, k) for k in ("gradient", "moment1", "moment2"))
        for name in parameters:
            g, scale = gradient[name], np.abs(gradient[name]).max()
            m_now, v_now = 0.1 * g + 0.9 * m[name], 0.001 * g**2 + 0.999 * v[name]
            np.testing.assert_allclose(moment1[name], m_now, rtol=0, atol=1e-14 * scale)
            np.testing.assert_allclose(moment2[name], v_now, rtol=0, atol=1e-14 * scale**2)
            m_hat, v_hat = moment1[name] / (1 - 0.9**step), moment2[name] / (1 - 0.999**step)
            expected = probe[f"start/{name}"] - 3e-3 * m_hat / (np.sqrt(v_hat) + 1e-8)
            np.testing.assert_allclose(probe[f"parameter/{name}"], expected, rtol=0, atol=1e-14)
        m, v = moment1, moment2
    assert same(part(probe, "parameter"), r.parameters())


def test_later_steps_leave_a_probe_alone(r, conv, settings, digits):
    run, *_ = start(r, conv, settings, digits, "vae")
    probe = {}
    r.step(*step_of(conv, digits, run, 0), probe)
    kept = {key: value.copy() for key, value in probe.items()}
    r.step(*step_of(conv, digits, run, 1), {})
    r.step(*step_of(conv, digits, run, 2))
    assert same(probe, kept)


@pytest.mark.usefixtures("parts_of_two")
def test_a_step_that_failed_half_way_leaves_nothing_to_the_next(r, conv, settings, digits):
    """It fails in R's second part of the batch, when the first is already in the sums."""
    run, *_ = start(r, conv, settings, digits, "vae", batch_size=4)
    x, draws = step_of(conv, digits, run, 0)
    expected = {}
    losses = r.step(x, draws, expected)
    run, *_ = start(r, conv, settings, digits, "vae", batch_size=4)
    probe = {}
    with pytest.raises(RError, match="non-conformable"):
        r.step(x, draws | {"noise": draws["noise"][:3]}, probe)
    assert {"forward/encoder.conv1", "start/encoder.conv1.weight"} <= probe.keys()
    assert not {"forward/total", "parameter/encoder.conv1.weight"} & probe.keys()
    again = {}
    assert torch.equal(r.step(x, draws, again), losses)
    assert same(again, expected)


@pytest.mark.parametrize("objective", ["vae", "emae", "em"])
def test_a_run_goes_on_from_a_state_to_the_bit(r, conv, settings, digits, objective):
    run, *_ = start(r, conv, settings, digits, objective)
    for step in range(2):
        r.step(*step_of(conv, digits, run, step))
    state = r.state()
    assert state["step"].shape == ()
    assert state["step"] == 2
    kept = {key: value.copy() for key, value in state.items()}
    whole = [r.step(*step_of(conv, digits, run, step)) for step in (2, 3)], r.state()

    r.start(conv, run, conv.initial_parameters(99, run.latent_dim))
    r.restore(state)
    assert same(r.state(), kept)
    on = [r.step(*step_of(conv, digits, run, step)) for step in (2, 3)], r.state()
    assert torch.equal(torch.stack(on[0]), torch.stack(whole[0]))
    assert same(on[1], whole[1])
    assert on[1]["step"] == 4
    assert same(state, kept)


def test_the_state_before_the_first_step_is_the_start(r, conv, settings, digits):
    run, parameters, *_ = start(r, conv, settings, digits, "vae")
    state = r.state()
    assert state["step"] == 0
    for name, value in parameters.items():
        assert np.array_equal(state[f"parameter/{name}"], value.double().numpy())
        for kind in ("moment1", "moment2"):
            assert state[f"{kind}/{name}"].shape == tuple(value.shape)
            assert not state[f"{kind}/{name}"].any()
    losses = r.step(*step_of(conv, digits, run, 0))
    after = r.state()
    r.start(conv, run, conv.initial_parameters(99, run.latent_dim))
    r.restore(state)
    assert torch.equal(r.step(*step_of(conv, digits, run, 0)), losses)
    assert same(r.state(), after)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pytorchs_state_goes_into_r_and_back_exactly(r, conv, settings, digits, dtype):
    run, parameters, *_ = start(r, conv, settings, digits, "vae", dtype=dtype)
    python = PyTorchEngine("cpu")
    python.start(conv, run, parameters)
    draws = Draws(run.seed, dtype).step(0, run.batch_size, conv.draws(run.latent_dim))
    python.step(digits.batch(np.arange(run.batch_size), run.torch_dtype), draws)
    state = python.state()
    r.restore(state)
    back = r.state()
    assert back.keys() == state.keys()
    for key, value in state.items():
        assert back[key].shape == value.shape, key
        assert np.array_equal(back[key], value.astype(np.float64)), key

    fresh = PyTorchEngine("cpu")
    fresh.start(conv, run, conv.initial_parameters(99, run.latent_dim))
    fresh.restore(back)
    assert same(fresh.state(), state)


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


# Its own generator


@pytest.fixture
def few(digits, images):
    """Two batches an epoch, and images that are left over."""
    return replace(digits, name="few", pixels=digits.pixels[: 2 * images + 3])


def go_through(engine, conv, run, data, probed=()):
    """A run step by step: its trace, the probes, and where the generator stood after each step and
    at the end."""
    probes: dict = {step: {} for step in probed}
    stood = []
    trace = train(
        Run(conv, run, data), engine, probe=probes.get,
        callbacks=[lambda progress: stood.append(engine.generator_state())],
    )  # fmt: skip
    return trace, probes, [*stood, engine.generator_state()]


def assert_close(one, two, scale=1.0):
    """Two traces, to the rounding of float64."""
    np.testing.assert_allclose(one.losses, two.losses, rtol=1e-13 * scale)
    assert one.parameters.keys() == two.parameters.keys()
    for name, value in two.parameters.items():
        assert one.parameters[name].shape == value.shape
        np.testing.assert_allclose(one.parameters[name], value, atol=1e-10 * scale)
    for mode in ("training", "evaluation"):
        np.testing.assert_allclose(
            one.latent_means[mode], two.latent_means[mode], atol=1e-11 * scale
        )
    np.testing.assert_allclose(one.samples, two.samples, atol=1e-11 * scale)


def assert_same_bits(found, expected):
    """Two dicts of arrays; R's are float64, whatever the run's precision was."""
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key].shape == value.shape, key
        assert np.array_equal(found[key], value.astype(np.float64)), key


def assert_probes_alike(found, expected, tolerance=1e-12):
    """The same entries, but for the draws that PyTorch's engine puts there, and close."""
    assert found.keys() == {key for key in expected if not key.startswith("draw/")}
    for key, value in found.items():
        assert value.shape == expected[key].shape, key
        # see test_every_stage_agrees_with_pytorchs
        allowed = max(1e-9, tolerance) if key.startswith("parameter/") else tolerance
        difference = np.abs(value - expected[key]).max()
        assert difference <= allowed * np.abs(expected[key]).max(), key


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


def assert_being_looked_into_changes_nothing(engine, conv, run, data):
    plain, _, stood = go_through(engine, conv, run, data)
    probed, _, stood_too = go_through(engine, conv, run, data, probed=(1, 2, 3))
    assert plain.losses.tobytes() == probed.losses.tobytes()
    assert same(plain.parameters, probed.parameters)
    assert np.array_equal(stood, stood_too)


def test_being_looked_into_draws_no_more(r, conv, settings, few):
    assert_being_looked_into_changes_nothing(r, conv, settings(rng="r"), few)


def assert_goes_on(engine, conv, run, data):
    """From after the third of five steps: in the middle of the second epoch."""
    kept = []

    def observe(progress):
        if progress.step == 3:
            kept.append((progress.checkpoint(), progress.trace.losses.copy()))

    whole = train(Run(conv, run, data), engine, callbacks=[observe])
    checkpoint, losses = kept[0]
    assert isinstance(checkpoint, Checkpoint)
    assert (checkpoint.generator is None) == (run.rng == "injected")
    train(Run(conv, replace(run, seed=99), data), engine)  # another run in between
    rest = train(Run(conv, run, data), engine, resume=checkpoint)
    assert np.array_equal(np.concatenate([losses, rest.losses]), whole.losses)
    assert same(rest.parameters, whole.parameters)
    assert same(rest.latent_means, whole.latent_means)
    assert np.array_equal(rest.samples, whole.samples)


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


# R's torch


@pytest.fixture(scope="module")
def rt():
    """R's torch, on as many threads as PyTorch."""
    with RTorchEngine() as engine:
        yield engine


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
