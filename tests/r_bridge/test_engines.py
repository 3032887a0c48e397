"""The base-R engine: its layers and gradients by independent computations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import optimize, signal
from torch import nn

from pyvae.draws import Draws
from pyvae.engine import PyTorchEngine
from pyvae.errors import UserError
from pyvae.objectives import OBJECTIVES
from pyvae.training import train
from r_bridge.engines import BaseREngine, _flat, make_r_engine
from r_bridge.worker import RError

pytestmark = pytest.mark.r


@pytest.fixture(scope="module")
def r():
    with BaseREngine(threads=1) as engine:
        yield engine


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def pixels_by_channel(x):
    """(N, C, H, W) as R's layers hold it: C x (W H N), the column within a row fastest."""
    return x.transpose(1, 0, 2, 3).reshape(x.shape[1], -1)


def evaluate(r, code, **values):
    """Evaluates R code on the given values."""
    names = ", ".join(values)
    r.process.evaluate(f"under_test <- function({names}) {{ {code} }}; NULL")
    return r.process.call("under_test", **values)


def test_conv2d_is_scipys_correlation(r, rng):
    x, w, b = rng.normal(size=(2, 3, 6, 5)), rng.normal(size=(4, 3, 3, 3)), rng.normal(size=4)
    y = evaluate(
        r,
        "conv2d_forward(x, w, b, conv2d_patches(5L, 6L, 2L, 3L))$y",
        x=pixels_by_channel(x),
        w=w,
        b=b,
    )
    expected = np.stack(
        [[b[o] + signal.correlate(image, w[o], mode="valid")[0] for o in range(4)] for image in x]
    )
    np.testing.assert_allclose(y, pixels_by_channel(expected), atol=1e-13)


@pytest.mark.parametrize("windows", [1, 2])
def test_conv2d_gradients_are_autograds(r, rng, windows):
    x = torch.tensor(rng.normal(size=(2, 3, 8, 6)), requires_grad=True)
    conv = nn.Conv2d(3, 4, 3).double()
    y = conv(x)
    dy = torch.tensor(rng.normal(size=tuple(y.shape)))
    y.backward(dy)
    # in the order of the windows' corners, as R has it
    order = np.arange(y[:, 0].numel()).reshape(2, 1, 6, 4)
    if windows == 2:
        order = order.reshape(2, 3, 2, 2, 2).transpose(2, 4, 0, 1, 3)
    dy_r = pixels_by_channel(dy.numpy())[:, order.ravel()]
    back = evaluate(
        r,
        f"""patches <- conv2d_patches(6L, 8L, 2L, 3L, {windows}L)
        forward <- conv2d_forward(x, w, b, patches)
        g <- conv2d_parameter_gradients(dy, forward$columns, w)
        list(y = forward$y, w = g$weight, b = g$bias,
             x = conv2d_input_gradient(dy, w, patches, ncol(x)))""",
        x=pixels_by_channel(x.detach().numpy()),
        w=conv.weight.detach().numpy(),
        b=conv.bias.detach().numpy(),
        dy=dy_r,
    )
    y_r = pixels_by_channel(y.detach().numpy())[:, order.ravel()]
    np.testing.assert_allclose(back["y"], y_r, atol=1e-13)
    np.testing.assert_allclose(back["w"], conv.weight.grad, atol=1e-12)
    np.testing.assert_allclose(back["b"], conv.bias.grad, atol=1e-12)
    np.testing.assert_allclose(back["x"], pixels_by_channel(x.grad.numpy()), atol=1e-12)


