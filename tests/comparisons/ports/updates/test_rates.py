"""Schedules of the learning rate: how one follows from the other."""

from __future__ import annotations

import math
import re

import pytest
import torch
from recorded.trained import Training, say
from torch import optim

from comparisons.ports import compare_programs
from comparisons.ports.updates.rates import schedule_difference

NAMES = ("python", "r")
WARM_UP = [0.1 * min(t, 4) / 4 for t in range(1, 8)]
COSINE = [0.05 * (1 + math.cos(math.pi * t / 10)) for t in range(7)]
LINEAR = [0.1 * (1 - t / 10) for t in range(7)]
STEPS = [0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025]

SCHEDULES = {
    "one step late": (COSINE, [COSINE[0], *COSINE[:-1]], "it is that of the step before in python"),
    "one step early": (
        COSINE[:-1], COSINE[1:], "it is that of the step after in python",
    ),
    "warm-up from 0": (
        WARM_UP, [0.0, *WARM_UP[:-1]],
        "it is that of the step before in python (warm-up: the first step is step 0 of 4, where "
        "it is step 1 of 4)",
    ),
    "two steps": (LINEAR, [0.1, 0.1, *LINEAR[:-2]], "it is that of the 2 steps before in python"),
    "not stepped": (
        COSINE, [COSINE[0]] * 7,
        "it stays the same, python's does not (is step() of the schedule missing?)",
    ),
    "per batch": (
        STEPS, [0.1 * 0.5**t for t in range(7)],
        "it changes after every step, python's after every 3 steps (per batch where it is per "
        "epoch, or the other way round)",
    ),
    "cosine for linear": (
        LINEAR, COSINE,
        "it follows a cosine over 10 steps, python's a straight line (down by 0.01 a step)",
    ),
    "exponential": (
        LINEAR, [0.1 * 0.9**t for t in range(7)],
        "it follows a power (times 0.9 a step), python's a straight line (down by 0.01 a step)",
    ),
    "a factor": (COSINE, [0.1 * x for x in COSINE], "times 0.1 in all 7 recorded steps"),
    "nothing known": (COSINE, [0.1, 0.02, 0.07, 0.09, 0.01, 0.03, 0.08], ""),
    "too few": (COSINE[:2], LINEAR[:2], ""),
    "the same": (COSINE, COSINE, ""),
    "two constants": ([0.1] * 5, [0.01] * 5, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule(name):
    a, b, words = SCHEDULES[name]
    assert schedule_difference(NAMES, a, b) == words


def stepped(make, first=False):
    """A program with a schedule, stepped after the optimiser or before it."""
    known = {}

    def step(network, optimiser, number):
        if number == 0:
            known[0] = make(optimiser)
        else:
            known[0].step()

    def at_start(network, optimiser, number):
        step(network, optimiser, 0)

    return Training(steps=7, start=at_start, **{"before" if first else "after": step})


def cosine(optimiser):
    return optim.lr_scheduler.CosineAnnealingLR(optimiser, 10)


def linear(optimiser):
    return optim.lr_scheduler.LambdaLR(optimiser, lambda t: 1 - t / 10)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Detected call of")
def test_two_schedules_that_are_declared(pair):
    found = compare_programs(*pair(stepped(cosine), stepped(cosine, first=True)))
    (said,) = found.first.words
    assert said.endswith("where it is 0.001: it is that of the step after in python")
    found = compare_programs(*pair(stepped(linear), stepped(cosine)))
    (said,) = found.first.words
    assert ": it follows a cosine over 10 steps, python's a straight line" in said


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Detected call of")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_a_schedule_that_is_not_declared(pair, dtype):
    """The updates say which rate they were made with."""
    one, two = stepped(cosine), stepped(cosine, first=True)
    one.dtype = two.dtype = dtype
    pair(one, two)
    say("r", "adam", "python")
    (said,) = compare_programs("python", "r").first.words
    rate = float(re.match("r: lr = ([0-9.]+) where it is 0.001:", said)[1])
    assert math.isclose(rate, 0.0009755283, rel_tol=1e-3 * 0.025)
    assert said.endswith(": it is that of the step after in python")
