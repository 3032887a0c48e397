"""Calls of modules: what is seen of them, and what is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from recorded.programs import mlp, simple
from torch import nn
from torch.func import functional_call, grad
from torch.utils.checkpoint import checkpoint

from pyvae.recording.record import record


def train(model, loss, recorded, steps=1):
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    trace = recorded(simple(model, optimizer, loss), steps)
    return trace.networks[0], trace.arrays(1)


def test_masks_of_attention_are_told_apart(recorded):
    model = nn.MultiheadAttention(4, 2, batch_first=True)
    x, causal = torch.randn(2, 3, 4), torch.ones(3, 3, dtype=torch.bool).triu(1)
    padding = torch.tensor([[False, False, True], [False, False, False]])

    def loss():
        return model(x, x, x, key_padding_mask=padding, attn_mask=causal, need_weights=False)[
            0
        ].sum()

    stages, arrays = train(model, loss, recorded)
    (stage,) = [one for one in stages if one.layer == "multihead_attention"]
    assert stage.name == "multihead_attention"
    assert stage.inputs == ("input",) * 3
    assert np.array_equal(arrays[f"forward/{stage.parameters['attn_mask']}"], causal)
    assert np.array_equal(arrays[f"forward/{stage.parameters['key_padding_mask']}"], padding)
    assert stage.options["need_weights"] is False
    assert stage.outputs == ("multihead_attention.0",)


def test_states_go_in_and_come_out(recorded):
    model = nn.LSTM(2, 3, batch_first=True)
    zero = torch.zeros(1, 4, 3)

    def loss():
        out, (h, c) = model(torch.ones(4, 5, 2), (zero, zero))
        return out.sum() + h.sum() + c.sum()

    stages, arrays = train(model, loss, recorded)
    (stage,) = [one for one in stages if one.layer == "lstm"]
    assert stage.inputs == ("input", "input#2", "input#2")
    assert stage.outputs == ("lstm.0", "lstm.1.0", "lstm.1.1")
    assert np.all(arrays["gradient/lstm.1.1"] == 1)
    assert np.array_equal(arrays["forward/lstm.0"][:, -1], arrays["forward/lstm.1.0"][0])


def test_an_error_within_a_layer_is_the_programs(tmp_path):
    program = mlp()
    with record(program.model, program.optimizer, tmp_path / "trace", steps=1) as recording:
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            program.model(torch.ones(2, 5))
        program.train(1)
    assert recording.trace.complete
    names = [one.name for one in recording.trace.networks[0]]
    assert names == ["input", "0", "1", "2", "input#2", "mse_loss"]


def test_a_checkpoint_computes_again_and_is_recorded_once(recorded):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Dropout(0.5), nn.Linear(3, 1))
    x = torch.randn(4, 3)
    stages, arrays = train(model, lambda: checkpoint(model, x, use_reentrant=False).sum(), recorded)
    assert [one.name for one in stages] == ["input", "0", "1", "2", "3", "sum"]
    assert np.allclose(
        arrays["gradient/3.weight"], arrays["forward/2"].sum(0, keepdims=True), atol=1e-6
    )


def test_evaluation_mode_is_written(recorded):
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))
    model[1].eval()
    model[2].eval()
    stages, arrays = train(model, lambda: model(torch.randn(3, 2)).sum(), recorded)
    assert {one.name: one.training for one in stages if one.name in "012"} == {
        "0": True, "1": False, "2": False,
    }  # fmt: skip
    assert not any(key.startswith("draw/") for key in arrays)


def test_weights_that_stand_in_for_a_layers_own_are_taken_as_they_are(recorded):
    """As where one step of the gradient is taken within another."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))

    def loss():
        weights, x = dict(model.named_parameters()), torch.randn(5, 3)
        inner = functional_call(model, weights, (x,)).square().mean()
        gradients = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
        moved = {
            name: one - 0.1 * gradient
            for (name, one), gradient in zip(weights.items(), gradients, strict=True)
        }
        return functional_call(model, moved, (torch.randn(5, 3),)).square().mean()

    stages, arrays = train(model, loss, recorded)
    first, second = (one for one in stages if one.name.partition("#")[0] == "2")
    assert first.parameters == {"weight": "2.weight", "bias": "2.bias"}
    taken = second.parameters["weight"]
    (moved,) = [one for one in stages if taken in one.outputs]
    assert moved.layer == "sub"
    assert moved.inputs[0] == "2.weight"
    x, weight, bias = (
        arrays[f"forward/{name}"]
        for name in (second.inputs[0], *(second.parameters[role] for role in ("weight", "bias")))
    )
    assert np.allclose(arrays[f"forward/{second.name}"], x @ weight.T + bias, atol=1e-6)


def test_a_step_does_not_start_from_weights_that_stand_in_for_the_parameters(recorded):
    """Where the first call that is seen is one with other weights: `grad` has made them unseen."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    before = {name: one.detach().clone() for name, one in model.named_parameters()}

    def loss():
        weights, x = dict(model.named_parameters()), torch.randn(5, 3)
        slopes = grad(lambda w: functional_call(model, w, (x,)).square().mean())(weights)
        moved = {name: one - 0.1 * slopes[name] for name, one in weights.items()}
        return functional_call(model, moved, (torch.randn(5, 3),)).square().mean()

    _, arrays = train(model, loss, recorded)
    starts = {key.partition("/")[2] for key in arrays if key.startswith("start/")}
    assert starts == set(before)
    for name, value in before.items():
        assert np.array_equal(arrays[f"start/{name}"], value.numpy())
        assert f"parameter/{name}" in arrays
