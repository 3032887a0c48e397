"""Base R's layers, losses and Adam, and their gradients, by independent computations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import optimize, signal

pytestmark = pytest.mark.r


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
