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


def by_rows(value, rows):
    return value * rows / ROWS


def train(
    name,
    sizes=(ROWS,),
    loss=cross_entropy,
    weigh=None,
    zero=True,
    each=False,
    ignored=0,
    rows=None,
    turned=False,
    stepped=False,
    scaled=1.0,
    **network,
):
    """Records two steps. `weigh` makes the loss of a part with so many rows of that; `zero` calls
    zero_grad before the step, `each` before each part (`second`: before the second); `rows` are
    those that are taken; `turned` calls backward in the other order, after all forward passes;
    `stepped` makes a step of each part; `scaled` is what is made of gradients after the first."""
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
            if rows is not None:
                x, t, y = x[rows], t[rows], y[rows]
            parts = list(zip(x.split(sizes), t.split(sizes), y.split(sizes), strict=True))
            if turned:
                losses = [weigh(loss(model(*part[:2]), part[2]), len(part[0])) for part in parts]
                for one in losses[::-1]:
                    one.backward()
                optimizer.step()
                continue
            for at, part in enumerate(parts):
                if each is True or (each == "second" and at == 1):
                    optimizer.zero_grad()
                weigh(loss(model(*part[:2]), part[2]), len(part[0])).backward()
                for one in model.parameters() if at == 0 and scaled != 1 else ():
                    one.grad *= scaled
                if stepped:
                    optimizer.step()
            if not stepped:
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
        ({"sizes": (5, 5, 2), "weigh": by_rows}, {}),
        (
            {"sizes": (4, 8), "loss": summed, "weigh": lambda value, rows: value},
            {"loss": summed},
        ),
        ({"sizes": (4, 8), "weigh": by_rows}, {"sizes": (8, 4), "weigh": by_rows}),
        ({"sizes": (6, 6), "turned": True}, {}),
    ],
)
def test_gradients_of_parts_are_those_of_the_batch(port, original, found):
    one = found(port, original)
    assert one.agrees, one.lines
    passes = {judged.quantity.passing for judged in one.judged}
    assert {"forward", "loss", "backward", "parameter gradient", "state", "parameter"} <= passes
    said = f"port takes the 12 rows in {len(port['sizes'])} parts, one backward for each"
    assert any(note.startswith(said) for note in one.notes)


def test_the_page_of_parts_shows_the_stages_of_the_batch(found, tmp_path):
    one = found({"sizes": (6, 6)}, {"sizes": (3, 3, 3, 3)})
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
            {"sizes": (4, 4, 4), "each": "second"},
            "step 1, out (linear), backward (gradient of out.weight)",
            "port takes the 12 rows in 3 parts, and has the gradient of the last 2 parts alone (is "
            "zero_grad called between them?)",
        ),
        (
            {"sizes": (4, 4, 3), "rows": range(11)},
            "step 1, input (input), input",
            "port takes 11 rows in 3 parts, paper takes 12: row 11 of paper is in no part",
        ),
        (
            {"sizes": (4, 4, 5), "rows": [*range(12), 4]},
            "step 1, input (input), input",
            "port takes 13 rows in 3 parts, paper takes 12: row 4 of paper is in more than one",
        ),
        (
            {"sizes": (6, 6), "stepped": True},
            "step 1, input (input), input",
            "port takes the 12 rows in several steps, 6 in step 1: it calls its optimiser's step "
            "for each part, paper once for all (are smaller batches meant?)",
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


def test_gradients_that_are_changed_between_the_parts_are_told(found):
    (words,) = found({"sizes": (6, 6), "scaled": 0.5}).first.words
    assert words.startswith("port's is not what it should be for its own inputs: it is up to ")
    assert "what port does to gradients between its 2 calls of backward (clipping" in words


def test_both_in_parts_and_one_divides_by_the_wrong_number(found):
    port = {"sizes": (3, 3, 3, 3), "weigh": lambda value, rows: value / 2}
    assert found(port, {"sizes": (6, 6)}).first.words == (
        "paper takes the 12 rows in 2 parts and port takes the 12 rows in 4 parts, and port's "
        "losses together are 2 times paper's: the losses of one are divided by the wrong number of "
        "parts",
    )


class Reader(nn.Module):
    """Words stand along the first axis, rows along the second; it has as many units as a part has
    rows."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(9, 6)
        self.rnn = nn.GRU(6, 4)
        self.out = nn.Linear(4, 5)

    def forward(self, words):
        return self.out(self.rnn(self.words(words))[0][-1])


@pytest.mark.parametrize("sizes", [(12,), (6, 6)])
def test_rows_along_the_second_axis(sizes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, rows in (("paper", sizes), ("port", (4, 4, 4))):
        torch.manual_seed(1)
        model = Reader()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with record(model, optimizer, name, steps=1, quiet=True):
            x, y = torch.randint(9, (7, ROWS)), torch.randint(5, (ROWS,))
            for part, labels in zip(x.split(rows, 1), y.split(rows), strict=True):
                (F.cross_entropy(model(part), labels) / len(rows)).backward()
            optimizer.step()
    found = compare_programs("paper", "port")
    assert found.agrees, found.lines


def test_a_second_batch_in_a_step_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, batches in (("paper", 1), ("port", 2)):
        torch.manual_seed(1)
        model = nn.Linear(4, 3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        x, y = torch.randn(2, 6, 4), torch.randint(3, (2, 6))
        with record(model, optimizer, name, steps=1, quiet=True):
            for at in range(batches):
                F.cross_entropy(model(x[at]), y[at]).backward()
            optimizer.step()
    assert compare_programs("paper", "port").first.words == (
        "in this step paper calls backward 1 time and port calls backward 2 times, and the losses "
        "that it is called on are not the same together",
    )


def test_parts_that_count_otherwise_in_the_gradient_alone_are_told(found):
    """The value of the loss is that of the batch; its gradient is not."""

    def weighed(value, rows):
        times = {5: 1.2, 7: 0.8}[rows]
        return (times * value + (1 - times) * value.detach()) * rows / ROWS

    def loss(out, y):
        return F.cross_entropy(out.reshape(-1, 5), y.reshape(-1))

    port = {"sizes": (5, 7), "weigh": weighed, "loss": loss}
    assert found(port, {"loss": loss}).first.words == (
        "port takes the 12 rows in 2 parts, and the gradient of reshape is 1.2 and 0.8 times "
        "paper's in their rows: the parts count otherwise than in the whole batch, or a row's loss "
        "depends on other rows",
    )


def test_rows_of_an_optimiser_that_evaluates_several_times_are_not_taken_twice(
    tmp_path, monkeypatch
):
    """LBFGS takes the batch in each evaluation: that is no row in two parts."""
    monkeypatch.chdir(tmp_path)
    x, y = torch.randn(6, 4), torch.randint(3, (6,))
    for name, sizes in (("paper", (6,)), ("port", (3, 3))):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
        optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=2)

        def evaluate(model=model, optimizer=optimizer, sizes=sizes):
            optimizer.zero_grad()
            total = torch.zeros(())
            parts = zip(x.split(sizes), y.split(sizes), strict=True)
            for part, labels in parts if len(sizes) > 1 else [(x, y)]:
                loss = F.cross_entropy(model(part), labels) / len(sizes)
                loss.backward()
                total += loss.detach()
            return total

        with record(model, optimizer, name, steps=1, quiet=True):
            optimizer.step(evaluate)
    first = compare_programs("paper", "port").first
    assert first.words == ("paper has shape (6, 4), port has shape (3, 4)",)
