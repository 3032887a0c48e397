"""What was done to the inputs and draws of one side is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from recorded.ported import Program
from recorded.ported_vae import vae
from recorded.trained import Training
from torch import nn

from comparisons.ports import compare_programs
from pyvae.recording.record import record

pytestmark = pytest.mark.slow
FLOAT64 = {"dtype": torch.float64, "steps": 2}


def images(change):
    return Program(batch=lambda step, x, y: (change(x), y), **FLOAT64)


def other_steps(further):
    """Another step's images."""

    def batch(step, x, y):
        return Program(**FLOAT64).data(step + further)[0], y

    return Program(batch=batch, dtype=torch.float64, steps=3)


def shuffled(step, x, y):
    """Rows of this step and the next one, mixed."""
    more = torch.cat([x, Program(**FLOAT64).data(step + 1)[0]])
    return (more[::2], y) if step == 1 else (x, y)


def next_rows(x):
    return torch.cat([x[1:], torch.zeros_like(x[:1])])


INPUTS = {
    "r is (x - 0.1307) / 0.3081: MNIST's usual mean and deviation, where x is python": images(
        lambda x: (x - 0.1307) / 0.3081
    ),
    "r is python rounded to float32": images(lambda x: x.float().double()),
    "r is python rounded to 4 decimals": images(lambda x: (x * 1e4).round() / 1e4),
    "transposed: equal after taking axes in the order (0, 1, 3, 2)": images(
        lambda x: x.mT.contiguous()
    ),
    "each row of r is the next row of python: an index from 1 taken as from 0": images(next_rows),
    "r is python shifted by 1 pixel to the right": images(lambda x: F.pad(x, (1, -1))),
    "r is python held at 0 or more": images(lambda x: x.clamp(0)),
    "r is python rounded to 0 and 1 (at 0.5)": images(lambda x: (x > 0.5).to(x.dtype)),
    "r is python with each place in a row standardised by its own mean and deviation": images(
        lambda x: (x - x.mean(0)) / x.std(0)
    ),
    "r has in step 1 the batch that python has in step 2": other_steps(1),
}


@pytest.mark.parametrize("words", INPUTS)
def test_what_was_done_to_images_is_told(parted, words):
    right = Program(dtype=torch.float64, steps=INPUTS[words].steps)
    assert parted(right, INPUTS[words]) == (words,)


class Given(nn.Module):
    """Takes a mask that is made without torch."""

    def __init__(self, inverted):
        super().__init__()
        self.layer, self.mask = nn.Linear(9, 9), (np.arange(9) < 4) != inverted

    def forward(self, x):
        return self.layer(x).masked_fill(torch.from_numpy(self.mask), 0.0)


def test_a_mask_from_outside_that_is_inverted_is_told(parted):
    right, wrong = (Training(lambda no=no: Given(no), steps=1) for no in (False, True))
    assert parted(right, wrong) == ("r's is python's inverted: true where it is false",)


def test_rows_of_another_shuffle_are_told(parted):
    (words,) = parted(Program(**FLOAT64), Program(batch=shuffled, **FLOAT64))
    assert words == (
        "rows of other batches: 6 of 12 rows of r are those of python in step 2 (another shuffle?)"
    )


@pytest.mark.parametrize("limits", [(0.5, 0.6), (0.6, 0.5)])
def test_another_threshold_on_the_data_is_told(tmp_path, monkeypatch, limits):
    """Few zeros and ones are the same in other batches by chance: that is no other shuffle."""
    monkeypatch.chdir(tmp_path)
    for name, limit in zip(("python", "r"), limits, strict=True):
        torch.manual_seed(1)
        model = nn.Linear(3, 4)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        with record(model, optimizer, name, steps=3):
            for _ in range(3):
                x, y = torch.randn(40, 3), torch.rand(40, 4)
                optimizer.zero_grad()
                F.binary_cross_entropy_with_logits(model(x), (y > limit).float()).backward()
                optimizer.step()
    (words,) = compare_programs("python", "r").first.words
    more, less = ("r", "python") if limits[0] > limits[1] else ("python", "r")
    assert words == (
        f"{more} has 1 in 14 of 160 places where {less} has 0, and nowhere the other way round "
        "(another threshold, or > where it is >=?)"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y: x[:, 1].pow_(3), "20 of 80 numbers differ, all in column 2 of 4"),
        (lambda x, y: x[2:4].add_(1), "8 of 80 numbers differ, all in rows 3 and 4 of 20"),
        (lambda x, y: x[::3, ::2].add_(1), "14 of 80 numbers differ"),
        # the row that is in all batches is no row of another one
        (lambda x, y: y[2].copy_(torch.ones(3)), "3 of 60 numbers differ, all in row 3 of 20"),
    ],
)
def test_where_few_numbers_differ(tmp_path, monkeypatch, change, words):
    monkeypatch.chdir(tmp_path)
    for name in ("python", "r"):
        torch.manual_seed(1)
        model = nn.Linear(4, 3)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        with record(model, optimizer, name, steps=3):
            for _ in range(3):
                x, y = torch.randn(20, 4), torch.randn(20, 3)
                y[7:] = 1.0
                if name == "r":
                    change(x, y)
                optimizer.zero_grad()
                F.mse_loss(model(x), y).backward()
                optimizer.step()
    assert compare_programs("python", "r").first.words == (words,)


