"""Labels of a GAN that are exchanged, or others, are told, and so is what to look at."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from comparisons.ports import compare_programs
from pyvae.recording.record import record

pytestmark = pytest.mark.slow
BCE = "binary_cross_entropy_with_logits"


def train(
    name, real=1.0, fake=0.0, wanted=None, loss=F.binary_cross_entropy_with_logits, at_once=False
):
    """Records a step of the discriminator and one of the generator."""
    torch.manual_seed(1)
    generator = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4))
    critic = nn.Sequential(nn.Linear(4, 5), nn.LeakyReLU(0.2), nn.Linear(5, 1))
    optimizers = [torch.optim.SGD(one.parameters(), 0.1) for one in (critic, generator)]
    x, z = torch.randn(6, 4), torch.randn(6, 3)

    def of(out, label):
        return loss(out, torch.full_like(out, label))

    with record({"g": generator, "d": critic}, optimizers, name, steps=1, quiet=True):
        made = generator(z)
        if at_once:
            labels = torch.cat([torch.full((6, 1), real), torch.full((6, 1), fake)])
            loss(critic(torch.cat([x, made.detach()])), labels).backward()
        else:
            (of(critic(x), real) + of(critic(made.detach()), fake)).backward()
        optimizers[0].step()
        of(critic(made), real if wanted is None else wanted).backward()
        optimizers[1].step()


@pytest.mark.parametrize(
    ("port", "words"),
    [
        (
            {"real": 0.0, "fake": 1.0},
            f"port: the labels of {BCE}, which takes d.2, are 0 where they are 1, those of "
            f"{BCE}#2, which takes d.2#2, 1 where they are 0: the two are exchanged (real and "
            "fake?)",
        ),
        (
            {"real": 0.9},
            f"port: the labels of {BCE}, which takes d.2, are 0.9 where they are 1: label "
            "smoothing?",
        ),
        (
            {"wanted": 0.0},
            f"port: the labels of {BCE}, which takes d.2, are 0 where they are 1: those of the "
            "other class (real and fake exchanged?)",
        ),
    ],
)
def test_other_labels_are_told(port, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train("paper")
    train("port", **port)
    first = compare_programs("paper", "port").first
    assert first.words[0] == words


@pytest.mark.parametrize("loss", [F.mse_loss, getattr(F, BCE)])
def test_labels_of_one_batch_that_are_exchanged_are_told(loss, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train("paper", at_once=True, loss=loss)
    train("port", real=0.0, fake=1.0, at_once=True, loss=loss)
    (words,) = compare_programs("paper", "port").first.words
    assert words == (
        f"port: the labels of {loss.__name__}, which takes d.2, are 0 where they are 1, and 1 "
        "where they are 0: the two are exchanged (real and fake?)"
    )
