"""Planted mistakes in networks of other kinds: recurrent, attention, a VAE of functions; programs
with two optimisers, accumulated gradients and shared weights."""

from __future__ import annotations

import re

import pytest
import torch
import torch.nn.functional as F
from recorded.ported import Classifier, Program, rewrite
from torch import nn

from comparisons.ports import compare_programs
from pyvae.recording.record import record

pytestmark = pytest.mark.slow

ROWS, WORDS, LENGTH, WIDTH = 6, 11, 5, 8


class Recurrent(nn.Module):
    def __init__(self, m: str) -> None:
        super().__init__()
        self.m = m
        self.embedding = nn.Embedding(WORDS, WIDTH, padding_idx=0 if m == "padding" else None)
        self.lstm = nn.LSTM(WIDTH, WIDTH, batch_first=True, bidirectional=m == "both ways")
        self.out = nn.Linear(WIDTH * (2 if m == "both ways" else 1), 3)

    def forward(self, x):
        x = self.embedding(x)
        if self.m == "scaled":
            x = x * WIDTH**0.5
        if self.m == "time":
            x = x.flip(1)
        states, (_, c) = self.lstm(x)
        if self.m == "mean":
            return self.out(states.mean(1))
        if self.m == "first":
            return self.out(states[:, 0])
        if self.m == "cell":
            return self.out(c[-1])
        if self.m == "stop":
            return self.out(states[:, -1].detach())
        return self.out(states[:, -1])


class Attention(nn.Module):
    def __init__(self, m: str) -> None:
        super().__init__()
        self.m = m
        self.embedding = nn.Embedding(WORDS, WIDTH)
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, WORDS, bias=False)
        if m != "untied":
            self.head.weight = self.embedding.weight

    def forward(self, x):
        m, x = self.m, self.embedding(x)
        q, k, v = self.q(x), self.k(x), self.v(x)
        if m == "swapped":
            q, k = k, q
        a = q @ k.transpose(1, 2)
        a = a / (WIDTH if m == "no root" else WIDTH**0.5) if m != "no scale" else a
        mask = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(0 if m == "mask" else 1)
        if m == "mask":
            mask[0, 0] = False
        if m != "no mask":
            a = a.masked_fill(mask, -10 if m == "fill" else -torch.inf)
        a = a.softmax(1 if m == "axis" else 2)
        y = a @ v
        y = self.norm(y) + x if m == "before" else self.norm(y + (0.999 * x if m == "less" else x))
        if m == "position":
            y = y + 1e-5
        return self.head(y).mean(1)


class Variational(nn.Module):
    def __init__(self, m: str) -> None:
        super().__init__()
        self.m = m
        self.encoder, self.decoder = nn.Linear(LENGTH, 4), nn.Linear(2, LENGTH)

    def forward(self, x):
        m = self.m
        x = x.to(self.encoder.weight.dtype)
        mean, spread = self.encoder(torch.tanh(x) if m == "squashed" else x).chunk(2, 1)
        if m == "halves":
            mean, spread = spread, mean
        noise = torch.randn(mean.shape).to(x.dtype)
        if m == "another draw":
            noise = torch.randn(mean.shape)
        if m == "wide":
            noise = noise * 1.00001
        std = spread.exp() if m == "variance" else (0.5 * spread).exp()
        z = mean if m == "no noise" else mean + std * noise
        self.kl = -0.5 * (1 + spread - mean**2 - spread.exp()).sum(1)
        if m == "kl":
            self.kl = -0.5 * (spread - mean**2 - spread.exp()).sum(1)
        out = self.decoder(z)
        return out.sigmoid() if m == "sigmoid" else out


def train(folder, kind, m="", dtype=torch.float32):
    torch.manual_seed(3)
    network = {"recurrent": Recurrent, "attention": Attention, "vae": Variational}[kind](m)
    network.to(dtype)
    network_parameters(network, m)
    optimisers = [torch.optim.Adam(network.parameters(), 1e-3)]
    if kind == "vae":
        first, second = network.encoder.parameters(), network.decoder.parameters()
        rate = 1e-3 if m != "second rate" else 2e-3
        optimisers = [torch.optim.Adam(first, 1e-3), torch.optim.SGD(second, rate, momentum=0.9)]
        if m == "order":
            optimisers.reverse()
    drawn = torch.Generator().manual_seed(5)
    with record(
        network,
        optimisers if len(optimisers) > 1 else optimisers[0],
        folder,
        steps=None,
        overwrite=True,
    ):
        for step in range(3):
            for one in optimisers:
                one.zero_grad()
            for _part in range(1 if m == "one part" else 2):
                x = torch.randint(1, WORDS, (ROWS, LENGTH), generator=drawn)
                y = torch.randint(0, 3, (ROWS,), generator=drawn)
                if m == "word" and step == 1:
                    x[2, 3] = x[2, 3] % (WORDS - 1) + 1
                loss = loss_of(network, kind, m, x, y)
                (loss if m == "no halves" else loss / 2).backward()
            before_update(network, m, step)
            for one in optimisers:
                one.step()
            after_update(network, m, step)


