"""Probabilities that are rounded to 0 or 1 are named, where they are why two losses part."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from comparisons.ports import compare_programs
from pyvae.recording.record import record

pytestmark = pytest.mark.slow
ROUNDED = "(sigmoid) rounds "


def of_probabilities(logits, y):
    return F.binary_cross_entropy(torch.sigmoid(logits), y, reduction="sum")


def written_out(logits, y):
    return (1 / (1 + torch.exp(-logits)) * y * 1.01).sum()


def without_logarithm(logits, y):
    return (torch.sigmoid(logits) * y).sum()


def of_ones(logits, y):
    return of_probabilities(logits, torch.ones_like(y))


def of_ones_clamped(logits, y):
    return of_logits(logits.clamp(-10, 10), torch.ones_like(y))


def of_logits(logits, y):
    return F.binary_cross_entropy_with_logits(logits, y, reduction="sum")


def twice_the_ones(logits, y):
    weight = torch.full((4,), 2.0)
    return F.binary_cross_entropy_with_logits(logits, y, reduction="sum", pos_weight=weight)


def logarithms(logits, y):
    return -torch.log(torch.softmax(logits, 1))[torch.arange(len(y)), y.argmax(1)].sum()


def of_classes(logits, y):
    return F.cross_entropy(logits, y.argmax(1), reduction="sum")


def words(losses, size):
    """The words of the comparison in either order; none if the two agree."""
    for name, loss in losses.items():
        torch.manual_seed(1)
        layer = nn.Linear(5, 4)
        with torch.no_grad():
            layer.weight *= size
        optimiser = torch.optim.SGD(layer.parameters(), 0.1)
        with record(layer, optimiser, name, steps=1):
            y = (torch.rand(20, 4) < 0.5).float()
            loss(layer(torch.randn(20, 5)), y).backward()
            optimiser.step()
    found = []
    for names in (list(losses), list(losses)[::-1]):
        compared = compare_programs(*names)
        found.append(() if compared.first is None else compared.first.words)
    return found


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


PAIRS = {"sigmoid": (of_probabilities, of_logits), "softmax": (logarithms, of_classes)}


@pytest.mark.parametrize("layer", PAIRS)
def test_a_probability_that_is_rounded_is_named(layer):
    paper, port = PAIRS[layer]
    for one in words({"paper": paper, "port": port}, 300.0):
        assert one[0].startswith(f"paper: {layer} ({layer}) rounds ")
        assert "of 80 probabilities to exactly 0 or 1" in one[0]


@pytest.mark.parametrize("layer", PAIRS)
def test_the_same_of_small_logits_is_no_difference(layer):
    paper, port = PAIRS[layer]
    assert words({"paper": paper, "port": port}, 1.0) == [(), ()]


def test_a_loss_that_rounding_changes_is_no_rounding():
    """In float64 these logits are rounded to no 0 or 1; both losses part in either order."""
    losses = {"paper": of_probabilities, "port": of_logits}
    for one in words(losses, 18.0):
        assert one[0].startswith("paper: sigmoid (sigmoid) rounds ")
        assert not any("backward" in word for word in one)
    for pair in (("paper", "port"), ("port", "paper")):
        assert compare_programs(*pair).first.judged.quantity.passing == "loss"


OTHERS = {
    "pos_weight": (of_probabilities, twice_the_ones),
    "no logarithm": (without_logarithm, written_out),
    "clamped logits": (of_ones, of_ones_clamped),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_difference_is_not_called_rounded(name):
    paper, port = OTHERS[name]
    for one in words({"paper": paper, "port": port}, 300.0 if name == "pos_weight" else 30.0):
        assert one
        assert not any(ROUNDED in word for word in one)
