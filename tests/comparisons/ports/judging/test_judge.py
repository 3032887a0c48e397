"""How the quantities of a step are judged."""

from __future__ import annotations

import pytest
import torch
from recorded.ported import Classifier, Program
from torch import nn

from comparisons.ports import compare_programs

pytestmark = pytest.mark.slow


class Biased(nn.BatchNorm2d):
    """Its running variance moves towards the variance over n, not n - 1."""

    def forward(self, x):
        before = self.running_var.clone()
        y = super().forward(x)
        with torch.no_grad():
            count = x.numel() / x.shape[1]
            kept = (1 - self.momentum) * before
            self.running_var = kept + (self.running_var - kept) * (count - 1) / count
        return y


def biased():
    network = Classifier(momentum=0.01)
    network.norm = Biased(4, momentum=0.01)
    return network


def test_running_statistics_are_held_against_their_change(pair):
    """Of the variance itself it is 1e-5, which is within the rule of what is computed."""
    python, r = pair(Program(network=lambda: Classifier(momentum=0.01)), Program(network=biased))
    first = compare_programs(python, r).first
    assert "running_var" in first.place
    assert first.judged.difference.max_abs < 5e-5
    assert first.wrong == r