def network_parameters(network, m):
    drawn = torch.Generator().manual_seed(7)
    with torch.no_grad():
        if m == "bias":
            network.out.bias[1] += 1e-5
        if m == "ulp":
            for one in network.parameters():
                one.mul_(1 + 1e-7 * torch.randint(-1, 2, one.shape, generator=drawn))
        if m == "frozen":
            network.embedding.weight.requires_grad_(False)


def loss_of(network, kind, m, x, y):
    out = network(x)
    if kind != "vae":
        return F.cross_entropy(out, (y + 1) % 3 if m == "classes" else y)
    wanted = x.to(out.dtype) / WORDS
    data = (
        F.mse_loss(out, wanted) if m == "mean" else F.mse_loss(out, wanted, reduction="sum") / ROWS
    )
    kl = network.kl.mean() * (1.00002 if m == "beta" else 1.0)
    return data if m == "no kl" else data - kl if m == "sign" else data + kl


def before_update(network, m, step):
    last = list(network.parameters())[-1]
    if m == "clipped":
        nn.utils.clip_grad_value_(network.parameters(), 1e-3)
    if m == "tiny" and step == 1:
        last.grad.mul_(1 + 1e-6)
    if m == "sign of gradient":
        last.grad.neg_()


def after_update(network, m, step):
    with torch.no_grad():
        if m == "reset" and step == 1:
            list(network.parameters())[-1].add_(1e-6)


