"""Layers that normalise."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from examples.example import Example, positive

EPS = {"another_eps": lambda call: call(eps=0.0123)}
MOMENTUM = {"another_momentum": lambda call: call(momentum=0.3)}


def evaluated() -> nn.Module:
    """In evaluation mode, with statistics that are not those of a fresh one."""
    layer = nn.BatchNorm2d(4, eps=1e-2).eval()
    layer.running_mean.copy_(torch.linspace(-1, 1, 4))
    layer.running_var.copy_(torch.linspace(0.5, 2, 4))
    return layer


EXAMPLES = [
    Example(evaluated, (partial(positive, 5, 4, 3, 3),), EPS),
    Example(lambda: nn.BatchNorm2d(4, eps=1e-2), (partial(positive, 5, 4, 3, 3),), EPS | MOMENTUM),
    Example(lambda: nn.BatchNorm1d(4, eps=1e-2), (partial(positive, 5, 4),), EPS | MOMENTUM),
    Example(lambda: nn.LayerNorm(6, eps=1e-2), (partial(positive, 5, 4, 6),), EPS),
    Example(lambda: nn.LayerNorm((4, 6), eps=1e-2), (partial(positive, 5, 4, 6),), EPS),
    Example(lambda: nn.GroupNorm(2, 6, eps=1e-2), (partial(positive, 5, 6, 3, 3),), EPS),
    Example(
        lambda: nn.InstanceNorm2d(4, eps=1e-2, affine=True), (partial(positive, 5, 4, 3, 3),), EPS
    ),
    Example(lambda: nn.RMSNorm(6, eps=1e-2), (partial(positive, 5, 4, 6),)),
    Example(lambda: nn.LocalResponseNorm(3), (partial(positive, 5, 4, 3, 3),)),
]
