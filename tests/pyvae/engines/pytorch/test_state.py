"""A run goes on from a state to the bit."""

from __future__ import annotations

import pytest
import torch
from alike.arrays import copied, part, same

from pyvae.engines.pytorch import PyTorchEngine
from pyvae.recipes.conv import CONV

every_objective = pytest.mark.parametrize("objective", [*CONV.objectives, *CONV.further])
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


@every_objective
@every_dtype
def test_a_run_goes_on_from_a_state_to_the_bit(start, conv, settings, x, objective, dtype):
    wanted = settings(objective=objective, dtype=dtype)
    x = x.to(wanted.torch_dtype)
    whole, draw = start(wanted)
    stopped, _ = start(wanted)
    for step in range(2):
        whole.step(x, draw(step))
        stopped.step(x, draw(step))
    state = stopped.state()
    assert state["step"] == 2
    kept = copied(state)

    fresh = PyTorchEngine("cpu")
    fresh.start(conv, wanted, conv.initial_parameters(99, wanted.latent_dim))
    fresh.restore(state)
    assert same(fresh.state(), state)
    for step in (2, 3):
        assert torch.equal(fresh.step(x, draw(step)), whole.step(x, draw(step)))
    assert same(fresh.state(), whole.state())
    assert fresh.state()["step"] == 4
    stopped.step(x, draw(2))
    assert same(state, kept)  # a copy, in both directions


def test_going_back_and_forth_is_exact(start, settings, x):
    """Restoring into an engine that is further on undoes everything."""
    engine, draw = start(settings())
    engine.step(x, draw(0))
    state = engine.state()
    once = [engine.step(x, draw(step)) for step in (1, 2)]
    engine.restore(state)
    again = [engine.step(x, draw(step)) for step in (1, 2)]
    assert torch.equal(torch.stack(once), torch.stack(again))


def test_the_state_before_the_first_step_is_the_start(start, conv, settings, x):
    wanted = settings()
    engine, draw = start(wanted)
    state = engine.state()
    assert state["step"].shape == ()
    assert state["step"] == 0
    assert same(part(state, "parameter"), engine.parameters())
    for kind in ("moment1", "moment2"):
        moments = part(state, kind)
        assert list(moments) == conv.parameter_names(wanted.latent_dim)
        assert not any(moment.any() for moment in moments.values())

    fresh = PyTorchEngine("cpu")
    fresh.start(conv, wanted, conv.initial_parameters(99, wanted.latent_dim))
    fresh.restore(state)
    assert torch.equal(fresh.step(x, draw(0)), engine.step(x, draw(0)))
    assert same(fresh.state(), engine.state())
