"""A batch that one side takes in parts, with a `backward` for each, is the other side's batch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from comparisons.ports import compare_programs
from comparisons.report.ports.page import write_page
from pyvae.recording.record import record

pytestmark = pytest.mark.slow
ROWS = 12


class Tagger(nn.Module):
    """Images and words: convolution, embedding, LSTM; its outputs are a row for each word."""

    def __init__(self, norm=None, eps=1e-5):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = norm or nn.GroupNorm(2, 4, eps=eps)
        self.fc = nn.Linear(16, 6)
        self.words = nn.Embedding(5, 6)
        self.rnn = nn.LSTM(6, 7, batch_first=True)
        self.out = nn.Linear(7, 5)

    def forward(self, x, t):
        h = F.max_pool2d(F.relu(self.norm(self.conv(x))), 2).flatten(1)
        h, _ = self.rnn(self.fc(h).unsqueeze(1) + self.words(t))
        return self.out(h)


def cross_entropy(out, y):
    return F.cross_entropy(out.reshape(-1, 5), y.reshape(-1)) + 1e-2 * (out**2).mean()


def of_each_row(out, y):
    return F.cross_entropy(out.reshape(-1, 5), y.reshape(-1), reduction="sum") / len(out)


def summed(out, y):
    return F.cross_entropy(out.reshape(-1, 5), y.reshape(-1), reduction="sum")


def train(
    name, sizes=(ROWS,), loss=cross_entropy, weigh=None, zero=True, each=False, ignored=0, **network
):
    """Records two steps. `weigh` makes the loss of a part with so many rows of that; `zero` calls
    zero_grad before the step, `each` before each part."""
    torch.manual_seed(1)
    model = Tagger(**network)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    data = torch.Generator().manual_seed(2)
    weigh = weigh or (lambda value, rows: value / len(sizes) if len(sizes) > 1 else value)
    with record(model, optimizer, name, steps=2, quiet=True):
        for _ in range(2):
            x = torch.randn(ROWS, 1, 4, 4, generator=data)
            t, y = torch.randint(5, (2, ROWS, 3), generator=data)
            y[:5, :ignored] = -100
            if zero:
                optimizer.zero_grad()
            for part in zip(x.split(sizes), t.split(sizes), y.split(sizes), strict=True):
                if each:
                    optimizer.zero_grad()
                weigh(loss(model(*part[:2]), part[2]), len(part[0])).backward()
            optimizer.step()


@pytest.fixture
def found(tmp_path, monkeypatch):
    """Records two programs, and compares them, whichever stands first."""
    monkeypatch.chdir(tmp_path)

    def compare(port, original=None):
        train("paper", **(original or {}))
        train("port", **port)
        there = compare_programs("port", "paper")
        here = compare_programs("paper", "port")
        assert there.agrees == here.agrees
        return here

    return compare


@pytest.mark.parametrize(
    ("port", "original"),
    [
        ({"sizes": (4, 4, 4)}, {}),
        ({"sizes": (6, 6)}, {"sizes": (3, 3, 3, 3)}),
        ({"sizes": (6, 6), "loss": of_each_row}, {"loss": of_each_row}),
        ({"sizes": (5, 5, 2), "weigh": lambda value, rows: value * rows / ROWS}, {}),
        (
            {"sizes": (4, 8), "loss": summed, "weigh": lambda value, rows: value},
            {"loss": summed},
        ),
    ],
)
def test_gradients_of_parts_are_those_of_the_batch(port, original, found, tmp_path):
    one = found(port, original)
    assert one.agrees, one.lines
    passes = {judged.quantity.passing for judged in one.judged}
    assert {"forward", "loss", "backward", "parameter gradient", "state", "parameter"} <= passes
    said = f"port takes the 12 rows in {len(port['sizes'])} parts, one backward for each"
    assert any(note.startswith(said) for note in one.notes)
    write_page(one, tmp_path / "page.html", "pyvae compare paper port")
    assert "conv (conv2d)" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("port", "place", "words"),
    [
        (
            {"sizes": (6, 6), "weigh": lambda value, rows: value},
            "step 1, loss",
            "port takes the 12 rows in 2 parts, and adds up their losses: 2 times paper's, a sum "
            "where it is a mean (divide the loss of each part by 2)",
        ),
        (
            {"sizes": (4, 4, 4), "weigh": lambda value, rows: value / 2},
            "step 1, loss",
            "port takes the 12 rows in 3 parts, and divides their losses by 2: paper has the mean",
        ),
        (
            {"sizes": (5, 5, 2)},
            "step 1, loss",
            "port takes the 12 rows in 3 parts (5, 5 and 2 rows), and their losses together are "
            "not the loss of all rows: a mean of means weighs each part alike, however many rows "
            "it has, or labels that count (ignore_index)",
        ),
        (
            {"sizes": (6, 6), "each": True},
            "step 1, out (linear), backward (gradient of out.weight)",
            "port takes the 12 rows in 2 parts, and has the gradient of the last part alone (is "
            "zero_grad called for each part?)",
        ),
        (
            {"sizes": (6, 6), "zero": False},
            "step 2, out (linear), backward (gradient of out.weight)",
            "port adds the gradient of the step before (is zero_grad missing?)",
        ),
        (
            {"sizes": (6, 6), "eps": 1e-2},
            "step 1, norm (group_norm), forward",
            "port: eps = 0.01 where it is 1e-05",
        ),
    ],
)
def test_what_is_wrong_with_parts_is_placed(port, place, words, found):
    first = found(port).first
    assert (first.place, first.words[0]) == (place, words)


def test_labels_that_do_not_count_are_not_as_many_in_each_part(found):
    first = found({"sizes": (6, 6), "ignored": 2}, {"ignored": 2}).first
    assert first.place == "step 1, loss"
    assert "(6 and 6 rows), and their losses together are not the loss" in first.words[0]


def test_a_layer_that_mixes_the_rows_of_a_batch_is_placed(found):
    first = found({"sizes": (6, 6), "norm": nn.BatchNorm2d(4)}, {"norm": nn.BatchNorm2d(4)}).first
    assert (first.place, first.wrong) == ("step 1, norm (batch_norm2d), forward", "port")
    assert first.words == (
        "port takes the 12 rows in 2 parts, each by itself: what norm (batch_norm2d) returns for a "
        "row depends on the other rows, and a step in parts is not the step of the whole batch",
    )
