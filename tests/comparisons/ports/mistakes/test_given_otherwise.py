"""A loss that gets other things, or has stages after it, is told by the mistake that this is."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from recorded.ported import Program
from recorded.ported_vae import vae

from comparisons.ports import compare_programs

pytestmark = pytest.mark.slow
FLOAT64 = {"dtype": torch.float64, "steps": 2}
PROBABILITIES = "softmax taken twice: of probabilities where logits belong"
LOGITS = "the sigmoid taken twice: of logits, but given probabilities"
WEIGHTS = torch.arange(1.0, 6.0, dtype=torch.float64)


def program(loss=F.cross_entropy):
    return Program(loss=loss, **FLOAT64)


def exchanged(pixels, x):
    return F.binary_cross_entropy(x, pixels, reduction="sum")


def with_logits(pixels, x):
    return F.binary_cross_entropy_with_logits(pixels, x, reduction="sum")


def likely(x, y):
    """Probabilities of the classes, computed from data alone."""
    return 0.8 * F.one_hot(y, x.shape[1]).to(x.dtype) + 0.2 / x.shape[1]


LOSSES = {
    f"r: {PROBABILITIES}": (
        program(),
        program(lambda x, y: F.cross_entropy(torch.softmax(x, 1), y)),
    ),
    "r: halved": (program(), program(lambda x, y: F.cross_entropy(x, y) / 2)),
    "r: input and target exchanged": (vae(), vae(bce=exchanged)),
    f"r: {LOGITS}": (vae(), vae(bce=with_logits)),
    "r: the divergence in the other direction, KL(input || target)": (
        program(lambda x, y: F.kl_div(F.log_softmax(x, 1), likely(x, y), reduction="sum")),
        program(lambda x, y: F.kl_div(likely(x, y).log(), F.softmax(x, 1), reduction="sum")),
    ),
}


@pytest.mark.parametrize("words", LOSSES)
def test_the_mistake_is_named(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, one in zip(("python", "r"), LOSSES[words], strict=True):
        one.record(tmp_path / name)
    first = compare_programs("python", "r").first
    assert first.words[0].startswith(f"{words} (in ")
    if "divergence" in words:
        assert first.place == "step 1, kl_div (kl_div), forward (of input#2)"
    else:
        assert len(first.words) > 1  # and the stages that make it
