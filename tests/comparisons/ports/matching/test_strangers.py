"""Functions that only their order would bring together."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from comparisons.ports import compare_programs
from pyvae.recording.record import record

INPUTS, UNITS, TIMES = 3, 4, 5


class Library(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(INPUTS, UNITS, batch_first=True)
        self.out = nn.Linear(UNITS, 2)

    def forward(self, x):
        return self.out(self.rnn(x)[0][:, -1])


class ByHand(Library):
    """The same, one time after the other: `x[:, 0]` is the first function of the kind here, as
    `[:, -1]` is in the original."""

    def __init__(self, update=lambda z, n, h: (1 - z) * n + z * h):
        super().__init__()
        self.update = update

    def forward(self, x):
        own, h = self.rnn, x.new_zeros(len(x), UNITS)
        for at in range(TIMES):
            a = x[:, at] @ own.weight_ih_l0.T + own.bias_ih_l0
            b = h @ own.weight_hh_l0.T + own.bias_hh_l0
            r, z = (a + b)[:, : 2 * UNITS].sigmoid().chunk(2, 1)
            n = (a[:, 2 * UNITS :] + r * b[:, 2 * UNITS :]).tanh()
            h = self.update(z, n, h)
        return self.out(h)


class Clusters(nn.Module):
    """The distances of points to centres: one by one, or of a function of PyTorch's."""

    def __init__(self, distances):
        super().__init__()
        self.centres = nn.Parameter(torch.randn(3, INPUTS))
        self.distances = distances

    def forward(self, x):
        return torch.softmax(-self.distances(x[:, 0], self.centres), 1)


def one_by_one(x, centres):
    return (x[:, None] - centres[None]).pow(2).sum(-1)


def of_pytorch(x, centres):
    return torch.cdist(x, centres).pow(2)


def not_squared(x, centres):
    return torch.cdist(x, centres).pow(1)


def train(name, network):
    torch.manual_seed(1)
    model = network()
    torch.manual_seed(2)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    with record(model, optimizer, name, steps=2):
        for _ in range(2):
            optimizer.zero_grad()
            model(torch.randn(6, TIMES, INPUTS)).square().mean().backward()
            optimizer.step()
    return name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("original", "port"),
    [(Library, ByHand), (lambda: Clusters(one_by_one), lambda: Clusters(of_pytorch))],
)
def test_they_are_no_difference(original, port, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert compare_programs(train("original", original), train("port", port)).first is None


def test_a_mistake_is_named_and_not_they(tmp_path, monkeypatch):
    """It was said that the port took the first time where the original takes the last."""
    monkeypatch.chdir(tmp_path)
    train("original", Library)
    train("port", lambda: ByHand(lambda z, n, h: z * n + (1 - z) * h))
    first = compare_programs("original", "port").first
    assert first.place == "step 1, out (linear), forward"
    assert first.words[0] == (
        "port: its update gate the other way round: h = z n + (1 - z) h "
        "(in what it has for rnn, gru)"
    )
    assert " more, " in first.words[1]
    assert len(first.words[1]) < 400


def test_a_mistake_in_another_way_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train("original", lambda: Clusters(one_by_one))
    train("port", lambda: Clusters(not_squared))
    assert compare_programs("original", "port").first.place == "step 1, neg (neg), forward"


def of_rows(net, x):
    x = x.clone().requires_grad_()
    u = net(x)
    slopes = torch.autograd.grad(u.sum(), x, create_graph=True)[0]
    first, second = slopes[:, 0], slopes[:, 1]
    return (second - 0.1 * u[:, 0] * first).pow(2).mean() + u.pow(2).mean()


def of_columns(net, x):
    """With a mistake: each derivative in the place of the other one."""
    a, b = (one.clone().requires_grad_() for one in x.split(1, 1))
    u = net(torch.cat([a, b], 1))
    first = torch.autograd.grad(u.sum(), b, create_graph=True)[0][:, 0]
    second = torch.autograd.grad(u.sum(), a, create_graph=True)[0][:, 0]
    return (second - 0.1 * u[:, 0] * first).pow(2).mean() + u.pow(2).mean()


def test_an_input_that_the_other_side_puts_together_is_no_part_of_it(tmp_path):
    """What differs is told of what takes it."""
    for folder, loss in (("given", of_rows), ("put", of_columns)):
        torch.manual_seed(1)
        net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
        optimiser = torch.optim.SGD(net.parameters(), 0.1)
        x = torch.randn(5, 2)
        with record(net, optimiser, tmp_path / folder, steps=1):
            loss(net, x).backward()
            optimiser.step()
    found = compare_programs(tmp_path / "given", tmp_path / "put")
    assert found.first.judged.quantity.passing == "forward"
    inputs = [one for one in found.judged if one.quantity.passing == "input"]
    assert not any(one.difference.problem for one in inputs)