def in_corners(x):
    """(N, C, H, W) as max_pool2d.R takes it: C x (windows, corner), the corner slowest."""
    n, c, h, w = x.shape
    windows = x.reshape(n, c, h // 2, 2, w // 2, 2)
    return windows.transpose(1, 3, 5, 0, 2, 4).reshape(c, -1)


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
        list(y = forward$y, x = max_pool2d_backward(dy, forward$winner))""",
        x=in_corners(x),
        dy=pixels_by_channel(dy.numpy()),
    )
    assert np.array_equal(back["y"], pixels_by_channel(pooled.detach().numpy()))
    assert np.array_equal(back["x"], in_corners(tensor.grad.numpy()))
    assert (back["x"] != 0).sum() == 16  # one element of each window, no more


def test_linear_and_transposed_convolution_are_torchs(r, rng):
    x = torch.tensor(rng.normal(size=(5, 6)), requires_grad=True)
    for layer, name, shape in (
        (nn.Linear(6, 7).double(), "linear", (5, 6)),
        (nn.ConvTranspose2d(6, 7, 1).double(), "conv_transpose1x1", (5, 6, 1, 1)),
    ):
        x.grad = None
        y = layer(x.reshape(shape)).reshape(5, 7)
        dy = torch.tensor(rng.normal(size=(5, 7)))
        y.backward(dy)
        back = evaluate(
            r,
            f"c(list(y = {name}_forward(x, w, b)), {name}_backward(dy, x, w))",
            x=x.detach().numpy(),
            w=layer.weight.detach().numpy(),
            b=layer.bias.detach().numpy(),
            dy=dy.numpy(),
        )
        np.testing.assert_allclose(back["y"], y.detach(), atol=1e-14)
        np.testing.assert_allclose(back["x"], x.grad, atol=1e-14)
        np.testing.assert_allclose(back["weight"], layer.weight.grad, atol=1e-14)
        np.testing.assert_allclose(back["bias"], layer.bias.grad, atol=1e-14)


def test_bce_and_its_gradient_are_torchs_at_the_edges_too(r):
    q = np.array([[0.0, 1.0, 0.0, 1.0, 1e-300, 1 - 1e-16, 0.3, 1e-13]])
    x = np.array([[0.0, 1.0, 1.0, 0.0, 0.5, 0.5, 0.7, 0.2]])
    tensor = torch.tensor(q, requires_grad=True)
    loss = F.binary_cross_entropy(tensor, torch.tensor(x), reduction="sum")
    loss.backward()
    back = evaluate(r, "list(value = bce(q, x), gradient = bce_backward(q, x))", q=q, x=x)
    np.testing.assert_allclose(back["value"], loss.item(), rtol=1e-15)
    np.testing.assert_allclose(back["gradient"], tensor.grad, rtol=1e-15)


@pytest.mark.parametrize("objective", ["vae", "emae"])
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


def start(r, conv, settings, digits, objective, **changes):
    """A session at the initial parameters, and the first batch with its draws."""
    run = settings(objective=objective, **changes)
    parameters = conv.initial_parameters(run.seed, run.latent_dim)
    r.start(conv, run, parameters)
    draws = Draws(run.seed).step(0, run.batch_size, conv.draws(run.latent_dim))
    x = digits.batch(np.arange(run.batch_size), torch.float64)
    return run, parameters, x, draws


@pytest.mark.parametrize("objective", ["vae", "emae"])
def test_every_parameters_gradient_is_autograds(r, conv, settings, digits, objective):
    run, parameters, x, draws = start(r, conv, settings, digits, objective)
    network = conv.network(run.latent_dim).double()
    network.load_state_dict(parameters)
    tensors = {name: torch.from_numpy(draw) for name, draw in draws.items()}
    losses = OBJECTIVES[objective](x, *network(x, tensors))
    losses.total.backward()
    back = r.process.call("session_gradients", session=r.session, x=x.numpy(), draws=_flat(draws))
    np.testing.assert_allclose(
        back["losses"], [losses.reconstruction.item(), losses.regulariser.item()], rtol=1e-13
    )
    assert list(back["gradients"]) == list(parameters)
    for name, parameter in network.named_parameters():
        expected = parameter.grad.numpy()
        scale = np.abs(expected).max()
        np.testing.assert_allclose(back["gradients"][name], expected, atol=1e-13 * scale)


@pytest.mark.parametrize("objective", ["vae", "emae"])
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
            value <- sum(session_gradients(session, x, draws)$losses)
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
    _, parameters, x, draws = start(r, conv, settings, digits, "vae", batch_size=10)
    arguments = {"session": r.session, "x": x.numpy(), "draws": _flat(draws)}
    r.process.evaluate(
        "with_chunk <- function(session, x, draws, chunk) { session$chunk <- chunk;"
        "session_gradients(session, x, draws) }; NULL"
    )
    whole = r.process.call("with_chunk", chunk=10, **arguments)
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


@pytest.mark.parametrize("objective", ["vae", "emae"])
def test_a_run_gives_the_trace_of_pytorch(r, conv, settings, digits, objective):
    run = settings(objective=objective, steps=4)
    a = train(PyTorchEngine("cpu"), conv, run, digits)
    b = train(r, conv, run, digits)
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
    a = train(PyTorchEngine("cpu"), conv, run, digits)
    b = train(r, conv, run, digits)
    assert a.parameters["encoder.fc1.weight"].dtype == np.float32
    assert b.parameters["encoder.fc1.weight"].dtype == np.float64
    np.testing.assert_allclose(b.losses, a.losses, rtol=1e-5)


def test_two_runs_in_one_process_do_not_touch_each_other(r, conv, settings, digits):
    first = train(r, conv, settings(), digits)
    train(r, conv, settings(objective="emae", batch_size=7, latent_dim=3), digits)
    again = train(r, conv, settings(), digits)
    assert np.array_equal(first.losses, again.losses)


def test_r_names_what_it_does_not_know(r, conv, settings):
    parameters = conv.initial_parameters(1, 5)
    with pytest.raises(RError, match="objective 'elbo' is unknown; expected one of vae, emae"):
        r.process.call(
            "session_start",
            parameters={name: value.double().numpy() for name, value in parameters.items()},
            objective="elbo",
            learning_rate=1e-3,
        )


def test_a_patch_changes_r_without_editing_it(conv, settings, digits):
    with BaseREngine(threads=1, patch="adam_settings$beta1 <- 0.5") as engine:
        patched = train(engine, conv, settings(), digits)
        plain = train(PyTorchEngine("cpu"), conv, settings(), digits)
    assert patched.losses[0] == pytest.approx(plain.losses[0], rel=1e-13)
    assert patched.losses[2] != pytest.approx(plain.losses[2], rel=1e-9)


def test_the_environment_names_r_and_its_blas(r):
    about = r.environment()
    assert about["R"].count(".") == 2
    assert about["threads"] == "1"
    assert "blas" in about


def test_engine_names():
    with pytest.raises(UserError, match=r"unknown engine 'base_r'.*did you mean 'base-r'"):
        make_r_engine("base_r")
    with pytest.raises(UserError, match="'r-torch' is not part of this version"):
        make_r_engine("r-torch")
