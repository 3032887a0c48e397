"""Sums over the processes that share a batch."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["is_shared", "summed"]


def is_shared() -> bool:
    """Returns whether several processes share the computation of a batch."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def summed(value: Tensor) -> Tensor:
    """Returns the sum of a tensor over all processes; gradients flow back to each of them."""
    return _Summed.apply(value)


class _Summed(torch.autograd.Function):
    """Sums forward, and also backward, because the losses of all processes depend on the sum."""

    @staticmethod
    def forward(context: object, value: Tensor) -> Tensor:
        return _all(value)

    @staticmethod
    def backward(context: object, gradient: Tensor) -> Tensor:
        return _all(gradient)


def _all(value: Tensor) -> Tensor:
    total = value.clone()
    dist.all_reduce(total)
    return total
