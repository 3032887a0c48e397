"""Updates of Adam's relatives are those of PyTorch's own optimisers."""

from __future__ import annotations

import pytest
import torch
from stand_ins.narrow import NARROW_CONV

from comparisons.diagnosis.mistakes.adam import update
from comparisons.expected.layers import Layers


def stepped(make, steps):
    """What an optimiser of PyTorch's made of random gradients in its last step."""
    torch.manual_seed(steps)
    theta = torch.nn.Parameter(torch.randn(7, dtype=torch.float64))
    optimizer, probe = make([theta], lr=1e-3), {}
    for _ in range(steps):
        theta.grad = torch.randn_like(theta)
        probe = {"start/w": theta.detach().clone(), "gradient/w": theta.grad.clone()}
        optimizer.step()
    kept = optimizer.state[theta]
    probe |= {"moment1/w": kept["exp_avg"], "moment2/w": kept["exp_avg_sq"]}
    return probe | {"parameter/w": theta.detach().clone()}


def exact(make, steps):
    """The suspects that return what the optimiser did in that step, but for fitted constants."""
    probe = stepped(make, steps)
    layers = Layers(NARROW_CONV, NARROW_CONV.settings(dtype="float64"), steps)
    moved = probe["start/w"] - probe["parameter/w"]
    return {
        words
        for words, value in update(layers, "w", probe)
        if float((value - moved).abs().max()) < 1e-10 and " where it is " not in words
    }


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (torch.optim.NAdam, "NAdam: the next step's momentum in the update"),
        (torch.optim.RAdam, "RAdam: "),
    ],
)
def test_a_relative_of_adam_is_told_by_its_update(make, words):
    for steps in (2, 5, 6, 20):
        (found,) = exact(make, steps)
        assert found.startswith(words)
    assert any(found.startswith(words) for found in exact(make, 1))
