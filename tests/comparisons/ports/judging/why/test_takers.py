"""Gradients of values between layers, which a program that writes its own trace may leave out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from comparisons.ports import compare_programs
from pyvae import Optimiser, OptimiserGroup, ProgramStage, record, write_program_trace

RATE = 0.1


class Last(nn.Module):
    """What a recurrent layer returns for the last time, and a layer behind it."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(3, 5, batch_first=True)
        self.out = nn.Linear(5, 2)

    def forward(self, x):
        return self.out(self.rnn(x)[0][:, -1])


def by_hand(folder, wrong=1 + 1e-14):
    """Writes no gradient of what the recurrent layer returns for all times, as a program that sums
    its parameters' gradients time by time has none.

    Arguments:
        folder: Where to.
        wrong: A factor of the recurrent layer's gradients, which may be rounding alone.
    """
    torch.manual_seed(1)
    model = Last().double()
    x, y = torch.randn(4, 6, 3).double(), torch.randn(4, 2).double()
    states = model.rnn(x)[0]
    last = states[:, -1]
    out = model.out(last)
    loss = (out - y).square().mean()
    for value in (last, out):
        value.retain_grad()
    loss.backward()
    start = dict(model.named_parameters())
    gradient = {n: p.grad * (wrong if n.startswith("rnn") else 1) for n, p in start.items()}
    gradient |= {"last": last.grad, "out": out.grad}
    after = {n: p - RATE * gradient[n] for n, p in start.items()}
    forward = {"x": x, "rnn.0": states, "last": last, "out": out, "y": y, "loss": loss}

    def roles(layer):
        return {n.removeprefix(f"{layer}."): n for n in start if n.startswith(f"{layer}.")}

    stages = [
        ProgramStage("x", "input"),
        ProgramStage(
            "rnn", "rnn", ("x",), {"batch_first": True, "nonlinearity": "tanh"}, roles("rnn"),
            ("rnn.0",),
        ),
        ProgramStage("last", "index", ("rnn.0",), {"index": [":", -1]}),
        ProgramStage("out", "linear", ("last",), parameters=roles("out")),
        ProgramStage("y", "input"),
        ProgramStage("loss", "mse_loss", ("out", "y"), {"reduction": "mean"}),
    ]  # fmt: skip
    step = {
        kind: {name: value.detach().numpy() for name, value in values.items()}
        for kind, values in (
            ("start", start), ("forward", forward), ("gradient", gradient), ("parameter", after)
        )
    }  # fmt: skip
    group = OptimiserGroup(tuple(start), {"lr": RATE})
    write_program_trace(
        folder, "base-r", stages, steps=[{**step, "loss": loss.item()}],
        optimiser=Optimiser("optimizer", "sgd", (group,)), language="r", index_base=1,
    )  # fmt: skip
    return x, y


def recorded(folder, start, x, y):
    model = Last().double()
    optimizer = torch.optim.SGD(model.parameters(), RATE)
    with record(model, optimizer, folder, steps=1, start=start):
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_gradient_that_is_left_out():
    recorded("python", "r", *by_hand("r"))
    for pair in (("python", "r"), ("r", "python")):
        found = compare_programs(*pair)
        assert found.agrees, f"{found.verdict}: {found.first.words}"


def test_a_wrong_gradient_whose_source_is_left_out():
    recorded("python", "r", *by_hand("r", wrong=2.0))
    for pair in (("python", "r"), ("r", "python")):
        first = compare_programs(*pair).first
        assert first is not None
        assert first.place.startswith("step 1, rnn (rnn), backward (gradient of rnn.")
        assert not any("takes it in" in words for words in first.words)
