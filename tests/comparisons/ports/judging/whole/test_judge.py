"""Two steps that are one function of the parameters agree, however their stages stand; a mistake in
them does not."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from comparisons.ports import compare_programs
from pyvae.recording.record import record

STEPS, ROWS = 2, 6


class Network(nn.Module):
    """Two layers, and what some ways to use them need besides."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 3)
        self.a, self.b = nn.Parameter(torch.randn(2, 4)), nn.Parameter(torch.randn(5, 2))
        self.norm = nn.BatchNorm1d(5)
        self.experts = nn.ModuleList(nn.Linear(4, 3) for _ in range(2))

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


def recorded(folder, loss, dtype=torch.float32):
    torch.manual_seed(1)
    network = Network().to(dtype)
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    drawn = torch.Generator().manual_seed(2)
    with record(network, optimiser, folder, steps=STEPS):
        for _ in range(STEPS):
            x = torch.randn(ROWS, 4, generator=drawn, dtype=dtype)
            optimiser.zero_grad()
            loss(network, x).backward()
            optimiser.step()
    return folder


def derived(of, detached=False):
    """The squares of a derivative, by what takes it."""

    def loss(net, x):
        x = x.clone().requires_grad_()
        u = net(x)[:, :1]
        slope = of(net, x, u)
        return ((slope.detach() if detached else slope) ** 2).mean() + u.mean()

    return loss


def by_autograd(net, x, u):
    return torch.autograd.grad(u.sum(), x, create_graph=True)[0]


def by_func(net, x, u):
    return torch.func.vmap(torch.func.grad(lambda one: net(one[None])[0, 0]))(x)


def by_hand(net, x, u, power=2):
    h = torch.tanh(net.first(x))
    return ((1 - h**power) * net.second.weight[0]) @ net.first.weight


def of_columns(net, x, order):
    """The derivatives of two inputs that are put together."""
    a, b = (part.clone().requires_grad_() for part in x.split(2, 1))
    u = net(torch.cat([a, b], 1))[:, :1]
    slopes = torch.autograd.grad(u.sum(), [a, b], create_graph=True)
    left, right = (slopes[n] for n in order)
    return (left**2).mean() + right.sin().mean() + u.mean()


def of_rows(net, x):
    x = x.clone().requires_grad_()
    u = net(x)[:, :1]
    slope = torch.autograd.grad(u.sum(), x, create_graph=True)[0]
    return (slope[:, :2] ** 2).mean() + slope[:, 2:].sin().mean() + u.mean()


def mixed(way):
    """A mean over rows that belong together, before or after a layer."""

    def loss(net, x):
        near = torch.softmax(-torch.cdist(x, x), 1)
        return F.cross_entropy(way(net, near, torch.tanh(net.first(x))), torch.arange(ROWS) % 3)

    return loss


def twins(way):
    """A network that is called for two values, which are computed."""

    def loss(net, x):
        one, two = x * net.a[0], torch.tanh(x * net.a[1])
        left, right = way(net, one, two)
        return ((left - right) ** 2).mean() + left.sin().mean()

    return loss


def both_rows(net, one, two):
    return net(torch.cat([one, two])).chunk(2)


def again(net, x):
    h = torch.tanh(net.first(x))
    return net.second(h).pow(2).mean() + net.second(h).sin().mean()


def low_rank(way):
    return lambda net, x: net.second(torch.tanh(way(net, x))).pow(2).mean()


def chosen(way):
    """Each row by the expert that is chosen for it."""

    def loss(net, x):
        weights = net.first(x)[:, :2].softmax(1)
        of = weights.argmax(1)
        return (way(net, x, of) * weights.gather(1, of[:, None])).pow(2).mean()

    return loss


def all_rows(net, x, of):
    return torch.stack([one(x) for one in net.experts], 1)[torch.arange(ROWS), of]


def own_rows(find, factor=1.0):
    def way(net, x, of):
        found = torch.zeros(ROWS, 3)
        for n, one in enumerate(net.experts):
            rows = find(of == n)
            found = found.index_add(0, rows, factor * one(x[rows]))
        return found

    return way


