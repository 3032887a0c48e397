"""Arguments in another order are told, and so are numbers that are another argument."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from recorded.by_hand import record_steps
from torch import nn

from comparisons.ports import compare_programs


@pytest.fixture
def compared(tmp_path, monkeypatch):
    """The comparison of two programs: what a layer returns goes through a function each."""
    monkeypatch.chdir(tmp_path)

    def compare(*functions):
        torch.manual_seed(1)
        batches = [(torch.randn(5, 3), torch.randn(5, 2)) for _ in range(2)]
        for name, function in zip(("python", "r"), functions, strict=True):
            torch.manual_seed(0)
            network = nn.Linear(3, 4)

            def loss(y, target, function=function):
                return F.mse_loss(function(y[:, :2], y[:, 2:]), target)

            record_steps(tmp_path / name, network, batches, loss)
        return compare_programs("python", "r").first

    return compare


EXCHANGED = {
    "atan2": (
        lambda a, b: torch.atan2(a.sin(), b.cos()), lambda a, b: torch.atan2(b.cos(), a.sin()),
        "its two arguments are exchanged (python: atan2(sin, cos); r: atan2(cos, sin))",
    ),
    "sub": (
        lambda a, b: a.exp() - b.tanh(), lambda a, b: b.tanh() - a.exp(),
        "its two arguments are exchanged (python: sub(exp, tanh); r: sub(tanh, exp))",
    ),
    "where": (
        lambda a, b: torch.where(a > 0, a.exp(), b.tanh()),
        lambda a, b: torch.where(a > 0, b.tanh(), a.exp()),
        "its arguments 2 and 3 are exchanged (python: where(gt, exp, tanh); "
        "r: where(gt, tanh, exp))",
    ),
    "cat": (
        lambda a, b: torch.cat([a.exp(), b.tanh(), a.sin()], 1)[:, 1:3],
        lambda a, b: torch.cat([b.tanh(), a.sin(), a.exp()], 1)[:, 1:3],
        "its arguments are in another order (python: cat(exp, tanh, sin); "
        "r: cat(tanh, sin, exp))",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXCHANGED)
def test_arguments_in_another_order(compared, name):
    right, wrong, words = EXCHANGED[name]
    first = compared(right, wrong)
    assert first.words == (words,)
    assert f"({name.partition(' ')[0]})" in first.place


NUMBERS = {
    "minus": (lambda a, b: 1 - a, lambda a, b: a - 1, "r: sub(x, 1) where it is sub(1, x)"),
    "over": (lambda a, b: a / 2, lambda a, b: 2 / a, "r: div(2, x) where it is div(x, 2)"),
    "power": (lambda a, b: a**2, lambda a, b: 2**a, "r: pow(2, x) where it is pow(x, 2)"),
    "held": (
        lambda a, b: a.clamp(min=0), lambda a, b: a.clamp(max=0),
        "r: clamp(x, max = 0) where it is clamp(x, min = 0)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_that_is_another_argument_is_no_rounding(compared, name):
    """Each side returns what it declares, and the two declare no option that both have."""
    right, wrong, words = NUMBERS[name]
    assert compared(right, wrong).words == (words,)
