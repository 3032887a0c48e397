"""Activations, the softmax family and dropout."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from comparisons.ports.expected.call import NotRecomputableError

__all__ = ["ACTIVATIONS"]

SELU_FLOOR = 1.7580993408473766  # selu(-inf) = -SELU_FLOOR: scale * alpha


def _plain(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    def activation(input: Tensor) -> Tensor:
        return function(input)

    return activation


def _leaky_relu(input: Tensor, *, negative_slope: float = 0.01) -> Tensor:
    return F.leaky_relu(input, negative_slope)


def _elu(input: Tensor, *, alpha: float = 1.0, scale: float = 1, input_scale: float = 1) -> Tensor:
    if (scale, input_scale) != (1, 1):
        raise NotRecomputableError("a scaled ELU")
    return F.elu(input, alpha)


def _celu(input: Tensor, *, alpha: float = 1.0) -> Tensor:
    return F.celu(input, alpha)


def _gelu(input: Tensor, *, approximate: str = "none") -> Tensor:
    return F.gelu(input, approximate=approximate)


def _softplus(input: Tensor, *, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    return F.softplus(input, beta, threshold)


def _shrink(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def shrink(input: Tensor, *, lambd: float = 0.5) -> Tensor:
        return function(input, lambd)

    return shrink


def _hardtanh(input: Tensor, *, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    return F.hardtanh(input, min_val, max_val)


def _threshold(input: Tensor, *, threshold: float, value: float) -> Tensor:
    return F.threshold(input, threshold, value)


def _prelu(input: Tensor, weight: Tensor) -> Tensor:
    return F.prelu(input, weight)


def _rrelu(
    input: Tensor, *, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False
) -> Tensor:
    if training:
        raise NotRecomputableError("slopes that were drawn")
    return F.rrelu(input, lower, upper)


def _glu(input: Tensor, *, dim: int = -1) -> Tensor:
    return F.glu(input, dim)


def _softmax_like(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def softmax(input: Tensor, *, dim: int | None = None) -> Tensor:
        if dim is None:  # PyTorch's old guess, which it still makes
            dim = 0 if input.dim() in (0, 1, 3) else 1
        return function(input, dim)

    return softmax


def _softmax2d(input: Tensor) -> Tensor:
    return torch.softmax(input, -3)


def _dropout(
    input: Tensor, *, p: float = 0.5, training: bool = True, draw: Tensor | None = None
) -> Tensor:
    keep = _kept(p, training, draw)
    if keep is None:
        return input
    return input * (keep.to(input.dtype) / (1 - p) if p < 1 else 0.0)


def _alpha_dropout(
    input: Tensor, *, p: float = 0.5, training: bool = False, draw: Tensor | None = None
) -> Tensor:
    """Klambauer et al. (2017), Self-Normalizing Neural Networks, section 3."""
    keep = _kept(p, training, draw)
    if keep is None:
        return input
    keep = keep.to(input.dtype)
    scale = 1 / math.sqrt((SELU_FLOOR**2 * p + 1) * (1 - p))
    dropped = input * keep - SELU_FLOOR * (1 - keep)
    return scale * dropped + scale * SELU_FLOOR * p


def _kept(p: float, training: bool, draw: Tensor | None) -> Tensor | None:
    """The mask; None if nothing is dropped."""
    if not training or p == 0:
        return None
    if draw is None:
        raise NotRecomputableError("a mask that was not recorded")
    return draw


DROPOUTS = ("dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout")
ALPHA_DROPOUTS = ("alpha_dropout", "feature_alpha_dropout")
PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "selu": F.selu,
    "silu": F.silu,
    "mish": F.mish,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "log_sigmoid": F.logsigmoid,
    "logsigmoid": F.logsigmoid,
    "softsign": F.softsign,
    "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish,
    "tanhshrink": F.tanhshrink,
    "identity": lambda x: x,
}
ACTIVATIONS: Mapping[str, Callable[..., Any]] = {
    **{name: _plain(function) for name, function in PLAIN.items()},
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "celu": _celu,
    "gelu": _gelu,
    "softplus": _softplus,
    "hardshrink": _shrink(F.hardshrink),
    "softshrink": _shrink(F.softshrink),
    "hardtanh": _hardtanh,
    "threshold": _threshold,
    "prelu": _prelu,
    "rrelu": _rrelu,
    "glu": _glu,
    "softmax": _softmax_like(torch.softmax),
    "log_softmax": _softmax_like(torch.log_softmax),
    "softmin": _softmax_like(lambda x, dim: torch.softmax(-x, dim)),
    "softmax2d": _softmax2d,
    **dict.fromkeys(DROPOUTS, _dropout),
    **dict.fromkeys(ALPHA_DROPOUTS, _alpha_dropout),
}
