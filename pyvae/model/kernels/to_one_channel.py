"""Convolutions to a single channel as matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pyvae.model.kernels.channels_last import takes_channels_last

__all__ = ["Conv2dToOne", "convolution_to_one"]


class Conv2dToOne(nn.Conv2d):
    """`torch.nn.Conv2d` to a single channel, with stride 1 and without padding; a matrix product
    where fast kernels are wanted.

    Arguments:
        in_channels, kernel_size: As of `torch.nn.Conv2d`.
    """

    def __init__(self, in_channels: int, kernel_size: int) -> None:
        super().__init__(in_channels, 1, kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        if not takes_channels_last(x):
            return super().forward(x)
        return convolution_to_one(x, self.weight, self.bias)


def convolution_to_one(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    r"""Returns `torch.nn.functional.conv2d(x, weight, bias)` for weights of a single channel.

    oneDNN's kernels compute 16 output channels at once, of which 15 are then thrown away. Here
    every pixel is multiplied by all weights first, which is one matrix product,

    .. math:: y_{k, b, i, j} = \sum_c w_{c, k} \, x_{b, c, i, j}

    and those products that belong to one output pixel are added after that. In memory they lie
    at the same distance for every pixel, so that whole rows of y are added.

    Arguments:
        x: (B, C, H, W); faster with the channels side by side in memory.
        weight: (1, C, K, L).
        bias: (1,), or None.

    Returns:
        (B, 1, H - K + 1, W - L + 1)
    """
    return _ConvolutionToOne.apply(x, weight, bias)


class _ConvolutionToOne(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        images, channels, height, width = x.shape
        products = weight.view(channels, -1).t() @ _pixels(x).t()  # (K L, B H W)
        distances = list(_distances(x, weight))
        count = products.shape[1] - distances[-1]
        total = products[0, :count].clone()
        for row, distance in zip(products[1:], distances[1:], strict=True):
            total += row[distance : distance + count]
        if bias is not None:
            total += bias
        rows, columns = height - weight.shape[2] + 1, width - weight.shape[3] + 1
        steps = height * width, height * width, width, 1
        return total.as_strided((images, 1, rows, columns), steps).contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        images, channels, height, width = x.shape
        *_, most = distances = list(_distances(x, weight))
        pixels = images * height * width
        placed = gradient.new_zeros(most + pixels)
        maps = placed[most:].view(images, height, width)
        maps[:, : gradient.shape[2], : gradient.shape[3]] = gradient[:, 0]
        starts = [most - distance for distance in distances]
        of_products = torch.stack([placed[at : at + pixels] for at in starts])  # (K L, B H W)
        of_x = of_weight = None
        if needs_x:
            of_pixels = of_products.t() @ weight.view(channels, -1).t()  # (B H W, C)
            of_x = of_pixels.view(images, height, width, channels).permute(0, 3, 1, 2)
        if needs_weight:
            of_weight = (of_products @ _pixels(x)).t().reshape(weight.shape)
        return of_x, of_weight, gradient.sum((0, 2, 3)) if needs_bias else None


def _pixels(x: Tensor) -> Tensor:
    """(B, C, H, W) as (B H W, C), a view where the channels are side by side."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _distances(x: Tensor, weight: Tensor) -> Iterator[int]:
    """How far behind an output pixel's first product those of its other weights lie."""
    for i in range(weight.shape[2]):
        for j in range(weight.shape[3]):
            yield i * x.shape[3] + j
