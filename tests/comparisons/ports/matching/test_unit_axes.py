"""Values that one side has with further axes of one element."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from comparisons.ports import compare_programs
from pyvae.recording.record import record


class Net(nn.Module):
    """A token's embedding and its place's; then a layer for each example, or for each number."""

    def __init__(self, axis, **other):
        super().__init__()
        self.axis, self.other = axis, other
        self.places = nn.Embedding(5, 4)
        self.one = nn.Linear(1, 4)
        self.norm = nn.LayerNorm(4, eps=other.get("eps", 1e-5))
        self.out = nn.Linear(4, 1)

    def forward(self, x):
        places = torch.arange(5)
        places = self.places(places[None] if self.axis else places)
        first = x[:, 0, None] if self.axis else x[:, 0]
        first = torch.tanh(self.one(first.unsqueeze(-1)))
        first = first if self.axis else first[:, None]
        h = self.norm(first + places)
        return self.out(h.mean(1))


def trained(folder, axis, squeeze=True, **other):
    torch.manual_seed(1)
    network = Net(axis, **other)
    optimiser = torch.optim.Adam(network.parameters(), eps=other.get("adam", 1e-8))
    with record(network, optimiser, folder, steps=2):
        for _ in range(2):
            x, y = torch.randn(6, 3), torch.randn(6)
            found = network(x)
            optimiser.zero_grad()
            F.mse_loss(found.squeeze(1) if squeeze else found, y).backward()
            optimiser.step()
    return folder


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def both_ways(*pair):
    return [compare_programs(*pair), compare_programs(*pair[::-1])]


def test_axes_without_effect_are_no_difference():
    for found in both_ways(trained("one", False), trained("other", True)):
        assert found.agrees, found.verdict


@pytest.mark.parametrize(
    ("mistake", "place"),
    [
        ({"eps": 1e-2}, "step 1, norm (layer_norm), forward"),
        ({"adam": 1e-3}, "step 1, optimizer (adam), update of"),
    ],
)
def test_what_is_wrong_beside_them_has_its_place(mistake, place):
    for found in both_ways(trained("one", False), trained("other", True, **mistake)):
        assert found.first is not None
        assert found.first.place.startswith(place), found.verdict


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_axes_that_make_another_loss_are_told():
    """(6, 1) and (6,) are broadcast to (6, 6)."""
    for found in both_ways(trained("one", True), trained("other", True, squeeze=False)):
        assert found.first is not None
        assert found.first.place == "step 1, loss" or "mse_loss" in found.first.place
