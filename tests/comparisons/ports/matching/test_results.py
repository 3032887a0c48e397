"""What forward passes come to is compared, though nothing is computed from it: what a network
returns, and what its program makes of that last."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from comparisons.ports import compare_programs
from comparisons.ports.matching.results import RESULTS
from pyvae.recording.record import record

X = torch.linspace(-1, 2, 24).reshape(4, 6)


class Net(nn.Module):
    """Two layers, and what is made of them."""

    def __init__(self, returns):
        super().__init__()
        self.mu, self.log_var, self.returns = nn.Linear(6, 5), nn.Linear(6, 5), returns

    def forward(self, x):
        return self.returns(self.mu(x), self.log_var(x))


def as_it_is(returned):
    return returned


@pytest.fixture
def compared(tmp_path, monkeypatch):
    """Compares what two networks return, and what is made of that."""
    monkeypatch.chdir(tmp_path)

    def run(one, two, last=(as_it_is, as_it_is)):
        for name, returns, end in zip("ab", (one, two), last, strict=True):
            torch.manual_seed(0)
            net = Net(returns)
            with record(net, None, name, quiet=True), torch.no_grad():
                end(net(X))
        return compare_programs("a", "b")

    return run


RIGHT = {
    "log_softmax": (lambda a, b: a.log_softmax(1), lambda a, b: a.softmax(1).log()),
    "normalize": (lambda a, b: F.normalize(a), lambda a, b: a / a.norm(dim=1, keepdim=True)),
    "exp of half": (lambda a, b: (0.5 * a).exp(), lambda a, b: a.exp().sqrt()),
    "another order": (lambda a, b: (a, b), lambda a, b: (b, a)),
    "names": (lambda a, b: {"mu": a, "log_var": b}, lambda a, b: (a, b)),
    "less": (lambda a, b: (a, b), lambda a, b: a),
    "precision": (lambda a, b: a.double().softmax(1), lambda a, b: a.softmax(1)),
    "a copy": (lambda a, b: a, lambda a, b: a.detach().clone()),
    "the best of": (lambda a, b: a.argmax(1), lambda a, b: a.softmax(1).argmax(1)),
}


@pytest.mark.parametrize("name", RIGHT)
def test_the_same_results_agree(name, compared):
    found = compared(*RIGHT[name])
    assert found.agrees, found.lines
    assert found.verdict.endswith("in 1 forward pass") or "in 1 forward pass," in found.verdict


NETWORK = "what the network returns"
WRONG = {  # where they part, and what is said of it
    "softmax": (
        lambda a, b: a.softmax(1), lambda a, b: a,
        f"{NETWORK} (softmax (softmax; in b mu, linear))",
        "a goes on from mu with softmax (softmax), b does not",
    ),
    "softmax and more": (
        lambda a, b: a, lambda a, b: (a.softmax(1), b),
        f"{NETWORK} (mu (linear; in b softmax, softmax))",
        "b goes on from mu with softmax (softmax), a does not",
    ),
    "twice": (
        lambda a, b: a.sigmoid(), lambda a, b: a.sigmoid().sigmoid(),
        f"{NETWORK} (sigmoid (sigmoid; in b sigmoid#2, sigmoid))",
        "b goes on from sigmoid with sigmoid#2 (sigmoid), a does not",
    ),
    "sum": (
        lambda a, b: a.mean(1), lambda a, b: a.sum(1),
        f"{NETWORK} (mean (mean; in b sum, sum))",
        "a has mean (mean) where b has sum (sum), between mu and returned",
    ),
    "axis": (
        lambda a, b: F.normalize(a), lambda a, b: a / a.norm(dim=0, keepdim=True),
        f"{NETWORK} (normalize (normalize; in b div, div))",
        "b: dim = 0 where it is 1 (in what it has for normalize)",
    ),
    "factor": (
        lambda a, b: a.exp(), lambda a, b: a.exp() * 1.00001,
        f"{NETWORK} (exp (exp; in b mul, mul))",
        "b goes on from exp with mul (mul), a does not",
    ),
    "shape": (
        lambda a, b: a.view(2, 2, 5), lambda a, b: a,
        f"{NETWORK} (view (view; in b mu, linear))",
        "a goes on from mu with view (view), b does not",
    ),
    "residual": (
        lambda a, b: a + b, lambda a, b: a, f"{NETWORK} (add (add; in b mu, linear))",
        "a goes on from mu with add (add), b does not",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_other_results_part_and_are_told(name, compared):
    one, two, place, words = WRONG[name]
    found = compared(one, two)
    assert found.first is not None
    assert found.first.place == f"step 1, {place}"
    assert words in found.first.words


LAST = {  # what the program makes of what is returned
    "logarithm": (
        lambda y: y.exp().log(),
        lambda y: y.exp().log10(),
        "a has log (log) where b has log10 (log10)",
    ),
    "mean": (lambda y: y.mean(1), lambda y: y.sum(1), "a has mean (mean) where b has sum (sum)"),
    "threshold": (lambda y: y > 0.5, lambda y: y > 0.6, "b: other = 0.6 where it is 0.5"),
}


@pytest.mark.parametrize("name", LAST)
def test_what_the_program_makes_of_it_parts_too(name, compared):
    one, two, words = LAST[name]
    found = compared(lambda a, b: a, lambda a, b: a, (one, two))
    assert found.first is not None
    assert any(words in one for one in found.first.words), found.first.words


def test_what_one_program_alone_looks_at_is_no_difference(compared):
    """A score that one of them computes of the same prediction."""
    found = compared(lambda a, b: a, lambda a, b: a, (lambda y: (y > 0).sum(), as_it_is))
    assert found.agrees
    assert [one.layer for one in found.networks[0].only[0]] == ["gt", "sum"]


def test_each_pass_has_its_own_results(tmp_path, monkeypatch):
    """What is computed another way in the first is not paired any more, what is returned is."""
    monkeypatch.chdir(tmp_path)
    for name, returns in zip("ab", RIGHT["exp of half"], strict=True):
        torch.manual_seed(0)
        net = Net(returns)
        with record(net, None, name, quiet=True), torch.no_grad():
            for at in range(3):
                net(X + at)
    found = compare_programs("a", "b")
    assert found.agrees
    assert [one.step for one in found.judged if one.quantity.key == "forward/returned"] == [1, 2, 3]
    assert not any(pair.how in RESULTS for one in found.networks for pair in one.pairs)
