"""The noise of a Gumbel softmax with the wrong sign: R torch's own mistake is named as such."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from comparisons.ports.matching.matched import StageMatch
from comparisons.ports.relating.gumbel import opposite_noise
from pyvae.trace.program import ProgramStage

TAU = 0.7


def found(noises, engines=("pytorch", "r-torch"), tau=TAU):
    """What is said of two sides that add this noise to the same numbers, in float32."""
    torch.manual_seed(1)
    x, noise = torch.randn(6, 3), -torch.empty(6, 3).exponential_().log()
    stage = ProgramStage("gumbel_softmax", "gumbel_softmax", ("x",), {"tau": tau})
    values = [torch.softmax((x + factor * noise) / TAU, -1).numpy() for factor in noises]
    sides = [
        SimpleNamespace(
            arrays={"forward/gumbel_softmax": value, "forward/x": x.numpy()},
            value=lambda name: x.numpy(),
            side=SimpleNamespace(trace=SimpleNamespace(engine=engine)),
        )
        for value, engine in zip(values, engines, strict=True)
    ]
    step = SimpleNamespace(names=("python", "r"), a=sides[0], b=sides[1])
    return opposite_noise(step, StageMatch(stage, stage, "name"))


def test_r_torch_s_own_mistake_is_named():
    words = found((1, -1))
    assert words.startswith("r: R torch's nnf_gumbel_softmax is at fault: up to version 0.17.0")
    assert found((-1, 1), ("r-torch", "pytorch")).startswith("python: R torch's")


def test_a_program_s_own_mistake_is_no_one_else_s():
    words = "the noise of r has the opposite sign of that of python"
    assert found((1, -1), ("pytorch", "pytorch")) == words


@pytest.mark.parametrize(("noises", "tau"), [((1, 0), TAU), ((1, 2), TAU), ((1, -1), 1.0)])
def test_another_difference_is_not(noises, tau):
    assert found(noises, tau=tau) == ""


def test_what_cannot_be_told_is_not():
    stage = ProgramStage("gumbel_softmax", "gumbel_softmax", ("x",))
    hard = np.eye(3, dtype=np.float32)
    side = SimpleNamespace(arrays={"forward/gumbel_softmax": hard}, value=lambda name: hard)
    step = SimpleNamespace(names=("python", "r"), a=side, b=side)
    assert opposite_noise(step, StageMatch(stage, stage, "name")) == ""
