"""What is said where neither side can be computed again, as both change something unseen."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from comparisons.ports import compare_programs
from pyvae.recording.record import record


@pytest.fixture
def words(tmp_path, monkeypatch):
    """Two programs that take three steps with something else, and what is said of them."""
    monkeypatch.chdir(tmp_path)

    def compared(step, *others):
        for folder, other in zip(("paper", "port"), others, strict=True):
            torch.manual_seed(1)
            network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
            network.register_buffer("mean", torch.ones(4))
            network.register_buffer("count", torch.ones(4))
            x, y = torch.randn(8, 3), torch.randn(8, 1)
            step(network, x, y, other, folder)
        found = compare_programs("paper", "port")
        assert found.first.judged.step == 1
        (said,) = found.first.words
        return said

    return compared


def sharpened(network, x, y, rho, folder):
    """SAM: the gradient is that of weights which are moved along the gradient first."""
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    with record(network, optimiser, folder, quiet=True, overwrite=True):
        for _ in range(3):
            optimiser.zero_grad()
            (network(x) - y).square().mean().backward()
            moved = [rho * p.grad for p in network.parameters()]
            with torch.no_grad():
                for p, by in zip(network.parameters(), moved, strict=True):
                    p.add_(by)
            optimiser.zero_grad()
            (network(x) - y).square().mean().backward()
            with torch.no_grad():
                for p, by in zip(network.parameters(), moved, strict=True):
                    p.sub_(by)
            optimiser.step()


def with_a_closure(network, x, y, about, folder):
    about = dict(about)
    zero = about.pop("zero", True)
    optimiser = torch.optim.LBFGS(network.parameters(), **{"lr": 0.5, "max_iter": 3} | about)

    def closure():
        if zero:
            optimiser.zero_grad()
        loss = (network(x) - y).square().mean()
        loss.backward()
        return loss

    with record(network, optimiser, folder, quiet=True, overwrite=True):
        for _ in range(3):
            optimiser.step(closure)


def with_averages(network, x, y, decays, folder):
    """Averages of what a layer returns, which the program moves itself."""
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    with record(network, optimiser, folder, quiet=True, overwrite=True):
        for _ in range(3):
            hidden = network[:2](x)
            loss = (network[2](hidden - network.mean) - y).square().mean()
            with torch.no_grad():
                network.mean.mul_(decays[0]).add_(hidden.mean(0))
                network.count.mul_(decays[1]).add_(hidden.sum(0))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


def test_weights_that_both_move_within_a_step(words):
    said = words(sharpened, 0.1, 0.2)
    assert said.startswith("on both sides it is not what comes of 0.weight and 0.bias as the step")
    assert "both programs change that within the step, before this call" in said


def test_weights_that_an_optimiser_moves_between_its_calls_of_the_loss(words):
    assert words(with_a_closure, {}, {"lr": 0.4}) == "port: lr = 0.4 where it is 0.5"
    said = words(with_a_closure, {}, {"zero": False})
    assert said.startswith("the optimiser calls the closure several times in a step")
    assert "zero_grad" in said


def test_buffers_that_both_change_by_hand(words):
    by_hand = "both programs change it by hand, which is not looked into"
    assert words(with_averages, (0.9, 0.9), (0.8, 0.9)) == by_hand
    assert words(with_averages, (0.9, 0.9), (0.8, 0.7)) == f"{by_hand}; count parts as well"
