"""What one side should have returned for its own inputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from recorded.ported import Program, adam

from comparisons.ports.judging.own import Own
from comparisons.ports.side import Overlaid, Side

RULES = {torch.float32: ("float32", 1e-4), torch.float64: ("float64", 1e-11)}


def own(folder, dtype, number=2, changed=None, **about):
    trace = Program(dtype=dtype, optimiser=adam, **about).record(folder)
    side = Side("one", trace)
    step, before = side.step(number), side.step(number - 1)
    if changed:
        step = replace(step, arrays=Overlaid(step.arrays, changed(step.arrays)))
    precision, rtol = RULES[dtype]
    return Own(step, rtol, precision, before)


@pytest.mark.parametrize("dtype", RULES)
def test_everything_that_a_right_program_records_is_right(tmp_path, dtype):
    """Even the gradient of a bias in front of batch norm, which is rounding noise alone."""
    one = own(tmp_path / "trace", dtype)
    found = {}
    for key in one.step.arrays:
        kind, _, name = key.partition("/")
        if kind == "forward":
            found[key] = one.forward(name)
        elif kind == "gradient":
            found[key] = one.backward(name)
        elif kind in ("state", "parameter", "buffer"):
            found[key] = one.after(kind, name)
    known = {key: residual for key, residual in found.items() if residual is not None}
    wrong = [key for key, residual in known.items() if not residual.is_right]
    assert not wrong
    assert {key.partition("/")[0] for key in known} == {
        "forward", "gradient", "state", "parameter", "buffer",
    }  # fmt: skip
    unknown = {key for key in found.keys() - known.keys() if "input" not in key}
    assert unknown <= {"gradient/cross_entropy_loss"}


@pytest.mark.parametrize("kind", ["forward", "gradient", "state", "parameter"])
def test_one_element_that_is_off_is_seen(tmp_path, kind):
    names = {
        "forward": "hidden", "gradient": "second.weight", "state": "out.weight.exp_avg",
        "parameter": "out.weight",
    }  # fmt: skip

    def changed(arrays):
        key = f"{kind}/{names[kind]}"
        value = arrays[key].copy()
        step = value - arrays["start/out.weight"] if kind == "parameter" else value
        value.flat[3] += 1e-3 * np.abs(step).max()
        return {key: value}

    one = own(tmp_path / "trace", torch.float32, changed=changed)
    residual = {
        "forward": one.forward, "gradient": one.backward,
    }.get(kind, lambda name: one.after(kind, name))(names[kind])  # fmt: skip
    assert not residual.is_right


def test_what_was_not_recorded_is_not_known(tmp_path):
    one = own(tmp_path / "trace", torch.float32)
    assert one.forward("nowhere") is None
    assert one.backward("nowhere") is None
    assert one.after("parameter", "nowhere") is None
    assert one.forward("input") is None


def test_the_loss_is_found(tmp_path):
    assert own(tmp_path / "trace", torch.float32).loss == "cross_entropy_loss"


def test_a_gradient_that_is_left_out_of_a_layer_is_what_those_that_take_it_hand_back(tmp_path):
    """Without it nobody could say which side's gradient of the weights is wrong."""
    full = own(tmp_path / "trace", torch.float64)
    layers = [stage for stage in full.step.network if "weight" in stage.parameters]
    assert len(layers) > 2
    for stage in layers:
        left = {k: v for k, v in full.step.arrays.items() if k != f"gradient/{stage.name}"}
        weight = stage.parameters["weight"]
        for factor, right in ((1.0, True), (1.01, False)):
            gradient = {f"gradient/{weight}": factor * left[f"gradient/{weight}"]}
            one = Own(replace(full.step, arrays=left | gradient), 1e-11, "float64", full.before)
            handed_back = one.arrays[f"gradient/{stage.name}"]
            np.testing.assert_allclose(
                handed_back, full.step.arrays[f"gradient/{stage.name}"], rtol=1e-11, atol=1e-14
            )
            assert one.backward(weight).is_right is right
