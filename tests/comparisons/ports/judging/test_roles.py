"""Weights, biases and masks that one side alone has make a difference, and are said."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from mistakes.beforehand.layers import classified, images
from mistakes.beforehand.losses import perceptron
from mistakes.beforehand.mistake import DTYPES, Script, recorded
from torch import nn

from comparisons.ports import compare_programs
from pyvae.trace.program import ProgramTrace

pytestmark = pytest.mark.slow


def bias(lacks):
    model = nn.Sequential(nn.Linear(12, 10), nn.ELU(), nn.Linear(10, 4))
    if lacks:
        model[2].bias = None
    return Script(model, images((12,)), classified)


def weights_of_classes(lacks):
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0])

    def loss(model, x, y):
        return F.cross_entropy(model(x), y, weight=None if lacks else weight)

    return Script(perceptron(4), images((12,)), loss)


def affine(lacks):
    model = nn.Sequential(
        nn.Linear(12, 10), nn.LayerNorm(10, elementwise_affine=not lacks), nn.Linear(10, 4)
    )
    return Script(model, images((12,)), classified)


class Attention(nn.Module):
    def __init__(self, lacks):
        super().__init__()
        self.lacks = lacks
        self.first, self.last = nn.Linear(12, 12), nn.Linear(12, 4)

    def forward(self, x):
        x, mask = self.first(x).reshape(2, 4, 12), torch.ones(4, 4, dtype=torch.bool).tril()
        mask = None if self.lacks else mask
        return self.last(F.scaled_dot_product_attention(x, x, x, attn_mask=mask).reshape(8, 12))


class Padded(nn.Module):
    def __init__(self, lacks):
        super().__init__()
        self.lacks = lacks
        self.attend, self.last = nn.MultiheadAttention(12, 2, batch_first=True), nn.Linear(12, 4)

    def forward(self, x):
        x = x.reshape(2, 4, 12)
        mask = None if self.lacks else torch.tensor([[False, False, False, True]] * 2)
        return self.last(self.attend(x, x, x, key_padding_mask=mask)[0].reshape(8, 12))


def network(kind):
    return lambda lacks: Script(kind(lacks), images((12,)), classified)


CROSS_ENTROPY = "cross_entropy_loss (cross_entropy_loss), forward"
ATTENTION = "scaled_dot_product_attention (scaled_dot_product_attention), forward"
LACKING = {  # what one side lacks: step and place, what is said of it, and of the other side
    "bias": (bias, "1, 2 (linear), forward", "bias = false where it is true",
             "bias = true where it is false"),
    "class weights": (weights_of_classes, f"1, {CROSS_ENTROPY}", "no weight where there is one",
                      "weight where there is none"),
    "affine": (affine, "2, 1 (layer_norm), forward", "elementwise_affine = false where it is true",
               "elementwise_affine = true where it is false"),
    "mask": (network(Attention), f"1, {ATTENTION}", "no attn_mask where there is one",
             "attn_mask where there is none"),
    "padding": (network(Padded), "1, attend (multihead_attention), forward",
                "no key_padding_mask where there is one", "key_padding_mask where there is none"),
}  # fmt: skip


def both(make, dtype, folder):
    for name, lacks in (("paper", False), ("port", True)):
        recorded(lambda lacks=lacks: make(lacks), DTYPES[dtype], folder / name)
    return [ProgramTrace.load(folder / name) for name in ("paper", "port")]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LACKING)
def test_what_one_side_lacks_is_said(name, dtype, tmp_path):
    make, place, lacks, has = LACKING[name]
    sides = both(make, dtype, tmp_path)
    first = compare_programs(*sides).first
    assert (first.place, first.words[0]) == (f"step {place}", f"port: {lacks}")
    first = compare_programs(*reversed(sides)).first
    assert (first.place, first.words[0]) == (f"step {place}", f"paper: {has}")


class AddedLater(nn.Module):
    """A bias that a layer adds, or the program itself."""

    def __init__(self, later):
        super().__init__()
        self.later = later
        self.weight, self.bias = nn.Parameter(torch.randn(10, 12)), nn.Parameter(torch.randn(10))
        self.last = nn.Linear(10, 4)

    def forward(self, x):
        if self.later:
            x = F.linear(x, self.weight) + self.bias
        else:
            x = F.linear(x, self.weight, self.bias)
        return self.last(torch.tanh(x))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_bias_that_is_added_by_the_next_function_is_none_that_lacks(dtype, tmp_path):
    sides = both(network(AddedLater), dtype, tmp_path)
    for pair in (sides, sides[::-1]):
        found = compare_programs(*pair)
        assert found.agrees, found.verdict


def test_weights_of_one_make_no_difference(tmp_path):
    def make(lacks):
        weight = None if lacks else torch.ones(4)
        return Script(
            perceptron(4),
            images((12,)),
            lambda model, x, y: F.cross_entropy(model(x), y, weight=weight),
        )

    found = compare_programs(*both(make, "float32", tmp_path))
    assert found.agrees, found.verdict
