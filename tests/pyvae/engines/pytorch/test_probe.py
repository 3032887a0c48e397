"""What a probe holds of a step, and that to be looked into changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from alike.arrays import assert_close, copied, part, same
from torch import nn

from pyvae.errors import UserError
from pyvae.model.stages import quantities
from pyvae.recipes.conv import CONV

every_objective = pytest.mark.parametrize("objective", [*CONV.objectives, *CONV.further])
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


@every_objective
@every_dtype
def test_being_looked_into_changes_no_bit_of_a_step(start, settings, x, objective, dtype):
    wanted = settings(objective=objective, dtype=dtype)
    x = x.to(wanted.torch_dtype)
    plain, draw = start(wanted)
    probed, _ = start(wanted)
    for step in range(3):
        losses = plain.step(x, draw(step))
        assert torch.equal(probed.step(x, draw(step), {} if step != 1 else None), losses)
        assert same(probed.state(), plain.state())
    assert same(probed.parameters(), plain.parameters())
    assert not x.requires_grad


@every_objective
@every_dtype
def test_a_probe_holds_what_the_stages_promise(start, conv, settings, x, objective, dtype):
    wanted = settings(objective=objective, dtype=dtype)
    engine, draw = start(wanted)
    probe = {}
    losses = engine.step(x.to(wanted.torch_dtype), draw(0), probe)
    promised = quantities(conv.stages, conv.parameter_names(wanted.latent_dim))
    assert probe.keys() == {quantity.key for quantity in promised}
    assert {str(value.dtype) for value in probe.values()} == {dtype}
    for name, loss in zip(("total", "reconstruction", "regulariser"), losses, strict=True):
        assert probe[f"forward/{name}"].shape == ()
        assert probe[f"forward/{name}"] == loss.item()


@every_objective
def test_a_probe_tells_where_a_step_started_where_it_ended_and_adams_moments(
    start, settings, x, objective
):
    engine, draw = start(settings(objective=objective, learning_rate=3e-3))
    m = v = dict.fromkeys(engine.parameters(), 0.0)
    for step in range(1, 4):
        before = engine.parameters()
        probe = {}
        engine.step(x, draw(step), probe)
        assert same(part(probe, "start"), before)
        assert same(part(probe, "parameter"), engine.parameters())
        gradient = part(probe, "gradient")
        m = {name: 0.9 * m[name] + 0.1 * gradient[name] for name in m}
        v = {name: 0.999 * v[name] + 0.001 * gradient[name] ** 2 for name in v}
        for name in before:
            assert_close(part(probe, "moment1")[name], m[name], name)
            assert_close(part(probe, "moment2")[name], v[name], name)
            m_hat, v_hat = m[name] / (1 - 0.9**step), v[name] / (1 - 0.999**step)
            expected = before[name] - 3e-3 * m_hat / (np.sqrt(v_hat) + 1e-8)
            np.testing.assert_allclose(
                probe[f"parameter/{name}"], expected, rtol=0, atol=1e-9, err_msg=name
            )


def test_later_steps_leave_a_probe_alone(start, settings, x):
    engine, draw = start(settings())
    engine.step(x, draw(0))  # Adam's moments are there, to be changed in place
    probe = {}
    engine.step(x, draw(1), probe)
    kept = copied(probe)
    engine.step(x, draw(2))
    later = {}
    engine.step(x, draw(3), later)
    assert same(probe, kept)
    assert not any(np.array_equal(later[key], kept[key]) for key in kept if "input" not in key)
    engine.restore(engine.state())
    engine.step(x, draw(4))
    assert same(probe, kept)


def hooks(engine):
    return [
        name
        for name, module in engine.network.named_modules()
        if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks
    ]


def test_looking_leaves_no_hook_behind(start, settings, x):
    engine, draw = start(settings())
    engine.step(x, draw(0), {})
    assert hooks(engine) == []
    engine.network.encoder.fc1 = nn.Linear(10, 128).double()
    with pytest.raises(RuntimeError):
        engine.step(x, draw(1), {})
    assert hooks(engine) == []


def test_a_step_that_fails_leaves_the_stages_before_in_the_probe(start, conv, settings, x):
    engine, draw = start(settings())
    whole, _ = start(settings())
    for one in (engine, whole):
        one.step(x, draw(0))  # gradients and moments of an earlier step are there
    expected, probe = {}, {}
    whole.step(x, draw(1), expected)
    engine.network.encoder.fc1 = nn.Linear(10, 128).double()
    with pytest.raises(RuntimeError, match="shapes"):
        engine.step(x, draw(1), probe)
    names = [stage.name for stage in conv.stages]
    before = names[: names.index("encoder.fc1")]
    assert before[-1] == "encoder.flatten"
    assert list(part(probe, "forward")) == before
    for name in before:
        assert np.array_equal(probe[f"forward/{name}"], expected[f"forward/{name}"])
    # nothing that this step did not compute
    assert {key.split("/")[0] for key in probe} == {"start", "forward"}


def test_a_step_that_diverges_leaves_the_pixels_in_the_probe(start, settings, x):
    engine, draw = start(settings(learning_rate=1e30))
    probes = []

    def run():
        for step in range(5):
            probes.append({})
            engine.step(x, draw(step), probes[-1])

    with pytest.raises(UserError, match="diverged"):
        run()
    *_, before, last = probes
    assert np.isfinite(before["forward/total"])
    assert np.isnan(last["forward/decoder.sigmoid"]).any()
    assert "forward/total" not in last
    assert part(last, "gradient") == part(last, "parameter") == {}
    assert same(part(last, "start"), engine.parameters())
    assert hooks(engine) == []


def test_a_state_is_the_end_of_a_probe(start, settings, x):
    engine, draw = start(settings())
    probe = {}
    for step in range(2):
        engine.step(x, draw(step), probe)
    state = engine.state()
    assert state.pop("step") == 2
    assert same(state, {key: probe[key] for key in state})


def test_injected_draws_are_not_in_the_probe(start, settings, x):
    engine, draw = start(settings())
    probe = {}
    engine.step(x, draw(0), probe)
    assert part(probe, "draw") == {}
