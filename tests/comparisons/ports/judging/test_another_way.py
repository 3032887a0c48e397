"""What two programs compute another way is no difference; a mistake in it is."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from comparisons.ports import compare_programs
from pyvae.recording.record import record

DTYPES = {"float32": torch.float32, "float64": torch.float64}
STEPS, ROWS = 2, 6


def kl(mu, s, std):
    return -0.5 * torch.sum(1 + s - mu.pow(2) - s.exp())


def log_p(y):
    return torch.log(torch.softmax(y, 1))


def bce(y, x):
    p = torch.sigmoid(y)
    return -(x * torch.log(p) + (1 - x) * torch.log(1 - p))


# What a small VAE with a classifier is made of, as the paper writes it
PAPER = {
    "std": lambda s: torch.exp(s / 2),
    "draw": lambda mu, std, noise: mu + std * noise,
    "kl": kl,
    "error": lambda y, x: (x - y).pow(2).sum(1),
    "mean": lambda x: x.sum() / ROWS,
    "log_p": log_p,
    "bce": bce,
    "hidden": lambda layer, x: torch.tanh(F.linear(x, layer.weight, layer.bias)),
}
RIGHT = {  # the part that is written in another way
    "terms in another order": ("kl", lambda mu, s, std: 0.5 * (s.exp() + mu**2 - 1 - s).sum()),
    "terms summed one by one": (
        "kl",
        lambda mu, s, std: -0.5 * (s.sum() - mu.pow(2).sum() - s.exp().sum() + s.numel()),
    ),
    "image by image": (
        "kl", lambda mu, s, std: (-0.5 * torch.sum(1 + s - mu.pow(2) - s.exp(), 1)).sum()
    ),
    "of the deviation": (
        "kl",
        lambda mu, s, std: -(torch.log(std) + 0.5 - (std.pow(2) + mu.pow(2)) / 2).sum(),
    ),
    "a root of the variance": ("std", lambda s: s.exp().sqrt()),
    "times a half": ("std", lambda s: torch.exp(s * 0.5)),
    "a product in another order": ("draw", lambda mu, std, noise: noise * std + mu),
    "a sign outside": ("error", lambda y, x: (-(y - x)).pow(2).sum(1)),
    "a square as a product": ("error", lambda y, x: (y - x) * (y - x) @ torch.ones_like(x[0])),
    "a square, multiplied out": ("error", lambda y, x: (x * x - 2 * x * y + y * y).sum(1)),
    "a mean": ("mean", lambda x: x.mean()),
    "each part of a mean": ("mean", lambda x: (x / ROWS).sum()),
    "log_softmax": ("log_p", lambda y: F.log_softmax(y, 1)),
    "the largest taken off": (
        "log_p",
        lambda y: (
            y - y.amax(1, True) - (y - y.amax(1, True)).exp().sum(1, keepdim=True).log()
        ),
    ),
    "the library's loss": (
        "bce", lambda y, x: F.binary_cross_entropy_with_logits(y, x, reduction="none")
    ),
    "of softplus": ("bce", lambda y, x: x * F.softplus(-y) + (1 - x) * F.softplus(y)),
    "columns": (
        "hidden", lambda layer, x: torch.tanh((layer.weight @ x.T).T + layer.bias)
    ),
}  # fmt: skip
WRONG = {  # the same ways, with a mistake
    "terms in another order": ("kl", lambda mu, s, std: 0.5 * (s.exp() + mu**2 - 1 + s).sum()),
    "terms summed one by one": (
        "kl",
        lambda mu, s, std: -0.5 * (s.sum() - mu.pow(2).sum() - s.exp().sum() + ROWS),
    ),
    "image by image": (
        "kl", lambda mu, s, std: (-0.5 * torch.sum(1 + s - mu.pow(2) - s.exp(), 1)).mean()
    ),
    "of the deviation": (
        "kl",
        lambda mu, s, std: -(torch.log(std) + 0.5 - (std + mu.pow(2)) / 2).sum(),
    ),
    "a root of the variance": ("std", lambda s: s.exp().sqrt().detach()),
    "times a half": ("std", lambda s: torch.exp(s * 0.51)),
    "a product in another order": ("draw", lambda mu, std, noise: noise * mu + std),
    "a sign outside": ("error", lambda y, x: (-(y - x)).abs().sum(1)),
    "a square as a product": ("error", lambda y, x: (y - x) * (y + x) @ torch.ones_like(x[0])),
    "a square, multiplied out": ("error", lambda y, x: (x * x - 2 * x * y + y).sum(1)),
    "a mean": ("mean", lambda x: x[1:].mean()),
    "each part of a mean": ("mean", lambda x: (x / (ROWS - 1)).sum()),
    "log_softmax": ("log_p", lambda y: F.log_softmax(y, 0)),
    "the largest taken off": (
        "log_p",
        lambda y: (y - y.amax(1, True) - (y - y.amax(0, True)).exp().sum(1, keepdim=True).log()),
    ),
    "the library's loss": (
        "bce", lambda y, x: F.binary_cross_entropy_with_logits(-y, x, reduction="none")
    ),
    "of softplus": ("bce", lambda y, x: x * F.softplus(y) + (1 - x) * F.softplus(y)),
    "columns": (
        "hidden", lambda layer, x: torch.tanh((layer.weight @ x.T).T + layer.weight[:, 0])
    ),
}  # fmt: skip


class Network(nn.Module):
    def __init__(self, parts):
        super().__init__()
        self.parts = parts
        self.first, self.second = nn.Linear(5, 4), nn.Linear(4, 4)
        self.decode, self.classify = nn.Linear(2, 5), nn.Linear(2, 3)

    def forward(self, x, classes, noise):
        part = self.parts
        mu, s = self.second(part["hidden"](self.first, x)).chunk(2, 1)
        std = part["std"](s)
        z = part["draw"](mu, std, noise)
        y, logits = self.decode(z), self.classify(z)
        likelihood = part["log_p"](logits).gather(1, classes[:, None])
        errors = part["error"](y, x) + part["bce"](y, x).sum(1) - likelihood[:, 0]
        return part["mean"](errors) + part["kl"](mu, s, std)


def recorded(folder, dtype, parts=None):
    torch.manual_seed(1)
    network = Network(PAPER | (parts or {})).to(DTYPES[dtype])
    optimiser = torch.optim.SGD(network.parameters(), 0.01)
    drawn = torch.Generator().manual_seed(2)
    with record(network, optimiser, folder, steps=STEPS):
        for _ in range(STEPS):
            x = torch.rand(ROWS, 5, generator=drawn, dtype=DTYPES[dtype])
            noise = torch.randn(ROWS, 2, generator=drawn, dtype=DTYPES[dtype])
            classes = torch.randint(3, (ROWS,), generator=drawn)
            optimiser.zero_grad()
            network(x, classes, noise).backward()
            optimiser.step()
    return folder


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    """The paper's program in each type of number."""
    return {one: recorded(tmp_path_factory.mktemp(one) / "paper", one) for one in DTYPES}


