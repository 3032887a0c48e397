"""A penalty on the weights belongs together, whether it comes before the model or after it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from comparisons.ports import compare_programs
from pyvae.recording.record import record


def penalty(model, power):
    total = 0
    for weight in model.parameters():
        total = total + (weight**power).sum()
    return total


def trained(folder, first, factor=0.01, power=2):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with record(model, optimizer, folder, steps=2):
        for _ in range(2):
            x, y = torch.randn(5, 3), torch.randn(5, 2)
            optimizer.zero_grad()
            before = penalty(model, power) if first else None
            fit = F.mse_loss(model(x), y)
            (fit + factor * (before if first else penalty(model, power))).backward()
            optimizer.step()


@pytest.mark.parametrize("first", [True, False])
def test_a_penalty_is_compared_wherever_it_is_computed(tmp_path, monkeypatch, first):
    monkeypatch.chdir(tmp_path)
    trained("paper", True)
    trained("port", first)
    found = compare_programs("paper", "port")
    assert found.agrees
    assert not any(found.networks[0].only)


def test_another_factor_of_the_penalty_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained("paper", True)
    trained("port", False, factor=0.005)
    first = compare_programs("paper", "port").first
    assert first.words == ("port: other = 0.005 where it is 0.01",)
    assert first.place == "step 1, mul (mul), forward"


def test_another_power_of_the_penalty_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained("paper", True)
    trained("port", False, power=4)
    assert compare_programs("paper", "port").first.words == ("port: other = 4 where it is 2",)
