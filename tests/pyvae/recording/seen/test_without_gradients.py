"""What is computed without gradients from parameters."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from recorded.programs import simple
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


def test_what_is_not_in_use_any_more_is_forgotten():
    known, parameter = WithoutGradients(), nn.Parameter(torch.ones(3))
    mean = parameter.detach() * 2
    known.follow(((parameter, 2), {}), mean, lambda one: False)
    for _ in range(5000):
        known.follow(((mean, 1), {}), mean + 1, lambda one: False)
    assert len(known._held) < 1500
    assert known.has(mean)


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


def with_average(keep):
    """The loss takes an average of the parameters that was kept while the optimiser updated them.

    Arguments:
        keep: Is given model and optimiser; returns the average of the first layer's weight.
    """
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    optimiser, average = keep(model)

    def loss():
        x = torch.randn(5, 3)
        with torch.no_grad():
            target = average()
        return F.mse_loss(model(x), torch.ones(5, 2)) + F.mse_loss(model[0].weight, target)

    return simple(model, optimiser, loss)


def in_the_state(model):
    """ASGD keeps one."""
    optimiser = torch.optim.ASGD(model.parameters(), 0.1, t0=0)
    state = optimiser.state[model[0].weight]
    return optimiser, lambda: state.get("ax", torch.ones(4, 3))


def in_a_hook(model):
    """It comes after the recorder's own, and thus within the update."""
    average, hooks = torch.zeros(4, 3), []
    optimiser = torch.optim.SGD(model.parameters(), 0.1)

    @torch.no_grad()
    def follow(*given):
        average.mul_(0.5).add_(model[0].weight.detach(), alpha=0.5)

    def current():
        if not hooks:
            hooks.append(optimiser.register_step_pre_hook(follow))
        return average

    return optimiser, current


def in_an_optimiser_of_the_users(model):
    class Averaging(torch.optim.Optimizer):
        @torch.no_grad()
        def step(self):
            for one in self.param_groups[0]["params"]:
                one.sub_(one.grad, alpha=0.1)
            average.mul_(0.5).add_(model[0].weight, alpha=0.5)

    average = torch.zeros(4, 3)
    return Averaging(model.parameters(), {}), lambda: average


def after_an_update_that_is_interrupted(model):
    optimiser = torch.optim.SGD(model.parameters(), 0.1)

    def average():
        model[0].weight.grad, optimiser.param_groups[0]["lr"] = torch.ones(4, 3), "much"
        with pytest.raises(TypeError):
            optimiser.step()
        model[0].weight.grad, optimiser.param_groups[0]["lr"] = None, 0.1
        return model[0].weight * 0.5

    return optimiser, average


@pytest.mark.parametrize(
    "keep",
    [
        in_the_state, in_a_hook, in_an_optimiser_of_the_users, after_an_update_that_is_interrupted,
    ],
)  # fmt: skip
def test_an_average_that_is_kept_during_the_update_is_no_tensor_from_outside(recorded, keep):
    trace = recorded(with_average(keep), 3)
    for number in (2, 3):
        loss = [one for one in trace.network_of(number) if one.layer == "mse_loss"][-1]
        target = next(one for one in trace.network_of(number) if one.name == loss.inputs[1])
        assert target.options == {"without_gradients": True}
