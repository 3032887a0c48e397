"""Steps and probes are what textbook formulas, torch.nn.functional and autograd give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from alike.arrays import assert_close, part

from pyvae.recipes.conv import CONV

every_objective = pytest.mark.parametrize("objective", [*CONV.objectives, *CONV.further])


def losses_by_hand(x, pixels, mu, log_var, objective):
    """Both terms from their textbook formulas, by autograd's basic operations."""
    reconstruction = -(x * pixels.log() + (1 - x) * (1 - pixels).log()).sum()
    regulariser = (mu**2).sum() / 2
    if objective == "em":
        regulariser = regulariser + log_var.exp().sum() / 2
    if objective == "vae":
        regulariser = regulariser + (log_var.exp() - 1 - log_var).sum() / 2
    return torch.stack([reconstruction + regulariser, reconstruction, regulariser])


@every_objective
def test_steps_are_adam_by_numpy_on_autograds_gradients(start, conv, settings, x, objective):
    wanted = settings(objective=objective, learning_rate=3e-3)
    engine, draw = start(wanted)
    moments = dict.fromkeys(engine.parameters(), (0.0, 0.0))
    for step in range(3):
        before = engine.parameters()
        losses = engine.step(x, draw(step))

        network = conv.network(wanted.latent_dim).double()
        network.load_state_dict({name: torch.from_numpy(value) for name, value in before.items()})
        noise = {name: torch.from_numpy(value) for name, value in draw(step).items()}
        by_hand = losses_by_hand(x, *network(x, noise), objective)
        by_hand[0].backward()
        torch.testing.assert_close(losses, by_hand.detach(), rtol=1e-12, atol=0)

        after = engine.parameters()
        for name, parameter in network.named_parameters():
            gradient = parameter.grad.numpy() if parameter.grad is not None else 0
            m, v = moments[name]
            m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
            moments[name] = m, v
            m_hat, v_hat = m / (1 - 0.9 ** (step + 1)), v / (1 - 0.999 ** (step + 1))
            expected = before[name] - 3e-3 * m_hat / (np.sqrt(v_hat) + 1e-8)
            np.testing.assert_allclose(after[name], expected, rtol=0, atol=1e-9, err_msg=name)


def functional(p, x, draws, objective):
    """What every stage returns, by torch.nn.functional and elementary operations."""

    def dropped(h, name, rate):
        return torch.where(torch.from_numpy(draws[name]), h / (1 - rate), 0)

    def dense(name, h):
        return h @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def transposed(name, h):  # 1x1 on 1x1: a matrix (in, out)
        weight = p[f"{name}.weight"][:, :, 0, 0]
        return (h[:, :, 0, 0] @ weight + p[f"{name}.bias"])[:, :, None, None]

    s = {"input": x.clone().requires_grad_()}
    h = s["encoder.conv1"] = F.conv2d(
        s["input"].reshape(-1, 1, 28, 28), p["encoder.conv1.weight"], p["encoder.conv1.bias"]
    )
    h = s["encoder.relu1"] = h * (h > 0)
    h = s["encoder.conv2"] = F.conv2d(h, p["encoder.conv2.weight"], p["encoder.conv2.bias"])
    h = s["encoder.relu2"] = h * (h > 0)
    h = s["encoder.pool"] = F.max_pool2d(h, 2)
    h = s["encoder.dropout1"] = dropped(h, "dropout1", 0.25)
    h = s["encoder.flatten"] = h.reshape(len(x), -1)
    h = s["encoder.fc1"] = dense("encoder.fc1", h)
    h = s["encoder.relu3"] = h * (h > 0)
    h = s["encoder.dropout2"] = dropped(h, "dropout2", 0.5)
    mu = s["encoder.fc2"] = dense("encoder.fc2", h)
    log_var = s["encoder.fc3"] = dense("encoder.fc3", h)
    noise = torch.from_numpy(draws["noise"])
    h = s["reparameterise"] = mu + torch.sqrt(torch.exp(log_var)) * noise
    h = s["decoder.fc1"] = dense("decoder.fc1", h)
    h = s["decoder.relu1"] = h * (h > 0)
    h = s["decoder.fc2"] = dense("decoder.fc2", h)
    h = s["decoder.relu2"] = h * (h > 0)
    h = s["decoder.conv1"] = transposed("decoder.conv1", h[:, :, None, None])
    h = s["decoder.relu3"] = h * (h > 0)
    h = s["decoder.conv2"] = transposed("decoder.conv2", h)
    h = s["decoder.sigmoid"] = 1 / (1 + torch.exp(-h[:, :, 0, 0]))
    s["total"], s["reconstruction"], s["regulariser"] = losses_by_hand(x, h, mu, log_var, objective)
    return s


@every_objective
def test_a_probe_is_what_functional_and_autograd_give(start, settings, x, objective):
    engine, draw = start(settings(objective=objective))
    engine.step(x, draw(0))
    before = {
        name: torch.from_numpy(value).requires_grad_()
        for name, value in engine.parameters().items()
    }
    probe = {}
    engine.step(x, draw(1), probe)

    stages = functional(before, x, draw(1), objective)
    forward = part(probe, "forward")
    assert forward.keys() == stages.keys()
    for name, value in stages.items():
        assert_close(forward[name], value.detach(), name)

    wanted = {k: v for k, v in stages.items() if v.shape != ()} | before
    gradients = torch.autograd.grad(stages["total"], list(wanted.values()))
    found = part(probe, "gradient")
    assert found.keys() == wanted.keys()
    for name, value in zip(wanted, gradients, strict=True):
        assert np.abs(found[name]).max() > 0
        assert_close(found[name], value, name)
