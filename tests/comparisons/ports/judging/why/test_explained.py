"""What is called rounding: never stages of one side alone that hand back another gradient, nor a
loss that they change by little (judging/why/, judging/alone/)."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from comparisons.ports import compare_programs
from pyvae.recording.record import record

OTHER_GRADIENTS = {  # two ways to the same values; y is 0
    "half of a square": (
        lambda x, y: (x - y).pow(2),
        lambda x, y: (x - y) * (x - y).detach(),
    ),
    "a factor of a product": (lambda x, y: x * x, lambda x, y: x * x.detach()),
    "a term that is zero": (lambda x, y: x + y, lambda x, y: (x + (x - x.detach())) + y),
    "a kink that is met": (
        lambda x, y: x * torch.relu(y),
        lambda x, y: x * torch.maximum(y, torch.zeros(())),
    ),
}


def recorded(folder, way):
    """One step of a layer, its result, and numbers that are 0."""
    torch.manual_seed(1)
    network = nn.Module()
    network.layer, network.zeros = nn.Linear(3, 2), nn.Parameter(torch.zeros(2))
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    with record(network, optimiser, folder, steps=1):
        way(network.layer(torch.randn(4, 3)), network.zeros).sum().backward()
        optimiser.step()
    return folder


@pytest.mark.parametrize("name", OTHER_GRADIENTS)
def test_another_gradient_of_the_same_values_is_told(name, tmp_path):
    one, other = OTHER_GRADIENTS[name]
    pair = recorded(tmp_path / "paper", one), recorded(tmp_path / "port", other)
    for programs in (pair, pair[::-1]):
        found = compare_programs(*programs)
        assert "backward" in found.first.place
        forward = [one for one in found.judged if one.quantity.passing == "forward"]
        assert "parted" not in {one.verdict for one in forward}


def test_a_gradient_that_is_cut_is_named(tmp_path):
    one, other = OTHER_GRADIENTS["a factor of a product"]
    pair = recorded(tmp_path / "paper", one), recorded(tmp_path / "port", other)
    port = compare_programs(*pair).first.words
    assert any("port has detach (detach), through which no gradient flows" in w for w in port)


def test_a_cut_that_makes_no_difference_is_none(tmp_path):
    """The gradients of the deviations add up to 0, but for rounding."""

    def deviations(mean):
        return lambda x, y: (x - mean(x)).pow(2) + y

    one = recorded(tmp_path / "paper", deviations(lambda x: x.mean(0)))
    other = recorded(tmp_path / "port", deviations(lambda x: x.mean(0).detach()))
    found = compare_programs(one, other)
    assert found.agrees, found


def test_a_loss_that_is_scaled_by_less_than_the_rule_is_told(tmp_path):
    one = recorded(tmp_path / "paper", lambda x, y: x + y)
    other = recorded(tmp_path / "port", lambda x, y: (x + y).sum() * (1 + 1e-5))
    found = compare_programs(one, other)
    assert found.first.judged.quantity.passing == "loss"
    assert "port has mul (mul)" in found.first.words[0]


def test_a_gradient_that_comes_back_on_one_side_alone_is_named(tmp_path):
    """What is cut has no other way to the loss: the stage after it has no gradient at all."""

    def balanced(share):
        def way(x, y):
            p = x.softmax(1)
            return p.log().mean() + (share(p).mean(0) * torch.tensor([0.2, 0.8])).sum() + 0 * y

        return way

    one = recorded(tmp_path / "paper", balanced(lambda p: p))
    other = recorded(tmp_path / "port", balanced(lambda p: p.detach()))
    for pair in ((one, other), (other, one)):
        (words,) = compare_programs(*pair).first.words
        assert words == f"only in {one} a gradient comes back from mean#2 (mean)"
