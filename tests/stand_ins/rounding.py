"""PyTorch's engine with its sums in another order: the same numbers up to rounding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.modules import BatchNorm

__all__ = ["RoundedOtherwise"]


class RoundedOtherwise(PyTorchEngine):
    """Linear layers and convolutions sum their inputs from the last to the first; batch norm
    multiplies by the inverse of its standard deviation."""

    name = "rounded-otherwise"

    def start(self, *arguments) -> None:
        super().start(*arguments)
        for module in self.network.modules():
            for kind, forward in FORWARD.items():
                if isinstance(module, kind):
                    module.forward = forward.__get__(module)  # type: ignore[method-assign]


def _linear(self: nn.Linear, x):
    return (self.weight.flip(1) @ x.flip(1).T).T + self.bias


def _conv2d(self: nn.Conv2d, x):
    return F.conv2d(x.flip(1), self.weight.flip(1), self.bias, self.stride, self.padding)


def _batch_norm(self: BatchNorm, x):
    axes = (0, *range(2, x.dim()))
    shape = (1, -1, *(1,) * (x.dim() - 2))
    mean, variance = self.running_mean, self.running_var
    if self.training:
        mean = x.mean(axes)
        variance = ((x - mean.reshape(shape)) ** 2).mean(axes)
        count = x.numel() / x.shape[1]
        with torch.no_grad():
            unbiased = variance * count / (count - 1)
            self.running_mean.mul_(1 - self.momentum).add_(self.momentum * mean)
            self.running_var.mul_(1 - self.momentum).add_(self.momentum * unbiased)
    inverse = (1 / torch.sqrt(variance + self.eps)).reshape(shape)
    scaled = (x - mean.reshape(shape)) * inverse
    return scaled * self.weight.reshape(shape) + self.bias.reshape(shape)


FORWARD = {nn.Linear: _linear, nn.Conv2d: _conv2d, BatchNorm: _batch_norm}
