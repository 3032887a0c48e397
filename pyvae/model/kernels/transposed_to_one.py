"""Transposed convolutions to a single channel as matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pyvae.model.kernels.channels_last import takes_channels_last

__all__ = ["ConvTranspose2dToOne", "transposed_convolution_to_one"]


class ConvTranspose2dToOne(nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d` to a single channel; a matrix product where fast kernels are
    wanted.

    Arguments:
        in_channels, kernel_size, stride, padding: As of `torch.nn.ConvTranspose2d`.
    """

    def __init__(
        self, in_channels: int, kernel_size: int, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__(in_channels, 1, kernel_size, stride, padding)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        if output_size is not None or not takes_channels_last(x):
            return super().forward(x, output_size)
        return transposed_convolution_to_one(
            x, self.weight, self.bias, self.stride[0], int(self.padding[0])
        )


def transposed_convolution_to_one(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int
) -> Tensor:
    r"""Returns `torch.nn.functional.conv_transpose2d(x, weight, bias, stride, padding)` for weights
    of a single channel.

    oneDNN computes 16 output channels at once, of which 15 are thrown away. Here every pixel is
    multiplied by all K L weights, which is one matrix product, and each of its K L rows is added
    where it belongs, which is every `stride`-th pixel of an image.

    Arguments:
        x: (B, C, H, W); faster with the channels side by side in memory.
        weight: (C, 1, K, L).
        bias: (1,), or None.
        stride, padding: Of rows and columns alike.

    Returns:
        (B, 1, (H - 1) stride - 2 padding + K, (W - 1) stride - 2 padding + L)
    """
    return _TransposedToOne.apply(x, weight, bias, stride, padding)


class _TransposedToOne(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        images, _, height, width = x.shape
        rows, columns = weight.shape[2:]
        products = weight.flatten(1).t() @ _pixels(x).t()  # (K L, B H W)
        out = x.new_zeros((images, (height - 1) * stride + rows, (width - 1) * stride + columns))
        for place, product in zip(_places(out, x, weight, stride), products, strict=True):
            place += product.view(images, height, width)
        if bias is not None:
            out += bias
        return _cropped(out, padding).unsqueeze(1).contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        padded = F.pad(gradient.squeeze(1), [ctx.padding] * 4)
        pulled = torch.stack([*_places(padded, x, weight, ctx.stride)]).flatten(1)  # (K L, B H W)
        of_x = of_weight = None
        if needs_x:
            pixels = pulled.t() @ weight.flatten(1).t()  # (B H W, C)
            of_x = pixels.view(len(x), *x.shape[2:], -1).permute(0, 3, 1, 2)
        if needs_weight:
            of_weight = (pulled @ _pixels(x)).t().reshape(weight.shape)
        of_bias = gradient.sum().view(1) if needs_bias else None
        return of_x, of_weight, of_bias, None, None


def _pixels(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B H W, C)."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _places(out: Tensor, x: Tensor, weight: Tensor, stride: int) -> Iterator[Tensor]:
    """For each weight the pixels, (B, H, W), of the result that it is a factor of."""
    height, width = (side * stride for side in x.shape[2:])
    for row in range(weight.shape[2]):
        for column in range(weight.shape[3]):
            yield out[:, row : row + height : stride, column : column + width : stride]


def _cropped(out: Tensor, padding: int) -> Tensor:
    """Without a border on all four sides."""
    height, width = out.shape[1:]
    return out[:, padding : height - padding, padding : width - padding]
