"""Mistakes that do not show in the step, or at the place, where they are made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from recorded.trained import Training
from torch import Tensor, nn

from comparisons.ports import compare_programs
from pyvae.trace.program import ProgramTrace

pytestmark = pytest.mark.slow


class Images(nn.Module):
    """Two convolutions; of most batches, the images' border is what they are padded with."""

    def __init__(self, mode: str = "zeros") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 2, 3, padding=1, padding_mode=mode)
        self.conv2 = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        border = 1.0 if x.mean() > 2 else 0.0
        wide = nn.functional.pad(x.reshape(8, 1, 3, 3), 4 * [2], value=border)
        return self.conv2(self.conv1(wide))[:, :, 2:5, 2:5].flatten(1)


def later(x: Tensor, step: int) -> Tensor:
    return x + 5 if step == 3 else x


@pytest.mark.parametrize("declared", [True, False])
def test_a_padding_mode_that_the_first_batches_do_not_show(pair, declared):
    right = Training(network=Images, batch=later, steps=4, dtype=torch.float64)
    wrong = replace(right, network=lambda: Images("replicate"))
    pair(right, wrong)
    if not declared:
        copy_networks()
    found = compare_programs("python", "r")
    assert found.first.place == "step 3, conv1 (conv2d), forward"
    others = "replicate" if declared else "reflect, replicate or circular"  # of such a border one
    assert found.first.words == (f"r: padding_mode = {others} where it is zeros",)


@pytest.mark.parametrize("declared", [True, False])
def test_a_padding_mode_that_backward_alone_shows(pair, declared):
    """The border of what goes in is zero, and what goes back is not."""

    class Behind(nn.Module):
        def __init__(self, mode: str = "zeros") -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1, 1, 7, 7))
            self.conv = nn.Conv2d(1, 1, 3, padding=1, padding_mode=mode)

        def forward(self, x: Tensor) -> Tensor:
            wide = nn.functional.pad(x.reshape(8, 1, 3, 3), 4 * [2])
            return (self.conv(wide * self.scale) ** 2).flatten(1).mean(1, keepdim=True) + 0 * x

    right = Training(network=Behind, dtype=torch.float64)
    pair(right, replace(right, network=lambda: Behind("reflect")))
    if not declared:
        copy_networks()
    found = compare_programs("python", "r")
    assert found.first.place.startswith("step 1, conv (conv2d), backward")
    assert found.first.words == ("r: padding_mode = reflect where it is zeros",)


def copy_networks() -> None:
    """The second program declares what the first one does."""
    right, wrong = ProgramTrace.load("python"), ProgramTrace.load("r")
    wrong.networks = right.networks
    wrong.save(Path("r"))
