"""A step, computed once more as a function of its parameters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from comparisons.ports.judging.own import Own
from comparisons.ports.judging.whole.function import StepFunction
from comparisons.ports.side import load_sides
from pyvae.recording.record import record

NETWORK = {"dtype": torch.float64}


def derivatives(net, x):
    """Of a vector with weights, of numbers, and of one that is cut off."""
    x = x.clone().requires_grad_()
    y = net(x)
    weighted = torch.autograd.grad(y, x, torch.ones_like(y) * 2, create_graph=True)[0]
    weights = torch.autograd.grad(y.sum(), [net.weight, net.bias], create_graph=True)
    cut = torch.autograd.grad(y.sin().sum(), x, retain_graph=True)[0]
    return (weighted * y.sum() + cut * y.sum()).pow(2).mean() + (weights[0] * net.weight).sum()


def several(net, x):
    """Of which `backward` is called on each."""
    net(x).pow(2).mean().backward(retain_graph=True)
    return net(x).sin().mean()


@pytest.fixture
def step(tmp_path):
    def recorded(loss):
        torch.manual_seed(1)
        net = nn.Linear(4, 3, **NETWORK)
        optimiser = torch.optim.SGD(net.parameters(), 0.1)
        x = torch.randn(5, 4, **NETWORK)
        with record(net, optimiser, tmp_path / "program", steps=1):
            loss(net, x).backward()
            optimiser.step()
        return load_sides(tmp_path / "program", tmp_path / "program")[0].step(1)

    return recorded


@pytest.mark.parametrize("loss", [derivatives, several])
def test_it_is_what_was_recorded(loss, step):
    one = step(loss)
    starts = {name: one.arrays[f"start/{name}"] for name in ("weight", "bias")}
    found = StepFunction(Own(one, 1e-9, "float64")).at(starts)
    assert found.loss == pytest.approx(one.arrays["loss/total"].item(), rel=1e-12)
    for name in starts:
        np.testing.assert_allclose(found.gradients[name], one.arrays[f"gradient/{name}"], 1e-12)


def test_other_parameters_and_what_is_added_on_the_way(step):
    one = step(lambda net, x: net(x).pow(2).sum())
    function = StepFunction(Own(one, 1e-9, "float64"))
    output = next(stage.name for stage in one.network if stage.layer == "linear")
    starts = {"weight": np.zeros((3, 4)), "bias": np.arange(3.0)}
    found = function.at(starts, {output: np.full((5, 3), 2.0)}, [output])
    y = np.tile(np.arange(3.0) + 2, (5, 1))
    assert found.loss == pytest.approx((y**2).sum())
    np.testing.assert_allclose(found.values[output], y)
    np.testing.assert_allclose(found.slopes[output], 2 * y)
    np.testing.assert_allclose(found.gradients["bias"], (2 * y).sum(0))
    assert function.at({"weight": np.full((3, 4), np.nan), "bias": np.zeros(3)}) is None
    assert function.at({"weight": np.zeros((2, 4)), "bias": np.zeros(3)}) is None


def test_what_is_derived_alone(step):
    one = step(derivatives)
    function = StepFunction(Own(one, 1e-9, "float64"))
    (sine,) = (stage.name for stage in one.network if stage.layer == "sin")
    (linear,) = (stage.name for stage in one.network if stage.layer == "linear")
    assert function.leads_to_loss(sine)
    assert function.is_only_derived(sine)
    assert not function.is_only_derived(linear)
