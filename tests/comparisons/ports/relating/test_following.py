"""A factor is named where the next recorded step has it, too."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from comparisons.ports import compare_programs
from pyvae.recording.record import record


def scaled(folder, factors):
    """A layer whose result is multiplied, by a number for each step, without a word of it."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    layer, forward = network[0], network[0].forward
    with record(network, optimiser, folder, steps=len(factors)):
        for factor in factors:
            layer.forward = lambda x, factor=factor: factor * forward(x)
            x = torch.rand(5, 4)
            optimiser.zero_grad()
            network(x).square().sum().backward()
            optimiser.step()
    return folder


@pytest.mark.parametrize(
    ("factors", "end"),
    [
        ((1.23, 1.23), "times 1.23"),
        ((1.23, 1.0), "times 1.23 (in step 1 alone)"),
        ((1.23, 0.77), "not what it should be for its own inputs"),
    ],
)
def test_a_factor_is_confirmed_on_the_next_step(tmp_path, factors, end):
    right = scaled(tmp_path / "right", (1.0, 1.0))
    found = compare_programs(right, scaled(tmp_path / "wrong", factors))
    assert found.first.place == "step 1, 0 (linear), forward"
    assert found.first.words[0].endswith(end)