# By network and mistake: the place where the two part, and what it looks like
MISTAKES = {
    ("recurrent", "padding"): (
        r"step 1, embedding.weight, what the step starts from",
        "1 of 11 rows of wrong are zero",
    ),
    ("recurrent", "both ways"): (r"step 1, out.weight, what the step starts from", ".*shape"),
    ("recurrent", "scaled"): (
        r"step 1, lstm \(lstm\), forward",
        r"only wrong has mul \(mul\) between embedding and lstm",
    ),
    ("recurrent", "time"): (r"step 1, lstm \(lstm\), forward", r"only wrong has flip \(flip\)"),
    ("recurrent", "mean"): (
        r"step 1, out \(linear\), forward",
        r"wrong: the mean over all places, where it is one of them \(in what it has for index",
    ),
    ("recurrent", "first"): (
        r"step 1, index \(index\), forward",
        r"wrong: index = \(:, 0\) where it is \(:, -1\)",
    ),
    ("recurrent", "cell"): (r"step 1, index \(index\), forward", r"wrong: index = \(-1\)"),
    ("recurrent", "stop"): (
        r"step 1, lstm \(lstm\), backward \(gradient of lstm.weight_ih_l0\)",
        "wrong: .* no gradient",
    ),
    ("recurrent", "word"): (r"step 2, randint .*", "1 of 30 numbers differs"),
    ("recurrent", "bias"): (
        r"step 1, out.bias, what the step starts from",
        "1 of 3 numbers differs",
    ),
    ("recurrent", "frozen"): (
        r"step 1, embedding \(embedding\), backward \(gradient of embedding.weight\)",
        "wrong: embedding.weight is frozen",
    ),
    ("recurrent", "classes"): (
        r"step 1, randint#2 .*",
        "the same classes under other numbers: wrong has 1 where it is 0",
    ),
    ("recurrent", "clipped"): (
        r"step 1, out.weight, gradient that the optimiser gets",
        "wrong: between backward and the update it clips the gradients of .* by value, to 0.001;",
    ),
    ("recurrent", "tiny"): (
        r"step 2, out.bias, gradient that the optimiser gets",
        r"wrong changes the gradient of out.bias between backward and the optimiser \(by up to",
    ),
    ("recurrent", "sign of gradient"): (
        r"step 1, out.bias, gradient that the optimiser gets",
        "wrong: between backward and the update it multiplies the gradients of out.bias by -1;",
    ),
    ("recurrent", "reset"): (
        r"step 3, out.bias, what the step starts from",
        "wrong changes out.bias between step 2 and step 3, right does not",
    ),
    ("recurrent", "no halves"): ("step 1, loss", "right is wrong times 1/2"),
    ("attention", "untied"): (r"step 1, head \(linear\), forward", ".*weight"),
    ("attention", "swapped"): (r"step 1, transpose \(transpose\), forward", "right's takes k"),
    ("attention", "no scale"): (
        r"step 1, masked_fill \(masked_fill\), forward",
        r"only right has div \(div\)",
    ),
    ("attention", "no root"): (r"step 1, div \(div\), forward", "wrong: other = 8 where"),
    ("attention", "mask"): (r"step 1, triu \(triu\), forward", "wrong: diagonal = 0 where it is 1"),
    ("attention", "no mask"): (r"step 1, softmax .*", r"only right has masked_fill"),
    ("attention", "fill"): (r"step 1, masked_fill .*", "wrong: value = -10 where it is -inf"),
    ("attention", "axis"): (r"step 1, softmax .*", "wrong: dim = 1 where it is 2"),
    ("attention", "before"): (r"step 1, norm \(layer_norm\), forward", "only right has add"),
    ("attention", "less"): (r"step 1, add \(add\), forward", r"only wrong has mul \(mul\)"),
    ("attention", "position"): (r"step 1, head \(linear\), forward", r"only wrong has add#2"),
    ("vae", "squashed"): (r"step 1, encoder \(linear\), forward", "only wrong has tanh"),
    ("vae", "halves"): (r"step 1, mul \(mul\), forward", "right's takes chunk.1"),
    ("vae", "variance"): (r"step 1, exp \(exp\), forward", r"only right has mul \(mul\)"),
    ("vae", "no noise"): (r"step 1, add \(add\), forward", r"only right has mul#2 \(mul\)"),
    ("vae", "sigmoid"): (r"step 1, mse_loss .*", r"only wrong has sigmoid \(sigmoid\)"),
    ("vae", "second rate"): (
        r"step 2, optimizer.1 \(sgd\), update of decoder.weight \(parameter\)",
        "wrong: lr = 0.002 where it is 0.001",
    ),
    ("vae", "order"): (r"step 1, .*", r"in this step right's optimiser has other parameters"),
    ("vae", "mean"): (r"step 1, mse_loss .*", "wrong: reduction = mean where it is sum"),
    ("vae", "beta"): (r"step 1, mul#4 \(mul\), forward", "wrong: other = 1.00002 where it is 1"),
    ("vae", "no kl"): (r"step 1, div#2 \(div\), forward", "only right has mean"),
    ("vae", "sign"): (r"step 1, .*", r"right has add#3 \(add\) where wrong has sub#3 \(sub\)"),
    ("vae", "reset"): (
        r"step 5, decoder.bias, what the step starts from",
        "wrong changes decoder.bias between step 4 and step 5, right does not",
    ),
}


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Records two programs into `right` and `wrong`, and compares them."""
    monkeypatch.chdir(tmp_path)

    def compare(kind, mistake, dtype=torch.float32):
        train("right", kind)
        train("wrong", kind, mistake, dtype)
        return compare_programs("right", "wrong")

    return compare


@pytest.mark.parametrize(("kind", "mistake"), MISTAKES)
def test_a_mistake_is_placed_and_named(trained, kind, mistake):
    found = trained(kind, mistake)
    place, words = MISTAKES[kind, mistake]
    assert not found.agrees
    assert re.fullmatch(place, found.first.place)
    assert re.match(words, found.first.words[0])
    assert repr(found).startswith(f"first part at {found.first.place}")
    assert "ProgramTrace" not in repr(found)


@pytest.mark.parametrize("kind", ["recurrent", "attention", "vae"])
def test_rounding_is_no_mistake(trained, kind):
    found = trained(kind, "ulp")
    assert found.agrees, found.verdict
    assert not found.verdict.startswith("equal")
    assert repr(found) == "\n".join([found.verdict, *found.notes])
    found = trained(kind, "", torch.float64)
    assert found.agrees, found.verdict


def test_a_mistake_before_kernels_that_are_stored_transposed(tmp_path):
    """In the names of another framework: a square kernel is not what is wrong."""

    def turn(name, x):
        return x.T.copy() if x.ndim == 2 and name.endswith(("hidden.weight", "out.weight")) else x

    Program().record(tmp_path / "python")
    for network, place in ((Classifier, None), (lambda: Classifier(eps=1e-3), "step 1, norm ")):
        Program(network=network).record(tmp_path / "keras")
        rewrite(tmp_path / "keras", lambda name: f"model_{name}", turn)
        found = compare_programs(tmp_path / "python", tmp_path / "keras")
        if place is None:
            assert found.agrees, found.verdict
        else:
            assert found.first.place.startswith(place)
            assert found.first.words[0].endswith("eps = 0.001 where it is 1e-05")
