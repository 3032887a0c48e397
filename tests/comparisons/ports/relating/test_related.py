"""What comes of stages that one side alone has, and stale values."""

from __future__ import annotations

import pytest
import torch
from recorded.ported_vae import divergence, vae
from recorded.trained import Training
from torch import nn

pytestmark = pytest.mark.slow
EFFECTS = {
    "r is python times 4 (mul#3; in r mul#4)": {"total": lambda bce, kl: bce + 4 * kl},
    "r is python times 10 (binary_cross_entropy; in r mul#4)": {
        "total": lambda bce, kl: 10 * bce + kl
    },
    "python is r times 1/2 (mul#3; in r neg)": {
        "kl": lambda mu, log_var: -torch.sum(1 + log_var - mu**2 - log_var.exp())
    },
    "r is python times 1/60 (one over numbers of a batch) (sum; in r mean)": {
        "kl": lambda mu, log_var: -0.5 * torch.mean(1 + log_var - mu**2 - log_var.exp())
    },
    "r is python times -0.5, held at 0.05 or more (sub#2; in r clamp)": {
        "kl": lambda mu, log_var: (
            (-0.5 * (1 + log_var - mu**2 - log_var.exp())).clamp(min=0.05).sum()
        )
    },
    "python is r times 1/2 (mul; in r log_var)": {"sd": torch.exp},
}


@pytest.mark.parametrize("words", EFFECTS)
def test_what_comes_of_other_stages_is_told(parted, words):
    found = parted(vae(), vae(**EFFECTS[words]))
    assert found[1:] == (words,)
    assert "has" in found[0]


def test_a_factor_without_a_name_of_one_number_is_not(parted):
    found = parted(vae(), vae(total=lambda bce, kl: bce + 1.2345 * kl))
    assert found == ("only r has mul#4 (mul) between mul#3 and add#3",)
    found = parted(vae(), vae(kl=lambda mu, log_var: divergence(mu, log_var)))
    assert found == ()


class Recurrent(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer(9, 4)

    def forward(self, x):
        return self.layer(x)[0] @ torch.ones(4, 9)


def starting(make, change=None):
    """A training of a network each of whose parameters was changed before."""

    def network():
        made = make()
        for one in made.parameters() if change else ():
            one.data = change(one.data)
        return made

    return Training(network, steps=1)


def in_blocks(*order):
    return lambda x: torch.cat([x.chunk(len(order))[block] for block in order])


def next_rows(x):
    return torch.cat([x[1:], 0.1 * torch.ones_like(x[:1])])


STARTS = {
    "r has its gates in the order i, f, o, g where it is i, f, g, o": (
        lambda: Recurrent(nn.LSTM), in_blocks(0, 1, 3, 2),
    ),
    "r has its gates in the order o, i, f, g where it is i, f, g, o": (
        lambda: Recurrent(nn.LSTM), in_blocks(3, 0, 1, 2),
    ),
    "r has its gates in the order z, r, n where it is r, z, n": (
        lambda: Recurrent(nn.GRU), in_blocks(1, 0, 2),
    ),
    "r has it with its blocks of rows (gates) in the order (0, 2, 1)": (
        lambda: nn.Linear(9, 9), in_blocks(0, 2, 1),
    ),
    # no index has picked anything before a step starts
    "each row of r is the next row of python": (lambda: nn.Linear(9, 9), next_rows),
}  # fmt: skip


@pytest.mark.parametrize("words", STARTS)
def test_how_a_start_is_stored_is_told(parted, words):
    make, change = STARTS[words]
    assert parted(starting(make), starting(make, change)) == (words,)
