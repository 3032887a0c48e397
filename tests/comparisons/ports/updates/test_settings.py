"""Settings that are declared differently, of some parameters alone."""

from __future__ import annotations

import pytest
import torch
from recorded.trained import Training

from comparisons.ports import compare_programs

pytestmark = pytest.mark.slow


def grouped(choose, **about):
    """Two groups: those that are chosen have other settings."""

    def make(network):
        named = list(network.named_parameters())
        some = [p for name, p in named if choose(name, p)]
        rest = [p for name, p in named if not choose(name, p)]
        return torch.optim.AdamW([{"params": some, **about}, {"params": rest}], 1e-3)

    return make


CASES = {
    "another rate": (
        grouped(lambda name, p: name.startswith("decoder"), lr=1e-2),
        "r: lr = 0.01 where it is 0.001, of decoder.* alone",
    ),
    "no decay of biases and norms": (
        grouped(lambda name, p: p.ndim < 2, weight_decay=0.0),
        "r: weight_decay = 0 where it is 0.01, of the parameters of one dimension (biases and "
        "norms) alone",
    ),
    "of all": (grouped(lambda name, p: True, lr=1e-2), "r: lr = 0.01 where it is 0.001"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_group_with_other_settings(pair, name):
    wrong, words = CASES[name]
    right = Training(optimiser=lambda n: torch.optim.AdamW(n.parameters(), 1e-3))
    found = compare_programs(*pair(right, Training(optimiser=wrong)))
    assert found.first.words == (words,)
