"""Inputs, weights and settings: with them alone a function can be called again."""

from __future__ import annotations

import json
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pyvae.recording.record import record
from pyvae.recording.seen.arguments import json_value, split_arguments
from pyvae.trace.program import ProgramTrace

LOSSES = {"cross_entropy_loss": F.cross_entropy, "feature_dropout": torch.feature_dropout}
CALLS = {  # x: (2, 3, 4, 4), positive; the layer that it is recorded as
    "add": lambda x: x + 1, "add alpha": lambda x: torch.add(x, x, alpha=2.5),
    "sub": lambda x: x.sub(0.5), "mul": lambda x: 2 * x, "div": lambda x: x / 3,
    "pow": lambda x: x**2.5, "neg": lambda x: -x, "matmul": lambda x: x @ x,
    "view": lambda x: x.view(2, -1), "reshape": lambda x: x.reshape((6, 16)),
    "permute": lambda x: x.permute(0, 2, 3, 1), "transpose": lambda x: x.transpose(1, -1),
    "mT": lambda x: x.mT, "flatten": lambda x: torch.flatten(x, 1), "unsqueeze": lambda x: x[0].
    unsqueeze(0), "squeeze": lambda x: x[:1].squeeze(0), "expand": lambda x: x[:, :1].expand(-1, 3,
    -1, -1), "sum": lambda x: x.sum((1, 2), keepdim=True), "mean": lambda x: x.mean(-1), "var":
    lambda x: x.var(dim=1, correction=0), "amax": lambda x: x.amax((2, 3)), "cat": lambda x:
    torch.cat([x, 2 * x], dim=1), "stack": lambda x: torch.stack((x, x), -1), "clamp": lambda x:
    x.clamp(min=0.2), "where": lambda x: torch.where(x > 0.5, x, 2 * x), "masked_fill": lambda x:
    x.masked_fill(x > 0.5, -math.inf).exp(), "softmax": lambda x: F.softmax(x, dim=1),
    "log_softmax": lambda x: x.log_softmax(-1), "exp": torch.exp, "gelu": lambda x: F.gelu(x,
    approximate="tanh"), "leaky_relu": lambda x: F.leaky_relu(x, 0.3), "max_pool2d": lambda x:
    F.max_pool2d(x, 2, stride=1, padding=1), "avg_pool2d": lambda x: F.avg_pool2d(x, 2),
    "layer_norm": lambda x: F.layer_norm(x, (4,)), "pad": lambda x: F.pad(x, (1, 0, 2, 0)),
    "interpolate": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), "softplus": lambda
    x: F.softplus(x, beta=2), "roll": lambda x: x.roll(1, 2), "cumsum": lambda x: x.cumsum(1),
    "addcmul": lambda x: torch.addcmul(x, x, x, value=0.1), "lerp": lambda x: torch.lerp(x, 2 * x,
    0.3), "normalize": lambda x: F.normalize(x, dim=1), "cosine_similarity": lambda x:
    F.cosine_similarity(x, 1 / x, dim=1), "binary_cross_entropy": lambda x:
    F.binary_cross_entropy(x.sigmoid(), x.detach() / 2, reduction="none"), "huber_loss": lambda x:
    F.huber_loss(x, x.detach() * 2, delta=0.3), "cross_entropy": lambda x: F.cross_entropy(x,
    torch.zeros(2, 4, 4, dtype=torch.long), weight=torch.tensor([1.0, 2, 3]), label_smoothing=0.2),
}  # fmt: skip


def again(stage, arrays):
    """Calls the function of a stage by its name in PyTorch, with what the trace says of it."""

    def value(name):
        prefix = "start" if f"start/{name}" in arrays else "forward"
        return torch.from_numpy(arrays[f"{prefix}/{name}"])

    function = LOSSES.get(stage.layer) or getattr(torch, stage.layer, None)
    function = function or getattr(F, stage.layer, None) or getattr(torch.Tensor, stage.layer)
    inputs = [value(one) for one in stage.inputs]
    if stage.layer in ("cat", "stack"):
        inputs = [inputs]
    options = {key: tuple(v) if isinstance(v, list) else v for key, v in stage.options.items()}
    roles = {role: value(one) for role, one in stage.parameters.items()}
    if stage.layer in ("view", "reshape", "expand", "permute"):
        return getattr(inputs[0], stage.layer)(*options.values())
    if "self" in options:  # a number comes first
        return function(torch.tensor(options.pop("self")), *inputs)
    if stage.layer == "interpolate":
        return F.interpolate(*inputs, **options)
    positional = [options.pop(key) for key in ("exponent", "other") if key in options]
    return function(*inputs, *positional, **roles, **options)


@pytest.mark.parametrize("name", CALLS)
def test_a_function_can_be_called_again_with_what_is_written(name, tmp_path):
    torch.manual_seed(1)
    model = nn.Module()
    model.x = nn.Parameter(torch.rand(2, 3, 4, 4) + 0.01)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with record(model, optimizer, tmp_path / "trace", steps=1):
        CALLS[name](model.x).sum().backward()
        optimizer.step()
    trace = ProgramTrace.load(tmp_path / "trace")
    arrays, stages = trace.arrays(1), trace.networks[0]
    assert stages[-1].layer == "sum"
    checked = [one for one in stages if one.layer not in ("input", "index", "to")]
    assert len(checked) > 1
    for stage in checked:
        found = again(stage, arrays)
        theirs = torch.from_numpy(arrays[f"forward/{stage.name}"])
        assert torch.allclose(found, theirs, rtol=1e-6, equal_nan=True), stage  # sums: by strides
        assert found.shape == theirs.shape


def test_numbers_that_come_first_are_named(tmp_path):
    model = nn.Module()
    model.x = nn.Parameter(torch.rand(3))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with record(model, optimizer, tmp_path / "trace", steps=1):
        x = model.x
        ((1 - x) + 1 / x + 2**x + (x - 1) + x**2).sum().backward()
        optimizer.step()
    said = {one.name: (one.layer, one.options) for one in ProgramTrace.load(
        tmp_path / "trace").networks[0]}  # fmt: skip
    assert said["sub"] == ("sub", {"self": 1})
    assert said["div"] == ("div", {"self": 1})
    assert said["pow"] == ("pow", {"self": 2})
    assert said["sub#2"] == ("sub", {"other": 1})
    assert said["pow#2"] == ("pow", {"exponent": 2})


def test_an_index_is_written_place_by_place():
    x, mask = torch.zeros(2, 3, 4), torch.tensor([True, False])
    places = (mask, slice(None, -1), ..., None, slice(0, 4, 2), 1, [0, 1])
    found = split_arguments(torch.Tensor.__getitem__, "index", (x, places), {})
    assert found.options == {"index": ["tensor", ":-1", "...", None, "0:4:2", 1, [0, 1]]}
    assert found.inputs == [x, mask]


@pytest.mark.slow
@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4), max_leaves=8,
))  # fmt: skip
def test_settings_are_kept_as_json_has_them(value):
    kept, said = json_value(value)
    if kept:
        assert json.loads(json.dumps(said)) == value


def test_what_json_cannot_say_is_left_out():
    assert json_value(torch.float32) == (True, "float32")
    assert json_value(torch.Size([2, 3])) == (True, [2, 3])
    assert json_value([0] * 10_000)[0] is False
    assert json_value(object())[0] is False
    assert json_value([torch.zeros(1)])[0] is False