def huber(way):
    return lambda net, x: way(net(x) * 2).mean()


WAYS = {  # one program, another that computes the same, and mistakes in it
    "a derivative by torch.func": (
        derived(by_autograd),
        derived(by_func),
        [derived(lambda *given: 1.001 * by_func(*given)), derived(by_func, detached=True)],
    ),
    "a derivative, written out": (
        derived(by_autograd),
        derived(by_hand),
        [derived(lambda *given: by_hand(*given, power=1)), derived(by_hand, detached=True)],
    ),
    "a derivative by columns": (
        of_rows,
        lambda net, x: of_columns(net, x, (0, 1)),
        [lambda net, x: of_columns(net, x, (1, 0))],
    ),
    "a layer after a mean": (
        mixed(lambda net, near, h: net.second(near @ h)),
        mixed(lambda net, near, h: near @ net.second(h)),
        [
            mixed(lambda net, near, h: near.T @ net.second(h)),
            mixed(lambda net, near, h: near @ net.second(h.detach())),
            mixed(lambda net, near, h: near @ net.second(h).relu()),
        ],
    ),
    "all rows in one call": (
        twins(lambda net, one, two: (net(one), net(two))),
        twins(both_rows),
        [
            twins(lambda net, one, two: both_rows(net, two, one)),
            twins(lambda net, one, two: both_rows(net, one, two.detach())),
            twins(lambda net, one, two: (both_rows(net, one, two)[0], net(one))),
        ],
    ),
    "rows of another axis": (
        twins(lambda net, one, two: (net(one), net(two))),
        twins(lambda net, one, two: net(torch.stack([one, two], 1)).unbind(1)),
        [twins(lambda net, one, two: net(torch.stack([one, two], 1)).unbind(1)[::-1])],
    ),
    "a call that is made again": (
        lambda net, x: (lambda y: y.pow(2).mean() + y.sin().mean())(net(x)),
        again,
        [lambda net, x: again(net, x) + net.second(x.mean() * net.b[:, 0]).sum() * 1e-5],
    ),
    "a weight that is merged": (
        low_rank(lambda net, x: net.first(x) + x @ net.a.T @ net.b.T * 2),
        low_rank(lambda net, x: F.linear(x, net.first.weight + 2 * net.b @ net.a, net.first.bias)),
        [
            low_rank(lambda net, x: F.linear(x, net.first.weight + net.b @ net.a, net.first.bias)),
            low_rank(
                lambda net, x: F.linear(
                    x, net.first.weight + 2 * net.b @ net.a.detach(), net.first.bias
                )
            ),
        ],
    ),
    "experts on their own rows": (
        chosen(all_rows),
        chosen(own_rows(lambda mask: torch.where(mask)[0])),
        [chosen(own_rows(lambda mask: torch.where(mask)[0], 0.99))],
    ),
    "rows that are not zero": (
        chosen(all_rows),
        chosen(own_rows(lambda mask: mask.nonzero()[:, 0])),
        [chosen(own_rows(lambda mask: (~mask).nonzero()[:, 0]))],
    ),
    "a part that one side alone hides": (
        huber(lambda e: torch.where(e.abs() < 0.5, e**2 / 2, 0.5 * (e.abs() - 0.25))),
        huber(lambda e: e.abs().clamp(max=0.5) ** 2 / 2 + 0.5 * (e.abs() - 0.5).clamp(min=0)),
        [huber(lambda e: e.abs().clamp(max=0.5) ** 2 / 2 + 0.5 * (e.abs() - 0.4).clamp(min=0))],
    ),
}


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    return {
        name: recorded(tmp_path_factory.mktemp("papers") / "paper", paper)
        for name, (paper, _, _) in WAYS.items()
    }


@pytest.mark.parametrize("name", WAYS)
def test_what_is_one_function_agrees(name, papers, tmp_path):
    """Whichever side it is."""
    port = recorded(tmp_path / "port", WAYS[name][1])
    for both in ((papers[name], port), (port, papers[name])):
        found = compare_programs(*both)
        assert found.agrees, found


