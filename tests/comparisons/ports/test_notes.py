"""What is said of two programs besides what was compared."""

from __future__ import annotations

import torch
from torch import nn

from comparisons.ports import compare_programs
from pyvae.recording.record import record


def padded(folder, mode, border):
    """One step of a convolution whose images have a border of zeros, or none."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode=mode))
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    x = torch.rand(2, 1, 8, 8)
    x = x if border is None else nn.functional.pad(x[..., 3:5, 3:5], 4 * [3], value=border)
    with record(network, optimiser, folder, steps=1):
        network(x).square().sum().backward()
        optimiser.step()
    return folder


def test_a_padding_mode_that_the_images_cannot_show(tmp_path):
    zeros = padded(tmp_path / "zeros", "zeros", 0.0)
    found = compare_programs(zeros, padded(tmp_path / "other", "replicate", 0.0))
    assert found.agrees
    assert found.notes == [
        "0 (conv2d): padding_mode = replicate where it is zeros, which makes no difference in step "
        "1, as the border of what it pads is constant. Record images whose borders are not constant"
    ]
    zeros = padded(tmp_path / "seen", "zeros", None)
    found = compare_programs(zeros, padded(tmp_path / "different", "replicate", None))
    assert found.first.words == (f"{found.names[1]}: padding_mode = replicate where it is zeros",)
    assert not found.notes


def rounded(folder, half):
    """A step of two layers, between which one program rounds to half precision."""
    torch.manual_seed(1)
    first, second = nn.Linear(3, 4), nn.Linear(4, 2)
    network = nn.Sequential(first, second)
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    with record(network, optimiser, folder, steps=1):
        y = first(torch.randn(5, 3))
        second(y.half().float() if half else y).square().sum().backward()
        optimiser.step()
    return folder


def test_half_precision_of_one_side_is_said(tmp_path):
    """It decides what counts as rounding."""
    found = compare_programs(rounded(tmp_path / "full", False), rounded(tmp_path / "half", True))
    full, half = found.names
    assert found.agrees
    assert found.notes == [
        f"{half} computes in half precision (first in to), {full} does not: what is within 2e-02 "
        "counts as rounding"
    ]