@pytest.mark.parametrize(
    ("name", "dtype"), [*zip(RIGHT, [*reversed(DTYPES)] * len(RIGHT), strict=False)]
)
def test_another_way_is_no_difference(name, dtype, papers, tmp_path):
    """With the types of number in turn; all at once, below, in each."""
    port = recorded(tmp_path / "port", dtype, dict([RIGHT[name]]))
    found = compare_programs(papers[dtype], port)
    assert found.agrees, found
    assert "parted" not in {one.verdict for one in found.judged}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_all_ways_at_once(dtype, papers, tmp_path):
    port = recorded(tmp_path / "port", dtype, dict(RIGHT.values()))
    found = compare_programs(papers[dtype], port)
    assert found.agrees, found
    assert any("computed another way" in words for words in found.lines)


@pytest.mark.parametrize(("name", "dtype"), [*zip(WRONG, [*DTYPES] * len(WRONG), strict=False)])
def test_a_mistake_in_it_is_placed(name, dtype, papers, tmp_path):
    """In the first step, before the loss, with the types of number in turn."""
    port = recorded(tmp_path / "port", dtype, dict([WRONG[name]]))
    first = compare_programs(papers[dtype], port).first
    passing = "backward" if name == "a root of the variance" else "forward"
    assert (first.judged.step, first.judged.quantity.passing) == (1, passing)


LAST = {  # what a program computes, and nothing takes: the same in the end, or not
    "a state": (lambda y, x: (1 - x) * y, lambda y, x: y - x * y, True),
    "another state": (lambda y, x: (1 - x) * y, lambda y, x: y - x * x, False),
    "a difference": (lambda y, x: y - x, lambda y, x: x - y, False),
}


@pytest.mark.parametrize("name", LAST)
def test_what_nothing_depends_on_is_told(name, tmp_path):
    """No later value tells whether it is the same; of other parameters it is the same, or not."""

    def squared(of):
        def error(y, x):
            of(y, x)
            return (x - y).pow(2).sum(1)

        return {"error": error}

    *both, same = LAST[name]
    for folder, of in zip(("paper", "port"), both, strict=True):
        recorded(tmp_path / folder, "float64", squared(of))
    found = compare_programs(tmp_path / "paper", tmp_path / "port")
    assert found.agrees == same
    assert same or found.first.place.startswith(("step 1, mul", "step 1, sub"))


HIDDEN = {  # where nothing of it is seen, that the rest agrees says nothing
    "a mask": lambda y, factor: torch.where(y < 100, y, y * factor),
    "a limit": lambda y, factor: y + (y * factor - 100).clamp(min=0),
    "a slice": lambda y, factor: y + torch.cat([y, y * factor])[: len(y)],
}


@pytest.mark.parametrize("name", HIDDEN)
def test_what_has_no_effect_is_told(name, tmp_path):
    for folder, factor in (("paper", 2), ("port", 3)):
        way = {"mean": lambda y, factor=factor: HIDDEN[name](y, factor).sum()}
        recorded(tmp_path / folder, "float64", way)
    found = compare_programs(tmp_path / "paper", tmp_path / "port")
    assert any("other = 3 where it is 2" in words for words in found.first.words)