def test_images_with_noise_are_not_named(parted):
    noisy = images(lambda x: x + 1e-3 * torch.rand(x.shape, dtype=x.dtype))
    assert parted(Program(**FLOAT64), noisy) == ("it comes from outside",)


def test_an_input_that_is_taken_for_the_target_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, start in (("python", 1), ("r", 0)):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 9))
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        with record(model, optimizer, name, steps=1):
            text = torch.randint(0, 9, (5, 7))
            target = text[:, start : start + 6].reshape(-1)
            F.cross_entropy(model(text[:, :6]).reshape(-1, 9), target).backward()
            optimizer.step()
    first = compare_programs("python", "r").first
    assert first.words == (
        "r has in input#2 the numbers of its input, python has others (is this the right input?)",
    )


def test_noise_that_is_shared_is_told(parted):
    def shared(mu):
        return torch.randn_like(mu[:1]).expand_as(mu)

    words = "r draws one row of noise for all: (1, 5) where it is (12, 5) in python"
    assert parted(vae(), vae(noise=shared)) == (words,)


@pytest.mark.parametrize("divided", [True, False])
def test_losses_of_rows_that_are_taken_in_parts_are_added_or_their_mean(
    divided, tmp_path, monkeypatch
):
    """Where each part has a `backward` of its own, they are put together, too
    (`matching/test_parts.py`)."""
    monkeypatch.chdir(tmp_path)
    for name, parts in (("paper", 1), ("port", 3)):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1))
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        with record(model, optimizer, name, steps=1):
            x, y = torch.randn(12, 4), torch.randn(12, 1)
            both = zip(x.chunk(parts), y.chunk(parts), strict=True)
            loss = torch.stack([F.mse_loss(model(few), targets) for few, targets in both]).sum()
            (loss / parts if divided else loss).backward()
            optimizer.step()
    found = compare_programs("paper", "port")
    assert found.agrees == divided
    if not divided:
        said = "the gradients are 3 times paper's: a sum where it is a mean"
        assert found.first.words == (f"port takes the 12 rows in 3 parts; {said}",)


class Denoiser(nn.Module):
    """Is given noisy images; or is given images, and makes them noisy itself."""

    def __init__(self, adds, share):
        super().__init__()
        self.net = nn.Linear(6, 6)
        self.adds, self.share = adds, share

    def noisy(self, x, noise):
        return self.share**0.5 * x + (1 - self.share) ** 0.5 * noise

    def forward(self, x, noise):
        return self.net(self.noisy(x, noise) if self.adds else x)


def denoised(folder, adds, share=0.6):
    torch.manual_seed(1)
    model = Denoiser(adds, share)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = torch.randn(2, 2, 5, 6)
    with record(model, optimiser, folder, steps=2):
        for x, noise in batches:
            optimiser.zero_grad()
            found = model(x if adds else model.noisy(x, noise), noise)
            F.mse_loss(found, noise).backward()
            optimiser.step()
    return folder


def test_what_one_side_is_given_and_the_other_one_computes(tmp_path, monkeypatch):
    """Two programs for diffusion: noise is added before the model is called, or by the model."""
    monkeypatch.chdir(tmp_path)
    denoised("outside", False)
    for pair in (("outside", denoised("within", True)), ("within", "outside")):
        found = compare_programs(*pair)
        assert found.agrees, found.verdict
    denoised("wrong", True, share=0.7)
    for pair in (("outside", "wrong"), ("wrong", "outside")):
        found = compare_programs(*pair)
        assert found.first is not None
        taken = "add" if pair[0] == "wrong" else "input"
        assert found.first.words[0].startswith(f"in net (linear) {pair[0]}'s takes {taken}, ")
        assert found.first.words[0].endswith("other numbers")