@pytest.mark.parametrize(
    ("name", "at"), [(name, at) for name, ways in WAYS.items() for at in range(len(ways[2]))]
)
def test_a_mistake_in_it_parts(name, at, papers, tmp_path):
    port = recorded(tmp_path / "port", WAYS[name][2][at])
    for both in ((papers[name], port), (port, papers[name])):
        found = compare_programs(*both)
        assert found.first is not None
        assert found.first.judged.step == 1


def test_a_small_term_is_seen_beside_another_way(papers, tmp_path):
    """One that is far within the rule."""
    paper, port, _ = WAYS["a layer after a mean"]

    def with_term(of, term):
        return lambda net, x: of(net, x) + 1e-6 * term(torch.tanh(net.first(x))).pow(2).mean()

    for folder, of, term in (
        ("paper", paper, lambda h: h), ("port", port, lambda h: h),
        ("cut", port, lambda h: h.detach()), ("twice", port, lambda h: 1.5 * h),
    ):  # fmt: skip
        recorded(tmp_path / folder, with_term(of, term))
    assert compare_programs(tmp_path / "paper", tmp_path / "port").agrees
    for folder in ("cut", "twice"):
        assert not compare_programs(tmp_path / "paper", tmp_path / folder).agrees


HIDDEN = {  # of which nothing is seen in this step: that the rest agrees says nothing of it
    "a factor of 0": lambda y, more: y.pow(2).mean() + 0 * (more * y.sin()).mean(),
    "a mask": lambda y, more: torch.where(y < 100, y, (more * y).sin()).pow(2).mean(),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_what_both_sides_hide_is_told(name, tmp_path):
    """Beside a layer that stands elsewhere."""

    def way(made, more):
        def loss(net, x):
            near, h = torch.softmax(-torch.cdist(x, x), 1), torch.tanh(net.first(x))
            return HIDDEN[name](made(net, near, h), more)

        return loss

    recorded(tmp_path / "paper", way(lambda net, near, h: net.second(near @ h), 2))
    recorded(tmp_path / "port", way(lambda net, near, h: near @ net.second(h), 3))
    found = compare_programs(tmp_path / "paper", tmp_path / "port")
    assert any("other = 3 where it is 2" in words for words in found.first.words)


def test_statistics_that_are_moved_twice_part_alone(tmp_path):
    """The loss is the same function, and what is left for evaluation is not."""

    def loss(net, x, calls):
        y = [net.norm(net.first(x)) for _ in range(calls)]
        return y[0].pow(2).mean() + y[-1].sin().mean()

    for folder, calls in (("paper", 1), ("port", 2)):
        recorded(tmp_path / folder, lambda net, x, calls=calls: loss(net, x, calls))
    found = compare_programs(tmp_path / "paper", tmp_path / "port")
    assert found.first.judged.quantity.passing == "buffer"
    assert any("once more" in words for words in found.first.words)


def test_what_is_not_trained_may_be_a_rounding_apart(tmp_path):
    """As the generator's parameters are where the discriminator is trained."""

    def frozen(of, factor):
        def loss(net, x):
            if net.b.requires_grad:  # in the first step
                with torch.no_grad():
                    net.b.requires_grad_(False).mul_(factor)
            return of(net, x)

        return loss

    paper, port, mistakes = WAYS["a weight that is merged"]
    recorded(tmp_path / "paper", frozen(paper, 1))
    recorded(tmp_path / "port", frozen(port, 1 + 2.0**-23))
    recorded(tmp_path / "wrong", frozen(mistakes[0], 1 + 2.0**-23))
    assert compare_programs(tmp_path / "paper", tmp_path / "port").agrees
    assert not compare_programs(tmp_path / "paper", tmp_path / "wrong").agrees


def test_what_is_not_recorded_is_said(papers, tmp_path):
    port = recorded(tmp_path / "port", derived(by_func))
    found = compare_programs(papers["a derivative by torch.func"], port)
    assert any("was not recorded" in note and str(port) in note for note in found.notes)
