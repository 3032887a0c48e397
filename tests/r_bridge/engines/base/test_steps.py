"""Base R's steps: gradients, probes and states are PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from alike.arrays import part, same

from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.draws import Draws
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.stages import quantities
from r_bridge.engines.base import _flat
from r_bridge.errors import RError

pytestmark = pytest.mark.r


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


def step_of(conv, digits, run, step):
    """The images and draws of one step (from 0)."""
    draws = Draws(run.seed).step(step, run.batch_size, conv.draws(run.latent_dim))
    rows = np.arange(step * run.batch_size, (step + 1) * run.batch_size)
    return digits.batch(rows, torch.float64), draws


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
