"""Running statistics that one program moves by hand, with a mistake in it."""

from __future__ import annotations

import pytest
import torch
from recorded.by_hand import Written, batch_norm, of_images
from torch import nn

from comparisons.ports import compare_programs
from pyvae.recording.record import record

pytestmark = pytest.mark.slow


def by_hand(kept=0.9, correction=1):
    """Batch norm as it is written by hand.

    Arguments:
        kept: How much of the running statistics stays.
        correction: 1 for the unbiased variance.
    """

    def compute(x, own):
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        with torch.no_grad():
            own.running_mean.mul_(kept).add_((1 - kept) * mean)
            own.running_var.mul_(kept).add_((1 - kept) * x.var((0, 2, 3), correction=correction))
            own.num_batches_tracked.add_(1)
        y = (x - mean[:, None, None]) / torch.sqrt(variance[:, None, None] + 1e-5)
        return y * own.weight[:, None, None] + own.bias[:, None, None]

    return lambda: Written(batch_norm(), compute)


MISTAKES = {
    "its running variance moves towards the biased variance, not the unbiased one": (
        by_hand(correction=0), "running_var",
    ),
    "momentum = 0.9 where it is 0.1 (Keras's convention: what is kept)": (
        by_hand(0.1), "running_mean",
    ),
    "momentum = 0.3 where it is 0.1": (by_hand(0.7), "running_mean"),
    "its running statistics are not updated": (by_hand(1.0), "running_mean"),
}  # fmt: skip


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_named_in_buffers_that_are_moved_by_hand(tmp_path, words):
    norm, buffer = MISTAKES[words]
    python, r = of_images(tmp_path / "python"), of_images(tmp_path / "r", norm=norm)
    for sides in ((python, r), (r, python)):
        found = compare_programs(*sides)
        assert found.first.judged.quantity.value[0] == f"norm.{buffer}"
        assert found.first.words == (f"r: {words}",)


def test_nothing_is_found_where_they_are_moved_rightly(tmp_path):
    python = of_images(tmp_path / "python")
    assert compare_programs(python, of_images(tmp_path / "r", norm=by_hand())).agrees


class Biased(nn.Module):
    """A bias that batch norm takes off again: its gradient is rounding, which Adagrad makes a step
    of, in one way or the other; the running mean follows it."""

    def __init__(self, kept):
        super().__init__()
        self.kept = kept
        self.inner, self.norm = nn.Linear(4, 6), nn.BatchNorm1d(6)
        self.outer = nn.Linear(6, 2)

    def forward(self, x):
        x = self.inner(x)
        if self.kept is None:
            return self.outer(torch.relu(self.norm(x)))
        own = self.norm
        with torch.no_grad():
            own.running_mean.mul_(self.kept).add_((1 - self.kept) * x.mean(0))
            own.running_var.mul_(self.kept).add_((1 - self.kept) * x.var(0))
            own.num_batches_tracked.add_(1)
        x = (x - x.mean(0)) / torch.sqrt(x.var(0, unbiased=False) + own.eps)
        return self.outer(torch.relu(x * own.weight + own.bias))


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        (0.9, ()),
        (0.1, ("port: momentum = 0.9 where it is 0.1 (Keras's convention: what is kept)",)),
    ],
)
def test_where_rounding_moves_what_they_follow(kept, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, how in (("paper", None), ("port", kept)):
        torch.manual_seed(1)
        model = Biased(how)
        optimizer = torch.optim.Adagrad(model.parameters(), 1e-2)
        with record(model, optimizer, name, steps=3):
            for _ in range(3):
                x, y = torch.randn(8, 4), torch.randn(8, 2)
                optimizer.zero_grad()
                nn.functional.mse_loss(model(x), y).backward()
                optimizer.step()
    first = compare_programs("paper", "port").first
    assert (() if first is None else first.words) == words


def test_where_they_are_set_to_zero_between_two_steps(tmp_path, monkeypatch):
    """Two things that it may be: that ended in an error."""
    monkeypatch.chdir(tmp_path)
    for name in ("paper", "port"):
        torch.manual_seed(1)
        model = Biased(None)
        optimizer = torch.optim.SGD(model.parameters(), 1e-2)
        with record(model, optimizer, name, steps=3):
            for step in range(3):
                if step == 2 and name == "port":
                    model.norm.running_mean.zero_()
                optimizer.zero_grad()
                model(torch.randn(8, 4)).square().mean().backward()
                optimizer.step()
    first = compare_programs("paper", "port").first
    assert first.place == "step 3, norm.running_mean, what the step starts from"
    assert ", or sets norm.running_mean to zero" in first.words[0]
    assert first.words[0].endswith(", between step 2 and step 3; paper does not")
