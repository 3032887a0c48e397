"""What is computed without gradients from parameters."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from programs import simple
from torch import nn

from pyvae.recording.seen.without_gradients import WithoutGradients


def test_what_is_computed_from_a_parameter_is_known_as_long_as_it_is_there():
    known, parameter, x = WithoutGradients(), nn.Parameter(torch.ones(3)), torch.ones(3)
    y = parameter.detach() * x
    known.follow(((parameter, x), {}), y, lambda one: False)
    assert known.has(y)
    assert known.has(y[1:])  # the same memory
    assert not known.has(x)
    z = y + 1
    known.follow(((y, 1), {}), z, lambda one: False)
    assert known.has(z)
    other = x + 1
    known.follow(((x, 1), {}), other, lambda one: False)
    assert not known.has(other)
    held = len(known._held)
    del z
    fresh = [torch.empty(3) for _ in range(64)]  # one of them where z was
    assert not any(known.has(one) for one in fresh)
    assert len(known._held) <= held


def test_a_function_of_lists_changes_its_first_argument():
    known, parameter, mean = WithoutGradients(), nn.Parameter(torch.ones(3)), torch.zeros(3)
    torch._foreach_add_([mean], [parameter.detach()])
    known.follow((([mean], [parameter]), {}), None, lambda one: False)
    assert known.has(mean)


def with_teacher():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    teacher = copy.deepcopy(model)
    optimiser = torch.optim.SGD(model.parameters(), 0.1)

    def loss():
        x = torch.randn(5, 3)
        with torch.no_grad():
            for own, followed in zip(teacher.parameters(), model.parameters(), strict=True):
                own.mul_(0.9).add_(followed, alpha=0.1)
            target = teacher(x + 0.1) * 2
        return F.mse_loss(model(x), target)

    return simple(model, optimiser, loss)


def test_what_a_teacher_returns_is_no_tensor_from_outside(recorded):
    trace = recorded(with_teacher(), 3)
    for number in (1, 2, 3):
        inputs = [one for one in trace.network_of(number) if one.layer in ("input", "draw")]
        marked = [bool(one.options.get("without_gradients")) for one in inputs]
        assert len(inputs) == 2
        assert sum(marked) == 1
        loss = next(one for one in trace.network_of(number) if one.layer == "mse_loss")
        target = next(one for one in inputs if one.name == loss.inputs[1])
        assert target.options == {"without_gradients": True}
