"""Masks that two programs write in other numbers, and masks that are others."""

from __future__ import annotations

import math
import shutil

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from comparisons.ports import compare_programs
from pyvae.recording.record import record

LENGTH, SIZE = 5, 8


class Attention(nn.Module):
    """Of three layers, and a way to put the values together."""

    def __init__(self, attend):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(SIZE, SIZE) for _ in range(3))
        self.attend = attend

    def forward(self, x):
        return self.attend(self.q(x), self.k(x), self.v(x)).mean(1)


def trained(folder, attend, steps=2):
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(1)
    network = Attention(attend)
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    with record(network, optimiser, folder, steps=steps, quiet=True):
        for _ in range(steps):
            optimiser.zero_grad()
            F.cross_entropy(network(torch.randn(6, LENGTH, SIZE)), torch.arange(6)).backward()
            optimiser.step()
    return folder


def weighted(masked):
    """Attention, written out.

    Arguments:
        masked: What becomes of the scores.
    """
    return lambda q, k, v: masked(q @ k.transpose(1, 2) / math.sqrt(SIZE)).softmax(-1) @ v


def later():
    """What comes later in a sequence."""
    return torch.triu(torch.ones(LENGTH, LENGTH), 1).bool()


def filled(value, mask=later):
    return weighted(lambda scores: scores.masked_fill(mask(), value))


def attended(mask):
    return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=mask())


def one_more():
    mask = later().clone()
    mask[3, 4] = False
    return mask


PAPER = filled(-math.inf)
RIGHT = {
    "filled with less": filled(-1e9),
    "another number is added": weighted(
        lambda scores: scores + torch.triu(torch.full((LENGTH, LENGTH), -math.inf), 1)
    ),
    "what is kept in place of what is left out": attended(
        lambda: torch.tril(torch.ones(LENGTH, LENGTH)).bool()
    ),
}
WRONG = {
    "filled with too little": (filled(-10.0), "masked_fill (masked_fill)"),
    "filled, and moved": (
        weighted(lambda scores: scores.masked_fill(later(), -1e9) * 1.0001), "masked_fill",
    ),
    "what is left out in place of what is kept": (attended(later), "mean (mean)"),
    "filled with less, and one place too few": (filled(-1e9, one_more), "masked_fill"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def compared(port):
    """Both ways round."""
    pair = trained("paper", PAPER), trained("port", port)
    return [compare_programs(*pair), compare_programs(*pair[::-1])]


@pytest.mark.parametrize("name", RIGHT)
def test_other_numbers_that_mark_the_same_places_agree(name):
    for found in compared(RIGHT[name]):
        assert found.agrees, found.lines
        assert any("computed another way, with the same result" in one for one in found.notes)


def test_that_another_number_is_filled_in_is_said():
    found, _ = compared(RIGHT["filled with less"])
    assert found.declared == ["masked_fill (masked_fill): value = -1000000000 where it is -inf"]
    assert "without an effect in these steps" in repr(found)


@pytest.mark.parametrize("name", WRONG)
def test_others_part_as_ever(name):
    port, place = WRONG[name]
    for found in compared(port):
        assert found.verdict.startswith(f"part at step 1, {place}"), found.verdict
