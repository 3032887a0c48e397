"""Layers as functions of their inputs, weights and options, in the precision of the inputs.

Written from the stages' declarations alone: they share no code with the networks.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "FUNCTIONS",
    "batch_statistics",
    "gumbel_logits",
    "images",
    "per_channel",
    "reduced_axes",
]


def images(x: Tensor, channels: int) -> Tensor:
    """Rows as square images: (B, ...) to (B, C, H, H)."""
    side = round((x[0].numel() / channels) ** 0.5)
    return x.reshape(len(x), channels, side, side)


def reduced_axes(x: Tensor) -> tuple[int, ...]:
    """The axes that batch norm's statistics are taken over: images, and pixels where there are."""
    return (0, *range(2, x.dim()))


def per_channel(value: Tensor, x: Tensor) -> Tensor:
    """(C,) in a shape that goes with x (B, C, ...)."""
    return value.reshape(1, -1, *(1,) * (x.dim() - 2))


def batch_statistics(x: Tensor) -> tuple[Tensor, Tensor, int]:
    """A batch's mean (C,) and biased variance (C,), and how many values each is taken over."""
    axes = reduced_axes(x)
    return x.mean(axes), x.var(axes, correction=0), x.numel() // x.shape[1]


def _batch_norm(x: Tensor, w: Tensor, b: Tensor, eps: float, momentum: float = 0.1) -> Tensor:
    mean, variance, _ = batch_statistics(x)
    scaled = (x - per_channel(mean, x)) / per_channel((variance + eps).sqrt(), x)
    return scaled * per_channel(w, x) + per_channel(b, x)


def _conv2d(x: Tensor, w: Tensor, b: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    return F.conv2d(images(x, w.shape[1]), w, b, stride, padding)


def _conv_transpose2d(x: Tensor, w: Tensor, b: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    return F.conv_transpose2d(images(x, w.shape[0]), w, b, stride, padding)


def _dropout(x: Tensor, keep: Tensor, p: float) -> Tensor:
    return x * (keep.to(x.dtype) / (1 - p))


def _reparameterise(mu: Tensor, log_var: Tensor, noise: Tensor) -> Tensor:
    return mu + torch.exp(0.5 * log_var) * noise


def gumbel_logits(pi: Tensor, noise: Tensor) -> Tensor:
    return torch.log(pi + 1e-20) + noise


def _gumbel_softmax(pi: Tensor, noise: Tensor, temperature: float) -> Tensor:
    return torch.softmax(gumbel_logits(pi, noise) / temperature, 1)


# inputs, then weights or the draw, then options by name
FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "batch_norm": _batch_norm,
    "concat": lambda a, b: torch.cat([a, b], 1),
    "conv2d": _conv2d,
    "conv_transpose2d": _conv_transpose2d,
    "dropout": _dropout,
    "first_half": lambda x: x[:, : x.shape[1] // 2],
    "flatten": lambda x: x.flatten(1),
    "gumbel_softmax": _gumbel_softmax,
    "leaky_relu": lambda x, slope: torch.where(x > 0, x, slope * x),
    "linear": F.linear,
    "log": torch.log,
    "max_pool2d": lambda x: F.max_pool2d(x, 2),
    "multiply": lambda a, b: a * b,
    "relu": F.relu,
    "reparameterise": _reparameterise,
    "second_half": lambda x: x[:, x.shape[1] // 2 :],
    "sigmoid": torch.sigmoid,
    "softmax": lambda x: torch.softmax(x, 1),
    "softplus": F.softplus,
    "unflatten": images,
}
