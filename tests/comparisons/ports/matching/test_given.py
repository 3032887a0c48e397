"""Tensors from outside that two programs take in other places belong to nothing of the other."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from comparisons.ports import compare_programs
from pyvae.recording.record import record

NODES, CLASSES, IGNORED = 7, 4, -100
EDGES = torch.tensor([[0, 1, 2, 3, 4, 5, 6, 0], [1, 2, 3, 4, 5, 6, 0, 3]])


def product(h):
    """Messages between the nodes of a graph by its adjacency matrix."""
    adjacency = torch.zeros(NODES, NODES)
    adjacency[EDGES[1], EDGES[0]] = 1
    return adjacency @ h


def added(h):
    return torch.zeros_like(h).index_add(0, EDGES[1], h[EDGES[0]])


def added_to_sources(h):
    return torch.zeros_like(h).index_add(0, EDGES[0], h[EDGES[1]])


def library(z, y):
    return F.cross_entropy(z, y, label_smoothing=0.1, ignore_index=IGNORED)


def by_hand(z, y, others=CLASSES):
    """The same, of the rows that are not ignored; of `others` the smoothed part."""
    known = y != IGNORED
    log_p, y = F.log_softmax(z, 1)[known], y[known]
    right = F.one_hot(y, CLASSES).float()
    smooth = right * 0.9 + (1.0 if others == CLASSES else 1 - right) * 0.1 / others
    return -(smooth * log_p).sum(1).mean()


def smoothed_towards_others(z, y):
    return by_hand(z, y, CLASSES - 1)


class Network(nn.Module):
    def __init__(self, messages):
        super().__init__()
        self.messages = messages
        self.inner, self.outer = nn.Linear(3, 5), nn.Linear(5, CLASSES)

    def forward(self, x):
        return self.outer(self.messages(torch.relu(self.inner(self.messages(x)))))


def train(folder, messages=product, loss=library):
    torch.manual_seed(1)
    model = Network(messages)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    with record(model, optimizer, folder, steps=2):
        for _ in range(2):
            x, y = torch.randn(NODES, 3), torch.randint(0, CLASSES, (NODES,))
            y[0] = IGNORED
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
    return folder


@pytest.mark.parametrize(
    "port", [{"messages": added}, {"loss": by_hand}, {"messages": added, "loss": by_hand}]
)
def test_constants_of_another_shape_and_masks_are_no_difference(port, tmp_path):
    """A matrix of a graph is not the zeros that its messages are added to, and a mask of the known
    classes is not these classes, though they are the first ones that each side takes."""
    found = compare_programs(train(tmp_path / "original"), train(tmp_path / "port", **port))
    assert found.first is None


@pytest.mark.parametrize(
    ("port", "place", "words"),
    [
        (
            {"messages": added_to_sources}, "step 1, index (index), forward",
            "index = (0) where it is (1)",
        ),
        (
            {"loss": smoothed_towards_others}, "step 1, loss",
            "smoothed towards the other classes alone",
        ),
    ],
)  # fmt: skip
def test_a_mistake_beside_them_is_found(port, place, words, tmp_path):
    found = compare_programs(train(tmp_path / "original"), train(tmp_path / "port", **port))
    assert found.first.place == place
    assert words in " ".join(found.first.words)


class Placed(nn.Module):
    """Adds a number for each place; one that is kept in a list is no parameter."""

    def __init__(self, registered):
        super().__init__()
        self.fc, self.out = nn.Linear(4, 4), nn.Linear(4, 2)
        self.kept = [nn.Parameter(torch.linspace(-1, 1, 4))]
        if registered:
            self.places = self.kept[0]

    def forward(self, x):
        return self.out(torch.tanh(self.fc(x) + self.kept[0]))


def test_a_tensor_that_is_no_parameter_of_one_side_is_told(tmp_path, monkeypatch):
    """It begins with the same numbers, and the first step's update does not reach it."""
    monkeypatch.chdir(tmp_path)
    for folder, registered in (("paper", True), ("port", False)):
        torch.manual_seed(1)
        network = Placed(registered)
        optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
        batches = torch.randn(2, 6, 4)
        with record(network, optimiser, folder, steps=2):
            for x in batches:
                optimiser.zero_grad()
                network(x).square().mean().backward()
                optimiser.step()
    for pair in (("paper", "port"), ("port", "paper")):
        first = compare_programs(*pair).first
        assert first is not None
        assert first.place.startswith("step 2, add (add")
        taken = "where paper takes its parameter places: it is no parameter of port's model"
        assert first.words[0].startswith("port takes input")
        assert taken in first.words[0]
