"""Activations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from examples.example import Example


def both_signs() -> Tensor:
    return 10 * torch.randn(5, 7, dtype=torch.float64)


EXAMPLES = [Example(nn.ReLU, (both_signs,)), Example(nn.GELU, (both_signs,))]
