"""Pooling, upsampling, orders of elements, pieces of tensors."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from examples.example import Example
from examples.function import Function


def mixed(*shape: int) -> Tensor:
    """Numbers of both signs."""
    return torch.randn(*shape, dtype=torch.float64) - 0.2


def tied(*shape: int) -> Tensor:
    """Few different numbers, so that some of a window are equal."""
    return torch.randint(1, 3, shape).double()


def images(*size: int) -> tuple[partial[Tensor]]:
    return (partial(mixed, 3, 4, *size),)


def places(*shape: int, below: int) -> Tensor:
    return torch.randint(0, below, shape)


DIVISOR = {"other_divisor": lambda call: call(divisor_override=7)}
GET = torch.Tensor.__getitem__
ALL = slice(None)

POOLING = [
    Example(lambda: nn.MaxPool1d(3, stride=2), (partial(mixed, 3, 4, 10),)),
    Example(lambda: nn.MaxPool2d(2), images(7, 8)),
    Example(lambda: nn.MaxPool2d(2), (partial(tied, 3, 4, 6, 6),)),
    Example(lambda: nn.MaxPool2d(3, stride=2, padding=1), images(8, 8)),
    Example(lambda: nn.MaxPool2d((2, 3), stride=(1, 2)), images(7, 7)),
    Example(lambda: nn.MaxPool2d(3, stride=2, ceil_mode=True), images(8, 8)),
    Example(lambda: nn.MaxPool3d(2), (partial(mixed, 2, 2, 5, 5, 5),)),
    Example(lambda: nn.AvgPool1d(3, stride=2), (partial(mixed, 3, 4, 10),)),
    Example(lambda: nn.AvgPool2d(2), images(7, 8), DIVISOR),
    Example(lambda: nn.AvgPool2d(3, stride=2, padding=1), images(8, 8)),
    Example(lambda: nn.AvgPool2d(3, stride=2, ceil_mode=True), images(8, 8)),
    Example(lambda: nn.AvgPool3d(2), (partial(mixed, 2, 2, 5, 5, 5),)),
    Example(lambda: nn.AdaptiveAvgPool2d((3, 2)), images(7, 8)),
    Example(lambda: nn.AdaptiveAvgPool2d((3, 2)), images(6, 8)),
    Example(lambda: nn.AdaptiveAvgPool2d(1), images(5, 5)),
    Example(lambda: nn.AdaptiveMaxPool2d((3, 2)), images(7, 8)),
    Example(lambda: nn.AdaptiveAvgPool1d(3), (partial(mixed, 3, 4, 10),)),
]
RESIZING = [
    Example(lambda: nn.Upsample(scale_factor=2), images(3, 4)),
    Example(lambda: nn.Upsample(scale_factor=2, mode="bilinear"), images(3, 4)),
    Example(lambda: nn.Upsample(scale_factor=(2, 3), mode="bicubic"), images(4, 5)),
    Example(lambda: nn.Upsample(scale_factor=1.5, mode="bilinear"), images(5, 7)),
    Example(lambda: nn.Upsample(size=7, mode="linear"), (partial(mixed, 3, 4, 5),)),
    Example(lambda: nn.UpsamplingBilinear2d(scale_factor=2), images(3, 4)),
    Example(lambda: Function(F.interpolate, scale_factor=0.5, mode="bilinear"), images(8, 8)),
]
SHUFFLES = [
    Example(lambda: nn.PixelShuffle(2), (partial(mixed, 3, 8, 3, 4),)),
    Example(lambda: nn.PixelUnshuffle(2), (partial(mixed, 3, 2, 4, 6),)),
    Example(lambda: nn.ChannelShuffle(2), (partial(mixed, 3, 6, 3, 3),)),
]
ORDERS = [
    Example(lambda: nn.Flatten(), (partial(mixed, 3, 4, 2, 5),)),
    Example(lambda: nn.Flatten(), (partial(mixed, 3, 4, 5),)),
    Example(lambda: nn.Unflatten(1, (4, 2, 5)), (partial(mixed, 3, 40),)),
    Example(lambda: Function(torch.Tensor.view, 3, 40), (partial(mixed, 3, 4, 2, 5),)),
    Example(lambda: Function(torch.Tensor.reshape, 3, 4, 2, 5), (partial(mixed, 3, 40),)),
    Example(lambda: Function(torch.Tensor.view, 4, 3, 5), (partial(mixed, 3, 4, 5),)),
    Example(lambda: Function(torch.Tensor.permute, 0, 2, 1), (partial(mixed, 3, 4, 5),)),
    Example(lambda: Function(torch.Tensor.transpose, 1, 2), (partial(mixed, 3, 4, 4),)),
]
PICKING = [
    Example(lambda: Function(torch.Tensor.select, 1, 4), (partial(mixed, 3, 5, 2),)),
    Example(lambda: Function(GET, (ALL, -1)), (partial(mixed, 3, 5, 2),)),
    Example(lambda: Function(GET, (ALL, slice(1, 4))), (partial(mixed, 3, 5, 2),)),
    Example(lambda: Function(torch.Tensor.narrow, 1, 1, 3), (partial(mixed, 3, 5, 2),)),
    Example(lambda: Function(torch.cat, 1, listed=True), (partial(mixed, 3, 5),) * 2),
    Example(lambda: Function(torch.cat, 1, listed=True), (partial(mixed, 3, 5),) * 3),
    Example(lambda: Function(torch.stack, 1, listed=True), (partial(mixed, 3, 5),) * 2),
    Example(lambda: Function(torch.chunk, 2, 1), (partial(mixed, 3, 6),)),
    Example(lambda: Function(torch.split, 2, 1), (partial(mixed, 3, 6),)),
    Example(lambda: Function(torch.flip, (1,)), (partial(mixed, 3, 6),)),
    Example(lambda: Function(torch.roll, 1, 1), (partial(mixed, 3, 6),)),
    Example(lambda: Function(torch.tril), (partial(mixed, 5, 5),)),
    Example(lambda: Function(torch.triu), (partial(mixed, 5, 5),)),
    Example(lambda: Function(torch.Tensor.repeat, 1, 2), (partial(mixed, 3, 4),)),
    Example(lambda: Function(torch.repeat_interleave, 2, 1), (partial(mixed, 3, 4),)),
    Example(
        lambda: Function(torch.take_along_dim, dim=1),
        (partial(mixed, 3, 5), partial(places, 3, 4, below=5)),
    ),
    Example(lambda: Function(F.one_hot, 5), (partial(places, 6, below=5),)),
]
EXAMPLES = [*POOLING, *RESIZING, *SHUFFLES, *ORDERS, *PICKING]
