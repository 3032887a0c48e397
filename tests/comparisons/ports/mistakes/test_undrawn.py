"""A dropout layer that drops other numbers than it should, beside one that does not."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from examples.example import Example, positive
from torch import nn

from comparisons.ports.compare import compare_programs
from comparisons.ports.judging.judged import RTOL
from comparisons.ports.judging.own import Own
from comparisons.ports.matching.matched import StageMatch
from comparisons.ports.mistakes.undrawn import with_mask_of
from comparisons.ports.side import load_sides
from pyvae.recording.record import record

EXAMPLE = Example(lambda: nn.Dropout(0.3), (partial(positive, 6, 8),))


def inverted(x):
    keep = nn.functional.dropout(torch.ones_like(x), 0.3) != 0
    return torch.where(keep, 0.0, x / 0.7)


def other_numbers(x):
    return x * (torch.rand_like(x.detach()) > 0.3) / 0.7


def train(folder, forward=None):
    network = EXAMPLE.network()
    if forward is not None:
        network.layer.forward = forward
    optimiser = torch.optim.SGD(network.parameters(), 0.01)
    torch.manual_seed(2)
    batches = [EXAMPLE.batch()[0] for _ in range(2)]
    with record(network, optimiser, folder, steps=2):
        for batch in batches:
            optimiser.zero_grad()
            network(*batch).backward()
            optimiser.step()
    return folder


def test_the_other_sides_mask_names_what_was_dropped(tmp_path):
    right, wrong = train(tmp_path / "python"), train(tmp_path / "r", inverted)
    sides = load_sides(right, wrong)
    own = [Own(side.step(1), RTOL["float64"], "float64") for side in sides]
    assert "draw/layer" not in own[1].step.arrays
    stages = [next(s for s in one.step.network if s.name == "layer") for one in own]
    there = with_mask_of(own, 1, StageMatch(*stages, "name"))
    assert np.array_equal(there.step.arrays["draw/layer"], own[0].step.arrays["draw/layer"])
    assert own[1].forward("layer") is None
    assert there.forward("layer").size > 0.1
    assert with_mask_of(own, 0, StageMatch(*stages, "name")) is own[0]
    assert with_mask_of(own, 1, None) is own[1]


@pytest.mark.parametrize(
    ("forward", "words"), [(inverted, ["the mask inverted"]), (other_numbers, [])]
)
def test_other_random_numbers_have_no_name(tmp_path, forward, words):
    found = compare_programs(train(tmp_path / "python"), train(tmp_path / "r", forward))
    assert found.first.place.startswith("step 1, layer (dropout), forward")
    named = [one for one in found.first.words if one.endswith(tuple(words) or ("mask",))]
    assert len(named) == len(words)