SAME = {  # options that differ, and make no difference in the end
    "shapes": (
        lambda y: y.view(2, 3).flatten().sum(),
        lambda y: y.reshape(3, 2).flatten().sum(),
    ),
    "axes": (
        lambda y: (y[:, None] - 3 * y[None]).logsumexp(1).sum(),
        lambda y: (y[None] - 3 * y[:, None]).logsumexp(0).sum(),
    ),
    "an eps that float32 does not see": (
        lambda y: ((y - y.mean()) / (y.std() + 1e-8)).pow(3).sum(),
        lambda y: ((y - y.mean()) / (y.var() + 1e-8).sqrt()).pow(3).sum(),
    ),
    "a sum": (
        lambda y: F.mse_loss(y, torch.ones_like(y), reduction="sum"),
        lambda y: F.mse_loss(y, torch.ones_like(y), reduction="none").sum(),
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_a_loss_summed_later_and_shapes_on_the_way(name, tmp_path):
    for folder, way in zip(("paper", "port"), SAME[name], strict=True):
        recorded(tmp_path / folder, "float32", {"mean": way})
    found = compare_programs(tmp_path / "paper", tmp_path / "port")
    assert found.agrees, found
    assert any("computed another way" in words for words in found.lines)


def test_a_loss_that_is_reduced_later_hides_no_other_mistake(tmp_path):
    """As Keras' binary cross-entropy is, beside a penalty of other weight."""

    def run(folder, loss, penalty):
        torch.manual_seed(0)
        model = nn.Linear(3, 1)
        optimiser = torch.optim.SGD(model.parameters(), 0.1)
        with record(model, optimiser, tmp_path / folder, steps=1, quiet=True):
            p = torch.sigmoid(model(torch.randn(ROWS, 3)))
            whole = loss(p, torch.ones(ROWS, 1)), penalty * model.weight.square().sum()
            (torch.stack(whole).sum() if folder == "first" else whole[0] + whole[1]).backward()
            optimiser.step()
        return tmp_path / folder

    def later(p, x):
        return F.binary_cross_entropy(p, x, reduction="none").mean(-1).sum() / ROWS

    first = run("first", later, 0.1)
    assert compare_programs(first, run("right", F.binary_cross_entropy, 0.1)).agrees
    found = compare_programs(first, run("wrong", F.binary_cross_entropy, 0.2)).first
    assert found.place == "step 1, mul (mul), forward"
    assert found.words[0].endswith("other = 0.2 where it is 0.1")

    def summed(p, x):
        return F.binary_cross_entropy(p, x, reduction="sum")

    found = compare_programs(first, run("summed", summed, 0.1)).first
    assert found.place == "step 1, binary_cross_entropy (binary_cross_entropy), forward"
    assert "reduction = sum" in found.words[0]


@pytest.mark.parametrize(("dtype", "eps"), [("float32", 1e-5), ("float64", 1e-8)])
def test_an_eps_that_the_type_sees_is_told(dtype, eps, tmp_path):
    ways = (
        lambda y: ((y - y.mean()) / (y.std() + eps)).pow(3).sum(),
        lambda y: ((y - y.mean()) / (y.var() + eps).sqrt()).pow(3).sum(),
    )
    for folder, way in zip(("paper", "port"), ways, strict=True):
        recorded(tmp_path / folder, dtype, {"mean": way})
    assert not compare_programs(tmp_path / "paper", tmp_path / "port").agrees


PARTS = {  # a part of a value, in one go or in two; and another part
    "a column": (lambda h: h[:, :1].squeeze(1), lambda h: h[:, 0], lambda h: h[:, 1]),
    "the half of a half": (
        lambda h: h[:, :4].chunk(2, 1)[0], lambda h: h[:, :2], lambda h: h[:, 2:4]
    ),
    "rows of columns": (lambda h: h[:, 1:][:3], lambda h: h[:3, 1:], lambda h: h[1:4, 1:]),
    "each second": (lambda h: h[::2].reshape(-1), lambda h: h.reshape(3, 10)[:, :5].reshape(-1),
                    lambda h: h[1::2].reshape(-1)),
}  # fmt: skip


@pytest.mark.parametrize("name", PARTS)
def test_a_part_may_be_taken_in_two_goes(name, tmp_path):
    def run(part, folder):
        torch.manual_seed(0)
        model = nn.Linear(3, 5)
        optimiser = torch.optim.SGD(model.parameters(), 0.1)
        with record(model, optimiser, tmp_path / folder, steps=1, quiet=True):
            part(model(torch.randn(ROWS, 3)).tanh()).square().sum().backward()
            optimiser.step()
        return tmp_path / folder

    one, two, other = PARTS[name]
    first = run(one, "first")
    assert compare_programs(first, run(two, "second")).agrees
    found = compare_programs(first, run(other, "other")).first
    assert found is not None
    assert "forward" in found.place
