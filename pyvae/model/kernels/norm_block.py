r"""Batch norm, ReLU and max-pool of feature maps in one.

Batch norm and a (leaky) ReLU are monotone functions of one number in each channel: growing if the
channel's :math:`\gamma > 0`, falling if not. The largest of a window is thus that of the window's
largest or smallest number, and three quarters of the maps need neither. Backward, a window has the
gradient of one pixel, and all that batch norm adds to it is a multiple of the pixel and a constant:

.. math:: dx = a \, (g - \bar g - \hat x \, \overline{g \hat x}), \quad a = \gamma / \sqrt{v +
    \epsilon}

Ioffe & Szegedy (2015), "Batch normalization", section 3, https://arxiv.org/abs/1502.03167.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pyvae.model.kernels.fusing import may_fuse
from pyvae.model.modules import BatchNorm

__all__ = ["norm_block"]

IMAGES = 20  # that are computed together: what is computed on the way stays in the cache


def norm_block(
    x: Tensor,
    norm: BatchNorm,
    relu: nn.ReLU | nn.LeakyReLU,
    pool: nn.MaxPool2d | None = None,
) -> Tensor:
    """Returns `pool(relu(norm(x)))`.

    Where it may (`pyvae.model.kernels.fusing.may_fuse`), all of it is computed as one, with the
    channels side by side in memory and with other last bits; of several pixels that batch norm
    rounds to one number, the largest has the gradient, not the first.

    Arguments:
        x: (B, C, H, W).
        norm, relu: The layers.
        pool: Of windows of 2x2, or none.
    """
    layers = [norm, relu, *([] if pool is None else [pool])]
    if x.ndim != 4 or not may_fuse(x, *layers):
        for layer in layers:
            x = layer(x)
        return x
    maps = x.contiguous(memory_format=torch.channels_last)
    mean, variance = _moments(maps.detach())
    with torch.no_grad():
        number = x.numel() / x.shape[1]
        norm.running_mean.lerp_(mean.float(), norm.momentum)
        norm.running_var.lerp_((variance * (number / (number - 1))).float(), norm.momentum)
    scale = torch.rsqrt(variance + norm.eps)
    slope = relu.negative_slope if isinstance(relu, nn.LeakyReLU) else 0.0
    how = slope, pool is not None
    return _NormBlock.apply(maps, norm.weight, norm.bias, mean.float(), scale.float(), *how)


def _moments(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance (C,) of each channel in double precision.

    Each image's numbers are summed by themselves first: PyTorch's batch norm with the channels last
    adds one after the other, which loses three digits.
    """
    pixels = maps.permute(0, 2, 3, 1).flatten(1, 2)  # (B, H W, C)
    number = maps.numel() / maps.shape[1]
    mean = pixels.sum(1).sum(0, dtype=torch.float64) / number
    centre = mean.to(maps.dtype)
    squares = [(part - centre).square_().sum(1) for part in pixels.split(IMAGES)]  # (b, C)
    return mean, torch.cat(squares).sum(0, dtype=torch.float64) / number


class _NormBlock(torch.autograd.Function):
    """Of maps (B, C, H, W), with the mean (C,) of each channel and one by its standard
    deviation."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, scale: Tensor,
        slope: float, pools: bool,
    ) -> Tensor:  # fmt: skip
        chosen, places = _extremes(x, weight) if pools else (x, None)
        factor = weight * scale
        out = torch.addcmul(_of(bias - mean * factor), chosen, _of(factor))
        out = F.leaky_relu_(out, slope) if slope else out.relu_()
        ctx.save_for_backward(x, weight, mean, scale, chosen, places, out)
        ctx.slope = slope
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale, chosen, places, out = ctx.saved_tensors
        left = gradient.contiguous(memory_format=torch.channels_last)
        if ctx.slope:
            left = torch.ops.aten.leaky_relu_backward(left, out, ctx.slope, True)
        else:
            left = torch.ops.aten.threshold_backward(left, out, 0)
        of_bias = left.sum((0, 2, 3))
        of_weight = (chosen - _of(mean)).mul_(left).sum((0, 2, 3)) * scale
        number = x.numel() / x.shape[1]
        factor = weight * scale
        multiple = -factor * scale * of_weight / number
        constant = -factor * of_bias / number - multiple * mean
        left = left.mul_(_of(factor))
        if places is not None:
            left = torch.ops.aten.max_pool2d_with_indices_backward(
                left, x, [2, 2], [2, 2], [0, 0], [1, 1], False, places
            )
        for part, pixels in zip(left.split(IMAGES), x.split(IMAGES), strict=True):
            part.addcmul_(pixels, _of(multiple)).add_(_of(constant))
        return left, of_weight, of_bias, None, None, None, None


def _extremes(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The largest pixel of each window, or the smallest where the channel falls; and which it is,
    as PyTorch's max-pool says it."""
    falls = weight < 0
    if not bool(falls.any()):
        return torch.ops.aten.max_pool2d_with_indices(x, [2, 2])
    sign = _of(torch.where(falls, -1.0, 1.0).to(x.dtype))
    largest, places = torch.ops.aten.max_pool2d_with_indices(x * sign, [2, 2])
    return largest.mul_(sign), places


def _of(channels: Tensor) -> Tensor:
    """(C,) to (1, C, 1, 1)."""
    return channels.view(1, -1, 1, 1)
