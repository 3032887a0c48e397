"""Gradients that a hook changes within backward: the same done after it agrees, else it is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from comparisons.ports import compare_programs
from pyvae.recording.record import record
from pyvae.trace.program import ProgramTrace

pytestmark = pytest.mark.slow


def train(name, hook=None, of=None, activation=None, clip=None, norm=None, small=1.0):
    """Records two steps. `hook` is one of the parameters (`of` one alone), `activation` one of what
    the first layer returns; `clip` clips by value after backward, `norm` then by norm; the first
    input is `small`."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for key, one in model.named_parameters():
        if hook is not None and of in (None, key):
            one.register_hook(hook)
    with record(model, optimizer, name, steps=2, overwrite=True, quiet=True):
        for _ in range(2):
            optimizer.zero_grad()
            hidden = model[0](torch.randn(12, 4) * torch.tensor([small, 1, 1, 1]))
            if activation is not None:
                hidden.register_hook(activation)
            F.mse_loss(model[2](model[1](hidden)), torch.randn(12, 3)).backward()
            if clip is not None:
                nn.utils.clip_grad_value_(model.parameters(), clip)
            if norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), norm)
            optimizer.step()


def compared(port, paper=None):
    train("paper", **(paper or {}))
    train("port", **port)
    return compare_programs("paper", "port")


def clamp(bound):
    return lambda gradient: gradient.clamp(-bound, bound)


@pytest.mark.parametrize("turned", [False, True])
def test_clipping_in_a_hook_is_clipping_after_backward(turned, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sides = [{"hook": clamp(0.05)}, {"clip": 0.05}]
    found = compared(*(sides[::-1] if turned else sides))
    assert found.agrees, found.lines
    names = ("paper", "port") if turned else ("port", "paper")
    words = "{} changes gradients within backward (a hook), {} changes them after it: both "
    assert f"{words}optimisers get the same".format(*names) in found.notes


def test_both_may_clip_by_norm_after_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert compared({"hook": clamp(0.05), "norm": 0.1}, {"clip": 0.05, "norm": 0.1}).agrees
    found = compared({"hook": clamp(0.05), "norm": 0.12}, {"clip": 0.05, "norm": 0.1})
    assert not found.agrees
    assert not any("both optimisers get the same" in note for note in found.notes)


def sparse(gradient):
    return gradient * (gradient.abs() > 1e-4 * gradient.abs().max())


@pytest.mark.parametrize("turned", [False, True])
def test_small_numbers_that_a_hook_sets_to_zero_are_no_rounding(turned, tmp_path, monkeypatch):
    """Adam divides by the size of a gradient: a weight that has a small one moves as far."""
    monkeypatch.chdir(tmp_path)
    sides = [{"hook": sparse, "of": "0.weight", "small": 3e-5}, {"small": 3e-5}]
    first = compared(*(sides[::-1] if turned else sides)).first
    port, paper = ("paper", "port") if turned else ("port", "paper")
    assert first.place == "step 1, 0 (linear), backward (gradient of 0.weight)"
    assert first.words == (
        f"{port}: 5 of 20 numbers of the gradient of 0.weight are exactly 0 where backward gives "
        f"small ones; {paper}'s are as backward gives them. Look for a hook in {port} that sets "
        "small numbers to zero",
    )
    clipping = {"hook": lambda gradient: clamp(0.05)(sparse(gradient)), "small": 3e-5}
    assert not compared(clipping, {"clip": 0.05, "small": 3e-5}).agrees


def test_another_bound_in_a_hook_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = compared({"hook": clamp(0.04)}, {"clip": 0.05}).first
    assert first.words == (
        "port: between backward and the update it clips the gradients of all 4 parameters by "
        "value, to 0.04; paper clips them by value, to 0.05",
    )


@pytest.mark.parametrize(
    ("port", "words"),
    [
        (
            {"hook": clamp(0.05), "of": "0.weight"},
            "port: the gradient of 0.weight is what the backward pass of 0 (linear) gives, clamped "
            "to 0.05; paper's is as backward gives it.",
        ),
        (
            {"activation": clamp(0.01)},
            "port's is not what it should be for its own inputs: it is up to {} off what the "
            "backward pass of 0 (linear) gives.",
        ),
    ],
)
def test_what_a_hook_makes_of_a_gradient_is_told(port, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = compared(port).first
    assert first.wrong == "port"
    (said,) = first.words
    words = words.format(*re.findall(r"up to (\S+) off", said))
    assert said == (
        f"{words} Look for a hook in port (register_hook, on it or on what 0 (linear) returns), or "
        "for a backward pass of its own"
    )


def test_where_there_are_no_hooks_the_backward_pass_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    compared({"activation": clamp(0.01)})
    trace = ProgramTrace.load("port")
    trace.engine = "base-r"
    trace.save(Path("port"))
    (said,) = compare_programs("paper", "port").first.words
    assert said.endswith(
        "what the backward pass of 0 (linear) gives. Look at the lines of port that compute it"
    )
