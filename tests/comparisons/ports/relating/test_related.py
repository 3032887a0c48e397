"""What comes of stages that one side alone has, and stale values."""

from __future__ import annotations

import pytest
import torch
from ported_vae import divergence, vae

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
