"""What the other side makes of a term of the loss is told."""

from __future__ import annotations

import pytest
import torch
from recorded.ported_vae import vae

pytestmark = pytest.mark.slow


def stacked(weight):
    """A sum in stages of its own."""
    return lambda bce, kl: torch.stack([bce, weight * kl]).sum()


BATCH = "the term mul#3 (mul) times 0.0002 = 12/60000 (batch size over images)"
TOTALS = {
    "the term mul#3 (mul) is left out of the loss": lambda bce, kl: bce,
    "the term binary_cross_entropy (binary_cross_entropy) is left out of the loss": (
        lambda bce, kl: kl
    ),
    "the term mul#3 (mul) is subtracted where it is added": lambda bce, kl: bce - kl,
    "the term mul#3 (mul) times 4": stacked(4),
    f"{BATCH}, or the term mul#3 (mul) times 1/5000 (one over batches)": stacked(12 / 60000),
}


@pytest.mark.parametrize("words", TOTALS)
def test_what_became_of_a_term_is_told(parted, words):
    found = parted(vae(), vae(total=TOTALS[words]))
    assert found[0] == f"r: {words}"
    assert all("only" in one for one in found[1:])


def test_another_loss_has_no_name(parted):
    found = parted(vae(), vae(total=stacked(1.2345)))
    assert found
    assert all("only" in one for one in found)
