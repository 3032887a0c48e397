"""Names of parameters and buffers."""

from __future__ import annotations

import torch
from torch import nn

from pyvae.recording.parameters import Parameters
from pyvae.trace.program import ProgramParameter


def test_parameters_and_buffers_are_named_as_in_state_dict():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2, bias=False))
    model[0].bias.requires_grad_(False)
    found = Parameters(model, [])
    named = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert {one.name: one.shape for one in found.listed} == named
    assert {one.name for one in found.listed if not one.trainable and one.kind == "parameter"} == {
        "0.bias"
    }
    kinds = {one.name for one in found.listed if one.kind == "buffer"}
    assert kinds == {f"1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    assert found.count() == 6 + 3 + 6 + 6
    assert found.name_of(model[2].weight) == "2.weight"
    assert found.name_of(torch.zeros(1)) is None


def test_shared_weights_and_those_of_the_optimizer_alone():
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    model["b"].weight = model["a"].weight
    extra = [nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(4))]
    optimizer = torch.optim.SGD([*model.parameters(), *extra], 0.1)
    found = Parameters(model, [optimizer])
    assert {one.name: one.same_as for one in found.listed if one.same_as} == {
        "b.weight": "a.weight"
    }
    assert [one.name for one in found.listed][-2:] == ["parameter", "parameter#2"]
    assert [name for name, _ in found.tensors()] == [
        "a.weight", "a.bias", "b.bias", "parameter", "parameter#2",
    ]  # fmt: skip
    assert set(found.names()) == {one.name for one in found.listed}


def test_what_has_no_shape_yet_is_not_there():
    model = nn.LazyLinear(2)
    assert Parameters(model, []).listed == []
    model(torch.zeros(1, 3))
    assert Parameters(model, []).listed[0] == ProgramParameter("weight", (2, 3))
