"""Optimisers that a program writes itself, which keep their state under names of their own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from comparisons.ports import compare_programs
from pyvae.recording.record import record

pytestmark = pytest.mark.slow

LR, MOMENTUM, DECAY = 0.1, 0.9, 0.01


class Momentum(torch.optim.Optimizer):
    """SGD with momentum and weight decay."""

    def __init__(self, parameters, how="right"):
        super().__init__(parameters, {"lr": LR})
        self.how = how

    @torch.no_grad()
    def step(self, closure=None):
        for one in self.param_groups[0]["params"]:
            decay = 0 if self.how in ("decoupled", "no decay") else DECAY
            gradient = one.grad + decay * one
            state = self.state[one]
            if "velocity" not in state:
                state["velocity"] = gradient.clone()
            else:
                part = 1 - MOMENTUM if self.how == "average" else 1
                state["velocity"] = MOMENTUM * state["velocity"] + part * gradient
            if self.how == "decoupled":
                one.mul_(1 - LR * DECAY)
            ahead = MOMENTUM * state["velocity"] + gradient
            one.sub_(LR * (ahead if self.how == "nesterov" else state["velocity"]))


class Scaled(torch.optim.Optimizer):
    """The same, with the learning rate within the momentum: another state, no other update."""

    def __init__(self, parameters, how=""):
        super().__init__(parameters, {"lr": LR})

    @torch.no_grad()
    def step(self, closure=None):
        for one in self.param_groups[0]["params"]:
            state = self.state[one]
            moved = LR * (one.grad + DECAY * one)
            state["v"] = MOMENTUM * state["v"] + moved if "v" in state else moved
            one.sub_(state["v"])


class Moments(torch.optim.Optimizer):
    """Adam."""

    names = ("t", "m", "v")
    decay = 0.0  # of the parameters themselves

    def __init__(self, parameters, how="right"):
        super().__init__(parameters, {"lr": 1e-2})
        self.how = how

    @torch.no_grad()
    def step(self, closure=None):
        for one in self.param_groups[0]["params"]:
            state, (t, m, v) = self.state[one], self.names
            if not state:
                state |= {t: 0, m: torch.zeros_like(one), v: torch.zeros_like(one)}
            state[t] += 1
            second = {"betas": 0.99, "nearly": 0.9991}.get(self.how, 0.999)
            state[m] = 0.9 * state[m] + 0.1 * one.grad
            state[v] = second * state[v] + (1 - second) * one.grad**2
            mean, square = state[m] / (1 - 0.9 ** state[t]), state[v] / (1 - second ** state[t])
            eps = 1e-3 if self.how == "eps" else 1e-8
            one.mul_(1 - 1e-2 * self.decay)
            one.sub_(1e-2 * mean / (square.sqrt() + eps))
            if self.how == "least" and state[t] == 1 and one.shape == (6,):
                state[v][state[v].argmin()] += 5e-5 * state[v].max()
            if self.how == "small":
                state[v][state[v] < 1e-5 * state[v].max()] *= 1.05
            if self.how == "held" or (self.how == "held once" and state[t] == 1):
                state[v].clamp_(min=5e-5 * float(state[v].max()))


class Named(Moments):
    """The same, which keeps its state under PyTorch's names."""

    names = ("step", "exp_avg", "exp_avg_sq")


def sgd(parameters, how=""):
    return torch.optim.SGD(parameters, LR, momentum=MOMENTUM, weight_decay=DECAY)


def adam(parameters, how=""):
    return torch.optim.Adam(parameters, 1e-2)


class Backwards(nn.Linear):
    """A linear layer that sums its inputs from the last to the first."""

    def forward(self, x):
        return (self.weight.flip(1) @ x.flip(1).T).T + self.bias


def plain(linear=nn.Linear):
    return nn.Sequential(linear(4, 6), nn.Tanh(), linear(6, 3))


def normalised(linear=nn.Linear):
    """A bias in front of a batch norm: its gradient is rounding."""
    return nn.Sequential(linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), linear(6, 3))


def biased(linear=nn.Linear):
    """The same, where no other parameter has as many numbers."""
    return nn.Sequential(linear(4, 6), nn.BatchNorm1d(6, affine=False), nn.ReLU(), linear(6, 3))


def train(name, optimiser, how="right", inputs=1.0, network=plain):
    torch.manual_seed(1)
    model = network()
    optimizer = optimiser(model.parameters(), how)
    with record(model, optimizer, name, steps=3):
        for _ in range(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(
                model(inputs * torch.randn(8, 4)), torch.randint(0, 3, (8,))
            ).backward()
            optimizer.step()
    return name


@pytest.mark.parametrize(("ours", "own"), [(sgd, Momentum), (sgd, Scaled), (adam, Moments)])
def test_a_right_one_agrees(ours, own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert compare_programs(train("paper", ours), train("port", own)).first is None


def rmsprop(parameters, how=""):
    return torch.optim.RMSprop(parameters, 1e-3)


class Squares(torch.optim.Optimizer):
    """RMSprop."""

    def __init__(self, parameters, how="right"):
        super().__init__(parameters, {"lr": 1e-3})
        self.how = how

    @torch.no_grad()
    def step(self, closure=None):
        for one in self.param_groups[0]["params"]:
            state = self.state[one]
            kept = 0.99 * state["v"] if "v" in state else 0.0
            state["v"] = kept + 0.01 * one.grad**2
            one.sub_(1e-3 * one.grad / (state["v"].sqrt() + 1e-8))
            if self.how == "held":
                state["v"].clamp_(min=0.5 * float(state["v"].max()))


def adagrad(parameters, how=""):
    return torch.optim.Adagrad(parameters, 1e-2)


class Sum(torch.optim.Optimizer):
    """Adagrad, whose sum begins with its first step: PyTorch's is zero before it."""

    def __init__(self, parameters, how="right"):
        super().__init__(parameters, {"lr": 1e-2})
        self.how = how

    @torch.no_grad()
    def step(self, closure=None):
        for one in self.param_groups[0]["params"]:
            state = self.state[one]
            state["h"] = state.get("h", 0.0) + one.grad**2
            one.sub_(1e-2 * one.grad / (state["h"].sqrt() + 1e-10))
            if self.how == "held":
                state["h"].clamp_(min=0.5 * float(state["h"].max()))


OURS_AND_OWN = [(adam, Moments), (rmsprop, Squares), (adagrad, Sum)]


@pytest.mark.parametrize(("ours", "own"), OURS_AND_OWN)
def test_a_right_one_agrees_where_a_gradient_is_rounding(ours, own, tmp_path, monkeypatch):
    """Its state then differs as much as the gradients do, and follows from them on both sides."""
    monkeypatch.chdir(tmp_path)
    train("paper", ours, network=normalised)
    train("port", own, network=lambda: normalised(Backwards))
    found = compare_programs("paper", "port")
    assert found.first is None
    assert [one for one in found.judged if one.verdict == "explained"]  # else nothing was shown


@pytest.mark.parametrize(("ours", "own"), OURS_AND_OWN)
def test_a_wrong_one_does_not(ours, own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train("paper", ours, network=normalised)
    train("port", own, "held", network=lambda: normalised(Backwards))
    assert compare_programs("paper", "port").first is not None


@pytest.mark.parametrize("own", [Moments, Named])
def test_a_state_that_differs_by_rounding_hides_no_mistake(own, tmp_path, monkeypatch):
    """In one number of the bias in front of the batch norm, after the first step."""
    monkeypatch.chdir(tmp_path)
    train("paper", adam, network=biased)
    assert compare_programs("paper", train("right", own, network=lambda: biased(Backwards))).agrees
    train("port", own, "least", network=lambda: biased(Backwards))
    assert not compare_programs("paper", "port").agrees


def adamw(parameters, how=""):
    return torch.optim.AdamW(parameters, 1e-2, weight_decay=0.1)


class Decoupled(Named):
    """AdamW."""

    decay = 0.1


def test_a_decay_that_is_no_part_of_a_gradient_hides_no_mistake(tmp_path, monkeypatch):
    """Small squares are held to their own rounding, not to that of the decay."""
    monkeypatch.chdir(tmp_path)
    unlike = torch.tensor([1, 1e-2, 1e-3, 1e-3])
    train("paper", adamw, inputs=unlike), train("right", Decoupled, inputs=unlike)
    assert compare_programs("paper", "right").agrees
    first = compare_programs("paper", train("port", Decoupled, "small", unlike)).first
    assert first.words[0].startswith("numbers of port's exp_avg_sq that are small")


@pytest.mark.parametrize(
    ("ours", "own", "how", "number", "words"),
    [
        (sgd, Momentum, "average", 2, "the momentum is an average"),
        (sgd, Momentum, "nesterov", 1, "Nesterov's momentum"),
        (sgd, Momentum, "no decay", 1, "weight_decay = 0 where it is 0.01"),
        (
            sgd, Momentum, "decoupled", 2,
            "what port's optimiser keeps as momentum_buffer before the step is not what paper's",
        ),
        (adam, Moments, "eps", 1, "eps = 0.001 where it is 1e-08"),
        (adam, Moments, "betas", 2, "betas = (0.9, 0.99) where it is (0.9, 0.999)"),
    ],
)  # fmt: skip
def test_a_mistake_in_it_is_named(ours, own, how, number, words, tmp_path, monkeypatch):
    """Decoupled decay leaves the same parameters in the first step, but not the same momentum: of
    that, the second update is the right one."""
    monkeypatch.chdir(tmp_path)
    first = compare_programs(train("paper", ours), train("port", own, how)).first
    assert first.place.startswith(f"step {number}, optimizer ")
    assert words in " ".join(first.words)


WORDS = (
    "port: what its optimiser keeps as {} is not the {} that paper's would keep of the same "
    "gradients (first in step 1, 0.weight), without an effect in these steps"
)


@pytest.mark.parametrize(
    ("ours", "own", "how", "words"),
    [
        (sgd, Momentum, "right", ()),
        (adam, Moments, "right", ()),
        (adam, Moments, "nearly", ("v", "exp_avg_sq")),
        (sgd, Scaled, "", ("v", "momentum_buffer")),
    ],
)
def test_a_state_that_is_kept_otherwise_is_told(ours, own, how, words, tmp_path, monkeypatch):
    """No quantity holds it against the other side's, whose name is another; and in a few steps of
    float32 another decay of Adam's squares may change the parameters by no more than rounding."""
    monkeypatch.chdir(tmp_path)
    for sides in (("paper", "port"), ("port", "paper")):
        if sides[0] == "paper":
            train("paper", ours), train("port", own, how)
        found = compare_programs(*sides)
        assert found.agrees
        told = [line for line in found.lines if "keeps as" in line]
        assert told == [WORDS.format(*words)] if words else not told


@pytest.mark.parametrize("how", ["held", "held once"])
@pytest.mark.parametrize(
    ("own", "number", "words"),
    [
        (
            Moments, 2,
            "port: what its optimiser keeps as v is not the exp_avg_sq that paper's would keep of "
            "the same gradients (first in step 1, ",
        ),
        (
            Named, 1,
            "numbers of port's exp_avg_sq that are small against its largest are not what the "
            "gradients give",
        ),
    ],
)  # fmt: skip
def test_small_numbers_of_a_state_count(own, number, words, how, tmp_path, monkeypatch):
    """Adam divides by them. They were within what float32 may be off, relative to the largest, and
    the updates followed from them, beyond all rounding."""
    monkeypatch.chdir(tmp_path)
    unlike = torch.tensor([1, 1e-2, 1e-3, 1e-3])
    found = [train("paper", adam, inputs=unlike), train("right", own, inputs=unlike)]
    assert compare_programs(*found).agrees
    first = compare_programs("paper", train("port", own, how, unlike)).first
    assert first.place.startswith(f"step {number}, optimizer (adam), update of ")
    assert first.words[0].startswith(words)


class Odd(torch.optim.Optimizer):
    """What nobody knows."""

    def __init__(self, parameters, by):
        super().__init__(parameters, {"lr": LR})
        self.by = by

    @torch.no_grad()
    def step(self, closure=None):
        for one in self.param_groups[0]["params"]:
            one.sub_(self.by * one.grad.sign() * one.grad.abs().sqrt())


def test_an_optimiser_that_nobody_knows_says_what_can_be_done(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, by in (("paper", 0.1), ("port", 0.13)):
        torch.manual_seed(1)
        model = nn.Linear(3, 2)
        optimizer = Odd(model.parameters(), by)
        with record(model, optimizer, name, steps=1, quiet=True):
            model(torch.ones(4, 3)).pow(2).sum().backward()
            optimizer.step()
    first = compare_programs("paper", "port").first
    assert first.place.startswith("step 1, optimizer (odd), update of ")
    (words,) = first.words
    assert words.startswith(
        "both sides give the optimiser (odd) the same gradients and the same state, and it makes "
        "another update of them; pyvae does not know it"
    )
    assert "put an optimiser of torch.optim in its place" in words


class Signs(torch.optim.Optimizer):
    """One of which nothing is known."""

    def __init__(self, parameters, how="right"):
        super().__init__(parameters, {"rate": 0.02 if how == "rate" else 0.01})
        self.how = how

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for one in group["params"]:
                gradient = one.grad if self.how == "no sign" else one.grad.sign()
                one.sub_(group["rate"] * gradient)


class Renamed(Signs):
    """The same under another name."""


def test_of_two_that_are_not_known_settings_are_told_and_no_names(tmp_path, monkeypatch):
    """Their classes may have any names, and R's may have none."""
    monkeypatch.chdir(tmp_path)
    assert compare_programs(train("paper", Signs), train("port", Renamed)).agrees
    first = compare_programs("paper", train("rate", Renamed, "rate")).first
    assert first.words[0] == "rate: rate = 0.02 where it is 0.01"
    first = compare_programs("paper", train("other", Renamed, "no sign")).first
    assert first.words[0].endswith(
        "paper's signs and other's renamed are the programs' own, and are not looked into"
    )
